"""Where the code runs: seeds, device, precision, folders, quick mode, files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import random
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeVar

    import torch

    T = TypeVar("T")


PRECISIONS = ("auto", "float32", "bfloat16", "float16")


class InputError(ValueError):
    """Something the user gave cannot be used: one line that names the file, line or id and says what to do."""


class WriteError(InputError, OSError):
    """A file that cannot be written; what was there before is whole. `errno` and `strerror` tell why, as an OSError's.

    Args:
        path: of the file or folder.
        error: of the system, or what a library makes of a full disk.
    """

    def __init__(self, path: str | Path, error: BaseException):
        super().__init__(path, error)
        self.filename, self.errno = str(path), getattr(error, "errno", None)
        self.strerror = getattr(error, "strerror", None) or str(error).splitlines()[0][:120]
        self.advice = "choose another place or put it right"
        if is_full(error):
            self.errno = errno.ENOSPC
            there = next(folder for folder in Path(path).absolute().parents if os.path.isdir(folder))
            why = self.strerror if isinstance(error, OSError) else "the disk is full"  # or a quota, or a limit
            self.strerror = f"{why}, {shutil.disk_usage(there).free >> 20} MiB free"
            self.advice = "make room, then the same command goes on"
        elif self.errno == errno.EEXIST:  # of a folder that is to be made
            self.strerror = "there is a file where a folder should be"

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written ({self.strerror}); what was there before is whole: {self.advice}"

    def __reduce__(self):  # for errors that come out of a worker
        return type(self), self.args


def is_full(error: BaseException) -> bool:
    """Whether an error, of the system, torch or safetensors, says that a disk is full or a quota used up."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    texts = (
        "No space left",
        "quota exceeded",
        "File too large",
        "PytorchStreamWriter failed writing",
        "unexpected pos",
    )
    return any(text in str(error) for text in texts)


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


class CacheFile:
    """A file of what was worked out about a data folder: beside the data, else in the caller's own cache, else nowhere.

    Data may be shared, read-only or on a full disk, and what others have left there belongs to them: none of it is an
    error, for all of it can be worked out again. A folder whose mode bits say read-only stays as it is even for an
    administrator.

    Args:
        root: the data folder.
        name: of the file, with the folders that it lies in.
    """

    def __init__(self, root: str | Path, name: str):
        root = Path(root).resolve()
        self.beside = root / ".landmark" / name
        self.own = data_root() / "cache" / hashlib.sha256(os.fsencode(root)).hexdigest()[:16] / name

    @property
    def path(self) -> Path:
        """Where it is written, by the rights of the folder that it comes to lie in."""
        folder = self.beside.parent
        while not os.path.lexists(folder):  # unlike Path.exists no error where one may not look
            folder = folder.parent
        free = os.path.isdir(folder) and os.stat(folder).st_mode & 0o222 and os.access(folder, os.W_OK | os.X_OK)
        return self.beside if free else self.own

    def load(self, read: Callable[[Path], T | None]) -> T | None:
        """What `read` makes of the file; of the first one that is not None, where there are two."""
        for path in (self.own, self.beside):  # one's own exists only where the other one was of no use
            if os.path.isfile(path) and (found := read(path)) is not None:
                return found
        return None

    def save(self, write: Callable[[Path], object]) -> Path | None:
        """Let `write` fill the file, whole or not at all; returns where it is, None when there is no place for it."""
        for path in dict.fromkeys((self.path, self.own)):
            with contextlib.suppress(OSError), atomic_path(path) as part:
                write(part)
                return path
        return None


def cache_path(root: str | Path, name: str) -> Path:
    """Where a `CacheFile` is written."""
    return CacheFile(root, name).path


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (every device) with one number."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextlib.contextmanager
def own_random_numbers(where: torch.device) -> Iterator[None]:
    """Let a block seed and draw as it likes, and put the caller's numbers back after it.

    Those of Python, of NumPy, and of torch on the CPU and on `where`.
    """
    import numpy as np
    import torch

    sources = [torch] if where.type == "cpu" else [torch, getattr(torch, where.type)]
    python, numpy, states = random.getstate(), np.random.get_state(), [source.get_rng_state() for source in sources]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for source, state in zip(sources, states, strict=True):
            source.set_rng_state(state)


def reseed(seed: int, where: torch.device) -> None:
    """Seed torch on the CPU and on `where` alone: `torch.manual_seed` would seed every other device as well."""
    import torch

    torch.default_generator.manual_seed(seed)
    if where.type != "cpu":
        getattr(torch, where.type).manual_seed(seed)


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


_PACKED = {
    b"PK\x03\x04": "ZIP", b"PK\x05\x06": "ZIP", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z",
}  # fmt: skip


def compression(start: bytes) -> str:
    """Name of the compression that the first bytes of a file tell of, "" for none.

    >>> compression(b"PK\\x03\\x04"), compression(b"id,url")
    ('ZIP', '')
    """
    return next((name for magic, name in _PACKED.items() if start.startswith(magic)), "")


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """What tells a file from what it was: its size, the time of its content and that of any change to it (ns).

    The last tells of other content of the same size under the same time, as `cp -p` and `tar -x` leave it. A change
    of rights moves it as well: then work is done again that need not be, and no answer is wrong.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written_file(path: str | Path) -> Path:
    """The file that is written under a name: of a link the one that it leads to.

    Raises:
        WriteError: it is a folder, or a device or pipe, which a file would replace.
    """
    real = Path(os.path.realpath(path))
    if os.path.isdir(real):
        raise WriteError(path, IsADirectoryError(errno.EISDIR, "it is a folder"))
    if os.path.exists(real) and not os.path.isfile(real):
        raise WriteError(path, OSError(errno.EINVAL, "it is a device or a pipe"))
    return real


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces it on success and disappears on failure.

    Beside, because a rename is atomic only within one file system. An interrupted write leaves the old file whole; a
    link stays one, and what it leads to is replaced.

    Raises:
        WriteError: the folder cannot be written to, the disk is full, or it is no place for a file.
    """
    target = written_file(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise WriteError(target, error) from None
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp made it private; a shared run folder must stay readable
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise WriteError(target, error) from None
    except Exception as error:  # torch and safetensors make errors of their own of a full disk
        if is_full(error) and not isinstance(error, WriteError):
            raise WriteError(target, error) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)
