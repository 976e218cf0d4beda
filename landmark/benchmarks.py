"""How fast training, prediction, loading and the layers are, against the plain recipe of 2019 in the same run.

Plain: float32, channels first, Pillow at full size and one transform after another in the workers, Adam as it was, and
`torch.topk` of the softmax. Both sides see the same files, the same network and the same frozen tensors.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms
from tqdm.auto import tqdm

from landmark.data import GoogleLandmarks, LabelMap, LandmarkDataset, eval_transform, make_loader, train_transform
from landmark.gauges import SIDES, check, facts, matrix_peak, one_thread, peak_memory, ratio, short, spread, wait
from landmark.images import ImageError, image_path, read_image
from landmark.inference import SAMPLE, fast_model
from landmark.int8 import has_int8
from landmark.models import LandmarkNet, create_model
from landmark.prediction import predictions
from landmark.runs import TrainConfig
from landmark.runtime import device, fast_dtype
from landmark.synthetic import make_world
from landmark.training import _Trainer

MODEL, FROZEN, CLASSES = "xception", 85, 6512  # the paper's network, its frozen tensors, its landmarks
WORKERS = 2
PIXELS, FILES = 640, 48  # longer side and number of the JPEG files, which are read again and again


class _Plain(Dataset):
    """Images as a script of 2019 loads them."""

    def __init__(self, root: Path, table: pd.DataFrame, size: int, model: LandmarkNet, augment: bool = False):
        self.paths = [image_path(root, "train", image_id) for image_id in table["id"]]
        labels = LabelMap(table["landmark_id"])
        self.labels = [labels.to_index(landmark_id) for landmark_id in table["landmark_id"]]
        moved = [transforms.RandomHorizontalFlip(), transforms.RandomAffine(0, translate=(0.1, 0.1))] if augment else []
        ready = [transforms.ToTensor(), transforms.Normalize(**model.data_config)]
        self.transform = transforms.Compose([transforms.Resize((size, size)), *moved, *ready])

    def __len__(self) -> int:
        return len(self.paths)

    def decode(self, index: int) -> Image.Image:
        return Image.open(self.paths[index]).convert("RGB")

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.decode(index)), self.labels[index]


@dataclass
class _Side:
    """One way to do the work: endless batches from files, what is done with them, and where that can be timed."""

    dataset: Dataset
    batches: Callable[[], Iterator]
    run: Callable[[Iterator], Iterator]  # one item for each batch
    model: nn.Module
    precision: torch.dtype
    optimizer: torch.optim.Optimizer | None = None


def bench_train(size: int = 299, batch_size: int = 32, images: int = 64, repeats: int = 5) -> dict:
    """Images a second of training, from JPEG files and of the network alone.

    Args:
        size: pixels of the network's input.
        batch_size: images in a step.
        images: in one timing; rounded up to whole batches.
        repeats: timings of each side, interleaved.

    Returns:
        `ratio_end_to_end` and `ratio_network` (ours to plain, medians of the pairs), `loader_share` (what the network
        loses to the loader), `ratio_at_peak` (what `ratio_network` would be if all of our products ran at the chip's
        peak), and for each side `precision`, `images_per_second`, `seconds` of the parts, `peak_memory_mib`,
        `matrix_peak_gflops` (large matrix products in this precision) and `share_of_peak`.
    """
    return _bench(_train_sides, size, batch_size, images, repeats)


def bench_predict(
    size: int = 299, batch_size: int = 32, images: int = 128, repeats: int = 5, int8: bool = True
) -> dict:
    """Images a second of prediction; arguments and result as those of `bench_train`.

    Args:
        int8: as `landmark predict --int8` where the chip has 8-bit integers, else as without it.
    """
    return _bench(functools.partial(_predict_sides, int8=int8), size, batch_size, images, repeats)


def bench_data(size: int = 299, images: int = 96, repeats: int = 5) -> dict:
    """Images a second that one thread decodes and augments; `ratio_end_to_end` is ours to plain.

    Args:
        size: pixels of the network's input.
        images: in one timing.
        repeats: timings of each side, interleaved.
    """
    check(size=size, images=images, repeats=repeats)
    with tempfile.TemporaryDirectory() as scratch:
        root, table = _world(Path(scratch), images)
        sides = _datasets(root, table, size, create_model(MODEL, 0), augment=True)
        rates: dict[str, list[float]] = {name: [] for name in SIDES}
        with one_thread():
            for _, name in itertools.product(range(repeats), SIDES):
                start = time.perf_counter()
                for index in range(images):
                    sides[name][index % len(table)]
                rates[name].append(images / (time.perf_counter() - start))
        parts = {name: _loading(sides[name]) for name in SIDES}
    told = {name: {"images_per_second": spread(rates[name]), "seconds": parts[name]} for name in SIDES}
    return facts(size=size, images=images, repeats=repeats) | told | {"ratio_end_to_end": ratio(rates)["median"]}


def _train_sides(root: Path, table: pd.DataFrame, size: int, batch_size: int) -> dict[str, _Side]:
    config = TrainConfig(model=MODEL, size=size, batch_size=batch_size, freeze=FROZEN, weights="none",
                         min_images=1)  # fmt: skip
    trainer = _Trainer(config, root, root / "run", WORKERS, progress=False)
    trainer.parallel.train()
    where = device()
    model = create_model(MODEL, len(trainer.labels), freeze=FROZEN).to(where).train()
    learning = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learning, lr=config.lr, foreach=False, fused=False)

    def learn(batch: list[Tensor]) -> float:
        images, labels = (tensor.to(where) for tensor in batch)
        loss = F.cross_entropy(model(images), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.item()

    sets = _datasets(root, table, size, model, augment=True)
    return {
        "plain": _Side(sets["plain"], _plain_batches(sets["plain"], batch_size), lambda b: map(learn, b), model,
                       torch.float32, adam),
        "ours": _Side(sets["ours"], _our_batches(sets["ours"], batch_size, shuffle=True),
                      lambda batches: (trainer._update(batch, len(batch.ids)) for batch in batches),
                      trainer.model, fast_dtype(where), trainer.adam),
    }  # fmt: skip


def _predict_sides(root: Path, table: pd.DataFrame, size: int, batch_size: int, int8: bool) -> dict[str, _Side]:
    where = device()
    model = create_model(MODEL, CLASSES).to(where).eval()
    sets = _datasets(root, table, size, model, augment=False)
    other = create_model(MODEL, CLASSES).to(where).eval()
    ours = _our_batches(sets["ours"], batch_size)
    some = next(ours()).images[:SAMPLE] if int8 and has_int8(where) else None
    precision = fast_dtype(where) if some is None else torch.int8
    fast = fast_model(other, some)

    @torch.no_grad()
    def answer(batch: list[Tensor]) -> tuple[Tensor, ...]:
        best = torch.topk(torch.softmax(model(batch[0].to(where)), 1), 20)
        return best.values.cpu(), best.indices.cpu()

    return {
        "plain": _Side(sets["plain"], _plain_batches(sets["plain"], batch_size), lambda b: map(answer, b), model,
                       torch.float32),
        "ours": _Side(sets["ours"], ours, lambda batches: predictions(fast, batches), fast, precision),
    }  # fmt: skip


def _datasets(root: Path, table: pd.DataFrame, size: int, model: LandmarkNet, augment: bool) -> dict[str, Dataset]:
    transform = (train_transform if augment else eval_transform)(size, **model.data_config)
    ours = LandmarkDataset(table, root, "train", LabelMap(table["landmark_id"]), transform)
    return {"plain": _Plain(root, table, size, model, augment), "ours": ours}


def _plain_batches(dataset: Dataset, batch_size: int) -> Callable[[], Iterator]:
    def batches() -> Iterator:
        order = RandomSampler(dataset, num_samples=1 << 20)
        return iter(DataLoader(dataset, batch_size, sampler=order, num_workers=WORKERS))

    return batches


def _our_batches(dataset: LandmarkDataset, batch_size: int, shuffle: bool = False) -> Callable[[], Iterator]:
    return lambda: iter(make_loader(dataset, batch_size, shuffle=shuffle, epochs=range(1 << 20)))


def _bench(make: Callable[..., dict[str, _Side]], size: int, batch_size: int, images: int, repeats: int) -> dict:
    check(size=size, batch_size=batch_size, images=images, repeats=repeats)
    steps = math.ceil(images / batch_size)
    with tempfile.TemporaryDirectory() as scratch:
        root, table = _world(Path(scratch), batch_size)
        sides = make(root, table, size, batch_size)
        ready = {name: next(side.batches()) for name, side in sides.items()}
        rates: dict[str, dict[str, list[float]]] = {kind: {n: [] for n in SIDES} for kind in ("end_to_end", "network")}
        turns = list(itertools.product(range(repeats), rates, SIDES))
        for _, kind, name in tqdm(turns, desc="measure", leave=False):
            side = sides[name]
            batches = side.batches() if kind == "end_to_end" else itertools.repeat(ready[name])
            rates[kind][name].append(steps * batch_size / _seconds(side.run(batches), steps))
        parts = {name: _loading(sides[name].dataset) | _parts(sides[name], ready[name]) for name in SIDES}
        peak = {name: peak_memory(_work, make, root, table, size, batch_size, name) for name in SIDES}
        work = _operations(sides["plain"], ready["plain"]) / batch_size / 1e9
    most = {name: matrix_peak(sides[name].precision) for name in SIDES}
    alone = {name: statistics.median(rates["network"][name]) for name in SIDES}
    told = {
        name: {"precision": str(sides[name].precision).removeprefix("torch."),
               "images_per_second": {kind: spread(rates[kind][name]) for kind in rates},
               "seconds": parts[name], "peak_memory_mib": peak[name], "matrix_peak_gflops": round(most[name]),
               "share_of_peak": round(work * alone[name] / most[name], 3)} for name in SIDES
    }  # fmt: skip
    both, network = ratio(rates["end_to_end"]), ratio(rates["network"])
    loss = [1 - a / b for a, b in zip(rates["end_to_end"]["ours"], rates["network"]["ours"], strict=True)]
    return facts(size=size, batch_size=batch_size, images=images, repeats=repeats) | told | {
        "ratio_end_to_end": both["median"], "ratio_network": network["median"],
        "ratio_at_peak": short(most["ours"] / (work * alone["plain"])), "gflop_per_image": short(work),
        "loader_share": round(statistics.median(loss), 3),
        "ratio_spread": {"end_to_end": both, "network": network},
    }  # fmt: skip


def _seconds(run: Iterator, steps: int) -> float:
    """Seconds of some steps after the first two, which fill the workers' queues and wake the network up."""
    for _ in range(2):
        next(run)
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        next(run)
    wait()
    return time.perf_counter() - start


def _operations(side: _Side, ready: object) -> int:
    """Multiplications and additions that a step asks for in convolutions and fully connected layers.

    The backward pass takes as many again for the gradient of the weights, and once more for that of the input.
    """
    total = [0]

    def hook(layer: nn.Module, given: tuple[Tensor], result: Tensor) -> None:
        gradients = layer.weight.requires_grad + given[0].requires_grad if torch.is_grad_enabled() else 0
        total[0] += 2 * result.numel() * layer.weight[0].numel() * (1 + gradients)

    layers = [m for m in side.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(hook) for layer in layers]
    next(side.run(iter([ready])))
    for handle in hooks:
        handle.remove()
    return total[0]


def _parts(side: _Side, ready: object, steps: int = 3) -> dict[str, float]:
    """Seconds an image of each part of a step on a ready batch: medians of what hooks tell."""
    spent: dict[str, list[float]] = {}
    clock = [0.0]

    def mark(part: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            wait()
            spent.setdefault(part, []).append(time.perf_counter() - clock[0])
            clock[0] = time.perf_counter()

        return hook

    hooks = [side.model.register_forward_pre_hook(mark("host_to_device")),
             side.model.register_forward_hook(mark("forward"))]  # fmt: skip
    if side.optimizer:
        hooks += [side.optimizer.register_step_pre_hook(mark("backward")),
                  side.optimizer.register_step_post_hook(mark("step"))]  # fmt: skip
    run = side.run(itertools.repeat(ready))
    next(run)
    spent.clear()
    for _ in range(steps):
        clock[0] = time.perf_counter()
        next(run)
    for hook in hooks:
        hook.remove()
    return {part: round(statistics.median(values) / len(_images(ready)), 6) for part, values in spent.items()}


def _loading(dataset: Dataset) -> dict[str, float]:
    """Seconds an image of decoding and of the transforms."""
    spent: dict[str, list[float]] = {"decode": [], "transform": []}
    with one_thread():
        for index in range(min(len(dataset), FILES)):
            start = time.perf_counter()
            dataset.decode(index)
            decoded = time.perf_counter() - start
            start = time.perf_counter()
            dataset[index]
            spent["decode"].append(decoded)
            spent["transform"].append(max(0.0, time.perf_counter() - start - decoded))
    return {part: round(statistics.median(values), 6) for part, values in spent.items()}


def _work(make: Callable[..., dict[str, _Side]], root: Path, table: pd.DataFrame, size: int, batch: int, name: str):
    side = make(root, table, size, batch)[name]
    data = next(side.batches())
    return lambda: next(side.run(iter([data])))


def _images(batch: object) -> Tensor:
    return batch[0] if isinstance(batch, list) else batch.images


def _world(folder: Path, at_least: int) -> tuple[Path, pd.DataFrame]:
    """JPEG files of a miniature world and the rows of those that are sound, repeated until a batch is full."""
    root = make_world(folder / "world", landmarks=4, images=FILES // 4, test=0, size=PIXELS, progress=False)
    rows = GoogleLandmarks(root).train
    table = rows[[_sound(image_path(root, "train", image_id)) for image_id in rows["id"]]][:FILES]
    copies = math.ceil(at_least / len(table))
    table = pd.concat([table] * copies)
    return root, table[: len(table) // at_least * at_least].reset_index(drop=True)


def _sound(path: Path) -> bool:
    try:
        read_image(path)
    except ImageError:
        return False
    return True
