"""How fast the layers of this project are, against their textbook form."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import torch
from torch import Tensor

from landmark.course.bench.measure import SIDES, check, conditions, peak_memory, spread, wait
from landmark.models import functional
from landmark.models.layers import CompactBilinearPooling
from landmark.utils.device import device


def bench_layers(batch_size: int = 32, map_size: int = 10, repeats: int = 9) -> dict:
    """Time forward and backward of `CompactBilinearPooling` on maps of 2048 channels, sketches of 8192 numbers.

    Plain is the textbook form: sketch, product of spectra and inverse transform for every position, then the sum.

    Args:
        batch_size: maps.
        map_size: height and width of a map.
        repeats: timings of each side, interleaved.

    Returns:
        `ratio_network` (plain seconds to ours), `memory_share` (our extra peak memory to plain), `difference` (the
        larger relative one of values and gradients), and for each side `seconds` and `peak_memory_mib`.
    """
    check(map_size=map_size, batch_size=batch_size, repeats=repeats)
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    work = {name: _work(name, map_size, batch_size) for name in SIDES}
    outputs = {name: work[name]() for name in SIDES}  # also warms both up
    for _, name in itertools.product(range(repeats), SIDES):
        wait()
        start = time.perf_counter()
        work[name]()
        wait()
        seconds[name].append(time.perf_counter() - start)
    peak = {name: peak_memory(_work, name, map_size, batch_size) for name in SIDES}
    pairs = list(zip(outputs["plain"], outputs["ours"], strict=True))
    difference = max(((a - b).norm() / a.norm()).item() for a, b in pairs)
    report = {name: {"seconds": spread(seconds[name]), "peak_memory_mib": peak[name]} for name in SIDES}
    ratio = spread([a / b for a, b in zip(*seconds.values(), strict=True)])
    return conditions(map_size=map_size, batch_size=batch_size, repeats=repeats) | report | {
        "ratio_network": ratio["median"], "ratio_spread": ratio,
        "memory_share": round(peak["ours"] / max(peak["plain"], 1), 3), "difference": difference,
    }  # fmt: skip


def textbook_pooling(x: Tensor, layer: CompactBilinearPooling) -> Tensor:
    """Pool a map (B, C, H, W) to (B, D) as papers write compact bilinear pooling."""
    positions = x.flatten(2).transpose(1, 2)  # (B, H W, C)
    return functional.tensor_sketch(positions, layer.h1, layer.s1, layer.h2, layer.s2, layer.dim).sum(1)


def _work(name: str, size: int, batch_size: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Make the forward and backward pass of a side on a map that is ready; it returns value and gradient."""
    where = device()
    layer = CompactBilinearPooling(2048).to(where)
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(batch_size, 2048, size, size, generator=noise).to(where).requires_grad_()

    def pool() -> tuple[Tensor, Tensor]:
        y = textbook_pooling(x, layer) if name == "plain" else layer(x)
        return y.detach(), torch.autograd.grad(y.square().sum(), x)[0]

    return pool
