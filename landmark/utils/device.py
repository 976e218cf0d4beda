"""Seeds, the best device at hand, the arithmetic that pays on it, and one line that describes them."""

from __future__ import annotations

import contextlib
import os
import platform
import random
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from landmark.utils.errors import InputError
from landmark.utils.files import quick

if TYPE_CHECKING:
    import torch


PRECISIONS = ("auto", "float32", "bfloat16", "float16")


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

    capability: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # newer than some runtimes
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
