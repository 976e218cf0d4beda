"""How fast training, prediction and loading are, against the plain recipe of 2019 in the same run.

Each side works in a process of its own; see `recipes` for what they do.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from landmark.course.bench.measure import (
    SIDES,
    Apart,
    check,
    conditions,
    matrix_peak,
    measure_peak,
    one_thread,
    ratio,
    short,
    spread,
    wait,
)
from landmark.course.bench.recipes import MODEL, Images, Side, dataset_of, files, predict_side, train_side
from landmark.models.net import LandmarkNet, create_model
from landmark.training.config import TrainConfig
from landmark.utils.device import device, own_random_numbers
from landmark.utils.errors import InputError

EPOCHS, VIEWS = (
    cast(int, TrainConfig().epochs),
    2,
)  # of a run as by default, and views with which it learns as well (notebook 7)


def bench_train(
    size: int = 299, batch_size: int | None = None, images: int | None = None, repeats: int = 3, int8: bool = True,
    compiled: bool | None = None,
) -> dict:  # fmt: skip
    """Measure images a second of training, from JPEG files and of the network alone.

    Args:
        size: pixels of the network's input.
        batch_size: images in a step; 64 on a GPU, else 16, when left out.
        images: in one timing of the plain side, rounded up to whole batches, ours works as long; 32 batches on a
            GPU, else 2, when left out.
        repeats: timings of each side, interleaved.
        int8: frozen stages as by `landmark train --int8` where the chip has 8-bit integers, else as without it.
        compiled: time the network alone of timm's Xception, channels last, in the chip's precision and compiled, too;
            on a GPU when left out. On a CPU compiling takes a minute and a C++ compiler.

    Returns:
        `ratio_end_to_end` and `ratio_network` (ours to plain, medians of the pairs), `ratio_views` (end to end in an
        epoch whose views are kept, see `TrainConfig`), `ratio_run` (in a run of `EPOCHS` with `VIEWS`, some of each),
        `loader_share` (what the network loses to the loader), `ratio_at_peak` (what `ratio_network` would be if all of
        our products ran at the chip's peak), and for each side `precision`, `images_per_second`, `seconds` of the
        parts, `peak_memory_mib`, `matrix_peak_gflops` (of large matrix products in these precisions) and
        `share_of_peak`. With `compiled` also `share_of_compiled` (our network's images a second to that one's).
    """
    return _bench(train_side, size, batch_size, images, repeats, int8, compiled)


def bench_predict(
    size: int = 299, batch_size: int | None = None, images: int | None = None, repeats: int = 3, int8: bool = True,
    compiled: bool | None = None,
) -> dict:  # fmt: skip
    """Measure images a second of prediction; arguments and result as those of `bench_train`.

    Args:
        int8: as `landmark predict --int8` where the chip has 8-bit integers, else as without it.
    """
    return _bench(predict_side, size, batch_size, images, repeats, int8, compiled)


def bench_data(size: int = 299, images: int = 96, repeats: int = 5) -> dict:
    """Measure the images a second that one thread decodes and augments; `ratio_end_to_end` is ours to plain.

    Args:
        size: pixels of the network's input.
        images: in one timing.
        repeats: timings of each side, interleaved.
    """
    check(size=size, images=images, repeats=repeats)
    with tempfile.TemporaryDirectory() as scratch:
        root, table = files(Path(scratch), images, size)
        model = create_model(MODEL, 0)
        sides = {name: dataset_of(name, root, table, size, model, augment=True) for name in SIDES}
        rates: dict[str, list[float]] = {name: [] for name in SIDES}
        with one_thread(), own_random_numbers(device()):  # the plain side draws from the process's
            for _, name in itertools.product(range(repeats), SIDES):
                start = time.perf_counter()
                for index in range(images):
                    sides[name][index % len(table)]
                rates[name].append(images / (time.perf_counter() - start))
            parts = {name: _loading(sides[name]) for name in SIDES}
    report = {name: {"images_per_second": spread(rates[name]), "seconds": parts[name]} for name in SIDES}
    both = ratio(rates["ours"], rates["plain"])["median"]
    return conditions(size=size, images=images, repeats=repeats) | report | {"ratio_end_to_end": both}


def _bench(
    make: Callable[..., Side], size: int, batch_size: int | None, images: int | None, repeats: int, int8: bool,
    compiled: bool | None,
) -> dict:  # fmt: skip
    gpu = device().type == "cuda"
    third = ("compiled",) if (gpu if compiled is None else compiled) else ()
    batch_size = (64 if gpu else 16) if batch_size is None else batch_size
    images = batch_size * (32 if gpu else 2) if images is None else images
    check(size=size, batch_size=batch_size, images=images, repeats=repeats)
    if third and not gpu and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        raise InputError("--compiled needs a C++ compiler on a CPU: install g++ or clang++, or leave it out")
    steps = math.ceil(images / batch_size)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        root, table = files(Path(scratch), batch_size, size)
        sides = {n: stack.enter_context(Apart(make, n, root, table, size, batch_size, int8)) for n in SIDES + third}
        peak = {name: sides[name].ask(_peak) for name in SIDES}
        who = {"end_to_end": SIDES, "views": ("ours",) * (make is train_side), "network": SIDES + third}
        rates: dict[str, dict[str, list[float]]]
        rates = {kind: {name: [] for name in names} for kind, names in who.items() if names}
        # All of a side at a time: its loader's share is a small difference, which other work of the machine would drown
        turns = [(kind, name) for _ in range(repeats) for name in sides for kind in rates if name in rates[kind]]
        spent = 0.0
        for kind, name in tqdm(turns, desc="measure", leave=False):
            # The others run as long as the plain side just before: other work of the machine slows all alike
            done, spent = sides[name].ask(_timed, kind, steps, 0.0 if name == "plain" else spent)
            rates[kind][name].append(done * batch_size / spent)
        parts = {name: sides[name].ask(_parts) for name in SIDES}
        precision = {name: sides[name].ask(_precision) for name in SIDES}
        work = [operations / batch_size / 1e9 for operations in sides["plain"].ask(_operations)]
    kinds = {dtype for pair in precision.values() for dtype in pair}
    most = {dtype: matrix_peak(dtype) for dtype in sorted(kinds, key=str)}
    # Seconds an image of products that all run at the chip's peak
    least = {n: sum(w / most[dtype] for w, dtype in zip(work, precision[n], strict=True)) for n in SIDES}
    alone = {name: statistics.median(rates["network"][name]) for name in SIDES}
    report: dict[str, Any] = {
        name: {"precision": " and ".join(dict.fromkeys(map(_name, precision[name]))),
               "images_per_second": {kind: spread(rates[kind][name]) for kind in rates if name in rates[kind]},
               "seconds": parts[name], "peak_memory_mib": peak[name],
               "matrix_peak_gflops": {_name(dtype): round(most[dtype]) for dtype in dict.fromkeys(precision[name])},
               "share_of_peak": round(least[name] * alone[name], 3)} for name in SIDES
    }  # fmt: skip
    both, network = (ratio(rates[kind]["ours"], rates[kind]["plain"]) for kind in ("end_to_end", "network"))
    for name in third:
        report[name] = {"images_per_second": {"network": spread(rates["network"][name])}}
        report[f"share_of_{name}"] = ratio(rates["network"]["ours"], rates["network"][name])["median"]
    spreads = {"end_to_end": both, "network": network}
    if "views" in rates:
        spreads["views"] = views = ratio(rates["views"]["ours"], rates["end_to_end"]["plain"])
        seconds = VIEWS / both["median"] + (EPOCHS - VIEWS) / views["median"]  # the first epochs compute their views
        report |= {"ratio_views": views["median"], "ratio_run": short(EPOCHS / seconds)}
    loss = [1 - a / b for a, b in zip(rates["end_to_end"]["ours"], rates["network"]["ours"], strict=True)]
    return conditions(size=size, batch_size=batch_size, images=images, repeats=repeats) | report | {
        "ratio_end_to_end": both["median"], "ratio_network": network["median"],
        "ratio_at_peak": short(1 / (least["ours"] * alone["plain"])), "gflop_per_image": short(sum(work)),
        "loader_share": round(statistics.median(loss), 3),
        "ratio_spread": spreads,
    }  # fmt: skip


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _precision(side: Side) -> tuple[torch.dtype, torch.dtype]:
    return side.frozen, side.learning


def _peak(side: Side) -> int:
    return measure_peak(lambda: next(side.run(iter([side.ready]))))


def _timed(side: Side, kind: str, steps: int, at_least: float) -> tuple[int, float]:
    """Time steps, and give their number and seconds: so many, or more until `at_least` seconds are over.

    One step before them fills the queues of workers and wakes the network up.
    """
    ways = {"end_to_end": side.batches, "network": lambda: itertools.repeat(side.ready), "views": side.views}
    way = ways[kind]
    assert way
    run = side.run(way())
    next(run)
    wait()
    start, done, spent = time.perf_counter(), 0, 0.0
    while done < steps or spent < at_least:
        next(run)
        if done >= steps - 1:  # not sooner: a GPU must not be waited for after every step
            wait()
        done, spent = done + 1, time.perf_counter() - start
    return done, spent


def _operations(side: Side) -> list[int]:
    """Count the multiplications and additions that a step asks for in what is frozen and in what learns.

    Of convolutions and fully connected layers. The backward pass takes as many again for the gradient of the weights,
    and once more for that of the input.
    """
    total = [0, 0]

    def hook(layer: nn.Conv2d | nn.Linear, given: tuple[Tensor], result: Tensor) -> None:
        gradients = int(layer.weight.requires_grad) + given[0].requires_grad if torch.is_grad_enabled() else 0
        total[int(gradients > 0)] += 2 * result.numel() * layer.weight[0].numel() * (1 + gradients)

    layers = [m for m in side.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(hook) for layer in layers]
    next(side.run(iter([side.ready])))
    for handle in hooks:
        handle.remove()
    return total


def _parts(side: Side, steps: int = 3) -> dict[str, float]:
    """Measure seconds an image of loading and, by hooks, of each part of a step on a ready batch: medians."""
    spent: dict[str, list[float]] = {}
    clock = [0.0]

    def mark(part: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            wait()
            spent.setdefault(part, []).append(time.perf_counter() - clock[0])
            clock[0] = time.perf_counter()

        return hook

    if isinstance(side.model, LandmarkNet):  # prediction asks for map, embedding and logits one after the other
        features, arrived = side.model.forward_features, mark("host_to_device")
        setattr(side.model, "forward_features", lambda x: (arrived(), features(x))[1])  # noqa: B010  (a method)
        hooks = [side.model.head.register_forward_hook(mark("forward"))]
    else:
        hooks = [side.model.register_forward_pre_hook(mark("host_to_device")),
                 side.model.register_forward_hook(mark("forward"))]  # fmt: skip
    if side.optimizer:
        hooks += [side.optimizer.register_step_pre_hook(mark("backward")),
                  side.optimizer.register_step_post_hook(mark("step"))]  # fmt: skip
    run = side.run(itertools.repeat(side.ready))
    next(run)
    spent.clear()
    for _ in range(steps):
        clock[0] = time.perf_counter()
        next(run)
    for hook in hooks:
        hook.remove()
    vars(side.model).pop("forward_features", None)
    count = len(side.ready[0] if isinstance(side.ready, list) else side.ready.images)
    step = {part: round(statistics.median(values) / count, 6) for part, values in spent.items()}
    assert side.dataset is not None
    return _loading(side.dataset) | step


def _loading(dataset: Images) -> dict[str, float]:
    """Measure seconds an image of decoding and of the transforms."""
    spent: dict[str, list[float]] = {"decode": [], "transform": []}
    with one_thread():
        for index in range(len(dataset)):
            start = time.perf_counter()
            dataset.decode(index)
            decoded = time.perf_counter() - start
            start = time.perf_counter()
            dataset[index]
            spent["decode"].append(decoded)
            spent["transform"].append(max(0.0, time.perf_counter() - start - decoded))
    return {part: round(statistics.median(values), 6) for part, values in spent.items()}
