"""Where the code runs: seeds, device, precision, folders, quick mode, files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import random
import re
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


PRECISIONS = ("auto", "float32", "bfloat16", "float16")


class InputError(ValueError):
    """Something the user gave cannot be used: one line that names the file, line or id and says what to do."""


def quick() -> bool:
    """True when `LANDMARK_QUICK` asks for the smallest world and the fewest steps that still run every cell."""
    return os.environ.get("LANDMARK_QUICK", "").lower() in {"1", "true", "yes"}


def _folder(variable: str, default: str) -> Path:
    """The folder named by an environment variable, else `default` below the checkout (or the current folder)."""
    checkout = Path(__file__).resolve().parents[1]
    base = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
    return Path(os.environ.get(variable) or base / default)


def data_root() -> Path:
    """Folder of data sets and cached weights: `LANDMARK_DATA`, else `data/`."""
    return _folder("LANDMARK_DATA", "data")


def runs_root() -> Path:
    """Folder of training runs: `LANDMARK_RUNS`, else `runs/`."""
    return _folder("LANDMARK_RUNS", "runs")


def figures_root() -> Path:
    """Folder the notebooks draw into: `LANDMARK_FIGURES`, else `runs/report/figures/`."""
    return _folder("LANDMARK_FIGURES", "runs/report/figures")


def cache_path(root: str | Path, name: str) -> Path:
    """Where something worked out about a data folder is kept: `root/.landmark/name`, or elsewhere for a read-only one.

    The mode bits decide, not the user's rights: a folder marked read-only stays as it is even for an administrator.
    """
    root = Path(root).resolve()
    if root.is_dir() and root.stat().st_mode & 0o222 and os.access(root, os.W_OK):
        return root / ".landmark" / name
    return data_root() / "cache" / hashlib.sha256(os.fsencode(root)).hexdigest()[:16] / name


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (every device) with one number."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def device() -> torch.device:
    """The best device at hand: CUDA, then Apple's MPS, then the CPU.

    >>> device().type in {"cuda", "mps", "cpu"}
    True
    """
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def chip_has(*names: str) -> bool:
    """Whether the CPU has one of these sets of instructions, as torch names them."""
    import torch

    capability = getattr(torch.cpu, "get_capabilities", dict)()  # newer than some runtimes
    return any(capability.get(name) for name in names)


def asked_precision() -> str:
    """What `LANDMARK_PRECISION` asks for: "auto", "float32", "bfloat16" or "float16".

    Raises:
        InputError: it names something else.
    """
    asked = os.environ.get("LANDMARK_PRECISION", "").lower() or "auto"
    if asked not in PRECISIONS:
        raise InputError(f"LANDMARK_PRECISION={asked}: choose one of {', '.join(PRECISIONS)}")
    return asked


def fast_dtype(where: torch.device) -> torch.dtype:
    """The dtype that networks compute in: the one `LANDMARK_PRECISION` names, else the one that pays on this chip.

    On a CPU bfloat16 pays with AVX512-BF16 or AMX, unless oneDNN is told not to use them (`ONEDNN_MAX_CPU_ISA`):
    emulated bfloat16 is slower than float32.

    Raises:
        InputError: `LANDMARK_PRECISION` names no dtype.
    """
    import torch

    asked = asked_precision()
    if asked != "auto":
        return getattr(torch, asked)
    if where.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if where.type == "cpu":
        allowed = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
        hardware = not re.fullmatch(r"(SSE41|AVX\d*|AVX2_VNNI|AVX512_CORE(_VNNI)?)", allowed.upper())
        return torch.bfloat16 if hardware and chip_has("avx512_bf16", "amx_bf16", "bf16") else torch.float32
    return torch.float32


def precision(where: torch.device) -> str:
    """Name of the dtype that networks compute in on a device.

    >>> precision(device()) in {"float32", "bfloat16", "float16"}
    True
    """
    return str(fast_dtype(where)).removeprefix("torch.")


@contextlib.contextmanager
def float32_by_default() -> Iterator[None]:
    """Build what is built inside in float32, whatever dtype the caller's torch has as its default."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def autocast(where: torch.device) -> contextlib.AbstractContextManager:
    """Mixed precision on `where` in the dtype of `fast_dtype`; for float32 a context that does nothing."""
    import torch

    dtype = fast_dtype(where)
    return contextlib.nullcontext() if dtype == torch.float32 else torch.autocast(where.type, dtype)


def describe() -> str:
    """One line for the top of a notebook: versions, device, precision, mode."""
    import torch

    where = device()
    name = torch.cuda.get_device_name() if where.type == "cuda" else f"{torch.get_num_threads()} threads"
    dtype = precision(where) + ("" if asked_precision() == "auto" else " (LANDMARK_PRECISION)")
    mode = "quick mode" if quick() else "full mode"
    return f"Python {platform.python_version()}, torch {torch.__version__}, {where.type} ({name}), {dtype}, {mode}"


@contextlib.contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; the second one raises KeyboardInterrupt at once.

    What runs inside looks at the event where it can stop without leaving anything half-done.
    """
    asked = threading.Event()

    def handle(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield asked
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces it on success and disappears on failure.

    Beside, because a rename is atomic only within one file system. An interrupted write leaves the old file whole.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp made it private; a shared run folder must stay readable
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
