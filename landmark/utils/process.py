"""What concerns a whole process: the signals that stop it, its threads, its CPUs."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from landmark.utils.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")


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


# Turns that a thread of libgomp, the OpenMP of torch's Linux builds, spins for the others before it sleeps. Its default
# is 300,000: where another process needs the CPU, spinning burns the time that the awaited thread lacks. With none
# (OMP_WAIT_POLICY=passive) a quiet machine loses a fifth of its speed to waking. `landmark bench threads` measures it.
SPINS = 1000
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
COUNTING = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS")
_SOCKET = 107 - len("/pymp-12345678/listener-12345678")  # bytes that the name of a socket leaves to its folder


def usable_cpus(root: str | Path = "/") -> int:
    """Count the CPUs that this process may use: its affinity's, or fewer where a control group has a quota of time.

    Args:
        root: of the file system that tells of control groups, version 1 or 2.

    >>> 1 <= usable_cpus() <= os.cpu_count()
    True
    """
    return max(1, min([_affinity(), *map(math.ceil, _quotas(Path(root)))]))


def settle_threads() -> None:
    """Set up the threads of a torch that is loaded later: they wait without spinning, no more than a quota's CPUs.

    They are settings in the environment, so processes started later have them as well; what the user has set stands.
    Of a torch that is already loaded only the number can be set.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    cpus = usable_cpus()
    if cpus < _affinity() and not any(name in os.environ for name in COUNTING):  # OpenMP itself asks the affinity
        os.environ["OMP_NUM_THREADS"] = str(cpus)
        torch = sys.modules.get("torch")
        if torch and torch.get_num_threads() > cpus:
            torch.set_num_threads(cpus)


def settle_sockets() -> None:
    """Choose another folder for the sockets of worker processes where TMPDIR is too long a name for them.

    Raises:
        InputError: there is no other folder for them.
    """
    from multiprocessing import util

    before = tempfile.gettempdir()
    if len(os.fsencode(before)) <= _SOCKET:
        return
    short = next((folder for folder in ("/tmp", "/var/tmp") if os.access(folder, os.W_OK | os.X_OK)), None)
    if short is None:
        reason = f"TMPDIR={before}: too long for worker processes"
        raise InputError(f"{reason}: set one of at most {_SOCKET} bytes, or take --workers 0")
    tempfile.tempdir = short
    try:
        util.get_temp_dir()  # made once, kept for this process and its workers, removed at its end
    finally:
        tempfile.tempdir = before


_work: list[Callable] = []  # in a worker: what it does with each task


def _begin_worker(function: Callable) -> None:
    """Leave Ctrl-C to the parent, and end when that was killed: else a worker waits for ever to hand over results."""
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work[:] = [function]

    def watch() -> None:
        if parent := parent_process():
            parent.join()  # also one that was killed before this line
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(tasks: list) -> list:
    return [_work[0](task) for task in tasks]


def in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, chunk: int = 1
) -> Generator[Result, None, None]:
    """Yield what a function makes of each task, in order, from worker processes that end with this one.

    Args:
        function: sent to each worker once; anything that can be pickled and called.
        tasks: taken no more than two chunks a worker ahead of the results.
        workers: processes; with 0 all is done in this one.
        chunk: tasks that a worker takes, and results that it hands over, at once.

    Raises:
        InputError: fewer than 0 workers.

    >>> list(in_order(abs, [3, -4], workers=0))
    [3, 4]
    """
    if workers < 0:
        raise InputError(f"{workers} workers: give 0 or more")
    if not workers:
        yield from map(function, tasks)
        return
    from concurrent.futures import ProcessPoolExecutor

    rest = iter(tasks)
    chunks = iter(lambda: list(islice(rest, chunk)), [])
    settle_sockets()
    with ProcessPoolExecutor(workers, initializer=_begin_worker, initargs=(function,)) as pool:
        try:
            waiting = deque(pool.submit(_do, some) for some in islice(chunks, 2 * workers))
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(_do, some) for some in islice(chunks, 1))
                yield from done
        finally:
            pool.shutdown(cancel_futures=True)


def _affinity() -> int:
    """Count the CPUs that the system lets this process run on."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPUs' worth of time of each control group that this process is in, where it is limited.

    In a container the path of the group may be the host's, while the files of its own group lie at the top.
    """
    groups = root / "sys/fs/cgroup"
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            names: tuple[str, ...]
            if "cpu" in controllers.split(","):  # version 1
                mounts, names = (groups / controllers, groups / "cpu"), ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            elif not controllers:
                mounts, names = (groups, groups / "unified"), ("cpu.max",)
            else:
                continue
            parts = Path(path).parts[1:]
            folders = [mount.joinpath(*parts[:depth]) for mount in mounts for depth in range(len(parts) + 1)]
            for folder in folders:
                with contextlib.suppress(OSError, ValueError):  # ValueError: "max", no limit
                    quota, period = " ".join((folder / name).read_text() for name in names).split()
                    if int(quota) > 0:
                        yield int(quota) / int(period)
