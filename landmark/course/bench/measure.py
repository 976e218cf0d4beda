"""What benchmarks measure with: clocks that wait for the device, peaks of memory and of products, spreads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from landmark.utils.device import describe, device, own_random_numbers
from landmark.utils.errors import InputError

SIDES = ("plain", "ours")


class Apart:
    """A thing in a process of its own: what it does to memory, threads and settings stays there.

    Args:
        make: called there with `args`; returns the thing. Importable, as are the functions that are asked.
    """

    def __init__(self, make: Callable, *args: object):
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        how = multiprocessing.get_start_method()
        self.made = self.pool.submit(_settle, how, make, args)  # several are made at a time

    def ask(self, function: Callable, *args: object) -> Any:
        """Return what `function(thing, *args)` returns there."""
        self.made.result()
        return self.pool.submit(_answer, function, args).result()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()


_thing: list[object] = []


def _settle(how: str, make: Callable, args: tuple) -> None:
    multiprocessing.set_start_method(how, force=True)  # a spawned process would spawn a loader's workers, too
    _thing[:] = [make(*args)]


def _answer(function: Callable, args: tuple) -> object:
    return function(*_thing, *args)


def peak_memory(prepare: Callable[..., Callable[[], object]], *args: object) -> int:
    """Memory that work takes at its peak beyond what it starts with, MiB, in a process of its own.

    Args:
        prepare: called with `args`; returns the work.
    """
    with Apart(prepare, *args) as work:
        return work.ask(measure_peak)


def measure_peak(work: Callable[[], object]) -> int:
    """The same of work done in this process, MiB."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        _forget_high_water()
    before = _high_water()
    work()
    return round((_high_water() - before) / 2**20)


def _forget_high_water() -> None:
    """Reset the memory high-water mark (Linux)."""
    if platform.libc_ver()[0] == "glibc":  # it keeps what is freed, and work that fills it would seem to take nothing
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _high_water() -> int:
    """Bytes that the device, or else this process, has held at most."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux counts the process that started this one
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread, as a loader's worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def wait() -> None:
    """Until the device has done what it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_peak(dtype: torch.dtype, size: int = 2048, repeats: int = 8) -> float:
    """Billions of multiplications and additions a second in the product of two large square matrices."""
    where = device()
    size *= 4 if where.type == "cuda" else 1
    with own_random_numbers(where):
        a = torch.randn(size, size, device=where)
    if dtype == torch.int8:  # bytes by signed bytes, in oneDNN's product: torch's own is slow without VNNI
        weight = torch.ops.onednn.qlinear_prepack(a.mul_(9).to(dtype), [size, size])
        x, scales, zeros = a.abs().byte(), torch.ones(size), torch.zeros(size, dtype=torch.int32)
        given: tuple[Any, ...] = x, 1.0, 0, weight, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        product = functools.partial(torch.ops.onednn.qlinear_pointwise, *given)
    else:
        a = a.to(dtype)
        product = functools.partial(torch.mm, a, a)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        product()
        wait()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def check(**numbers: int) -> None:
    """InputError, naming the setting, for a number below one."""
    for name, value in numbers.items():
        if value < 1:
            raise InputError(f"{name}={value}: give 1 or more")


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": short(statistics.median(values)), "low": short(min(values)), "high": short(max(values))}


def short(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Spread of rates to others, pair by pair."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def conditions(**settings: object) -> dict[str, Any]:
    """Name the machine and the settings, as every result begins."""
    return {"machine": describe(), **settings}
