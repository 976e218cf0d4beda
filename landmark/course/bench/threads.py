"""What waiting threads cost on a quiet and on a busy machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from landmark.course.bench.measure import SIDES, check, conditions, ratio, short, spread
from landmark.models.net import create_model
from landmark.utils.device import autocast, device
from landmark.utils.errors import InputError
from landmark.utils.process import COUNTING, WAITING

# Plain: torch is there before this package, which then finds nothing to settle but the number of threads
_START = {"plain": "import torch; threads = torch.get_num_threads()", "ours": "threads = 0"}
_WORK = "from landmark.course.bench.threads import serve; serve(threads, *map(int, sys.argv[1:]))"
_BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


def bench_threads(size: int = 80, batch_size: int = 16, steps: int = 3, repeats: int = 9) -> dict:
    """Images a second of Xception's training as torch's threads wait by default (plain), and as here (ours).

    Args:
        size: pixels of the network's input. Small ones have short waits, and many.
        batch_size: images in a step.
        steps: in one timing.
        repeats: timings of each side, quiet and busy, interleaved.

    Returns:
        `ratio_quiet` (ours to plain with nothing beside it, in the best round of each: what else a shared machine does
        can only slow a round down), `ratio_busy` (with one process that computes beside it, median of the pairs),
        `ratio_spread` of the pairs, and for each side its `threads` and `images_per_second`.
    """
    check(size=size, batch_size=batch_size, steps=steps, repeats=repeats)
    rates: dict[str, dict[str, list[float]]] = {name: {"quiet": [], "busy": []} for name in SIDES}
    with contextlib.ExitStack() as stack:
        sides = {name: stack.enter_context(_side(name, size, batch_size, steps)) for name in SIDES}
        threads = {name: int(_line(sides[name])) for name in SIDES}  # written when it is warm
        for number in range(repeats):
            order = SIDES if number % 2 else SIDES[::-1]
            for kind in ("quiet", "busy"):
                with _competitor() if kind == "busy" else contextlib.nullcontext():
                    for name in order:
                        print("go", file=sides[name].stdin, flush=True)
                        rates[name][kind].append(steps * batch_size / float(_line(sides[name])))
    report = {
        name: {"threads": threads[name], "images_per_second": {kind: spread(rates[name][kind]) for kind in rates[name]}}
        for name in SIDES
    }
    spreads = {kind: ratio(rates["ours"][kind], rates["plain"][kind]) for kind in ("quiet", "busy")}
    return conditions(size=size, batch_size=batch_size, steps=steps, repeats=repeats) | report | {
        "ratio_quiet": short(max(rates["ours"]["quiet"]) / max(rates["plain"]["quiet"])),
        "ratio_busy": spreads["busy"]["median"], "ratio_spread": spreads,
    }  # fmt: skip


def serve(threads: int, size: int, batch_size: int, steps: int) -> None:
    """Train for some steps whenever a line comes in, and print their seconds; first, when warm, the threads.

    Args:
        threads: how many, 0 for as many as there are.
        size: see `bench_threads`, like the others.
    """
    if threads:
        torch.set_num_threads(threads)
    where = device()
    model = create_model("xception", 16).to(where).train()
    adam = torch.optim.Adam(model.parameters())
    images = torch.rand(batch_size, 3, size, size, device=where)
    labels = torch.arange(batch_size, device=where) % 16

    def step() -> float:
        with autocast(where):
            loss = F.cross_entropy(model(images).float(), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.item()  # waits for the device

    step()
    print(torch.get_num_threads(), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        print(time.perf_counter() - start, flush=True)


@contextlib.contextmanager
def _side(name: str, *settings: int) -> Iterator[subprocess.Popen]:
    """A process that serves; the user's settings for OpenMP, and those that this process has made, are not for it."""
    environment = {key: value for key, value in os.environ.items() if key not in WAITING + COUNTING}
    code = f"import sys; {_START[name]}; {_WORK}"
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, settings)], env=environment, cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _line(side: subprocess.Popen) -> str:
    assert side.stdout
    line = side.stdout.readline()
    if not line:
        raise InputError("the measurement failed: its process has ended")
    return line


@contextlib.contextmanager
def _competitor() -> Iterator[None]:
    """A process that computes without a pause, and ends with this one."""
    with subprocess.Popen([sys.executable, "-c", _BUSY]) as process:
        try:
            yield
        finally:
            process.kill()
