"""How fast training, prediction, loading and the layers are, against the plain recipe of 2019 in the same run.

Plain: float32, channels first, Pillow at full size and one transform after another in the workers, Adam as it was, the
first 85 tensors frozen, and `torch.topk` of the softmax. Ours freezes as far, and the statistics of those BatchNorms
too. Both see the same files and begin with the same weights, each in a process of its own.
"""

from __future__ import annotations

import contextlib
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
from landmark.gauges import SIDES, Apart, check, facts, matrix_peak, one_thread, peak_of, ratio, short, spread, wait
from landmark.images import ImageError, image_path, read_image
from landmark.inference import SAMPLE, fast_model
from landmark.int8 import has_int8
from landmark.models import LandmarkNet, create_model
from landmark.prediction import predictions
from landmark.runs import TrainConfig
from landmark.runtime import device, fast_dtype
from landmark.synthetic import make_world
from landmark.training import _Trainer

MODEL, CLASSES = "xception", 6512  # the paper's network, its landmarks
FROZEN, STAGE = 85, "block7"  # the paper's frozen tensors; the stage that ends two tensors (a BatchNorm's) later
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
    frozen: torch.dtype  # of products in what does not learn
    learning: torch.dtype
    optimizer: torch.optim.Optimizer | None = None

    def __post_init__(self):
        self.ready = next(self.batches())


def bench_train(size: int = 299, batch_size: int = 32, images: int = 64, repeats: int = 5, int8: bool = True) -> dict:
    """Images a second of training, from JPEG files and of the network alone.

    Args:
        size: pixels of the network's input.
        batch_size: images in a step.
        images: in one timing; rounded up to whole batches.
        repeats: timings of each side, interleaved.
        int8: frozen stages as by `landmark train --int8` where the chip has 8-bit integers, else as without it.

    Returns:
        `ratio_end_to_end` and `ratio_network` (ours to plain, medians of the pairs), `loader_share` (what the network
        loses to the loader), `ratio_at_peak` (what `ratio_network` would be if all of our products ran at the chip's
        peak), and for each side `precision`, `images_per_second`, `seconds` of the parts, `peak_memory_mib`,
        `matrix_peak_gflops` (of large matrix products in these precisions) and `share_of_peak`.
    """
    return _bench(_train_side, size, batch_size, images, repeats, int8)


def bench_predict(
    size: int = 299, batch_size: int = 32, images: int = 128, repeats: int = 5, int8: bool = True
) -> dict:
    """Images a second of prediction; arguments and result as those of `bench_train`.

    Args:
        int8: as `landmark predict --int8` where the chip has 8-bit integers, else as without it.
    """
    return _bench(_predict_side, size, batch_size, images, repeats, int8)


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
        model = create_model(MODEL, 0)
        sides = {name: _dataset(name, root, table, size, model, augment=True) for name in SIDES}
        rates: dict[str, list[float]] = {name: [] for name in SIDES}
        with one_thread():
            for _, name in itertools.product(range(repeats), SIDES):
                start = time.perf_counter()
                for index in range(images):
                    sides[name][index % len(table)]
                rates[name].append(images / (time.perf_counter() - start))
        parts = {name: _loading_of(sides[name]) for name in SIDES}
    told = {name: {"images_per_second": spread(rates[name]), "seconds": parts[name]} for name in SIDES}
    return facts(size=size, images=images, repeats=repeats) | told | {"ratio_end_to_end": ratio(rates)["median"]}


def _train_side(name: str, root: Path, table: pd.DataFrame, size: int, batch_size: int, int8: bool) -> _Side:
    where = device()
    if name == "ours":
        config = TrainConfig(model=MODEL, size=size, batch_size=batch_size, freeze=STAGE, weights="none",
                             min_images=1, int8=int8 and has_int8(where))  # fmt: skip
        trainer = _Trainer(config, root, root / "run", WORKERS, progress=False)
        trainer.start()
        trainer.parallel.train()
        dataset = _dataset(name, root, table, size, trainer.model, augment=True)
        return _Side(dataset, _our_batches(dataset, batch_size, shuffle=True),
                     lambda batches: (trainer._update(batch, len(batch.ids)) for batch in batches), trainer.parallel,
                     torch.int8 if config.int8 else fast_dtype(where), fast_dtype(where), trainer.adam)  # fmt: skip
    classes = len(LabelMap(GoogleLandmarks(root).labelled()["landmark_id"]))
    model = create_model(MODEL, classes, freeze=FROZEN).to(where).train()
    learning = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learning, lr=TrainConfig().lr, foreach=False, fused=False)

    def learn(batch: list[Tensor]) -> float:
        images, labels = (tensor.to(where) for tensor in batch)
        loss = F.cross_entropy(model(images), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.item()

    dataset = _dataset(name, root, table, size, model, augment=True)
    return _Side(dataset, _plain_batches(dataset, batch_size), lambda batches: map(learn, batches), model,
                 torch.float32, torch.float32, adam)  # fmt: skip


def _predict_side(name: str, root: Path, table: pd.DataFrame, size: int, batch_size: int, int8: bool) -> _Side:
    where = device()
    model = create_model(MODEL, CLASSES).to(where).eval()
    dataset = _dataset(name, root, table, size, model, augment=False)
    if name == "ours":
        batches = _our_batches(dataset, batch_size)
        some = next(batches()).images[:SAMPLE] if int8 and has_int8(where) else None
        fast, precision = fast_model(model, some), fast_dtype(where) if some is None else torch.int8
        return _Side(dataset, batches, lambda batches: predictions(fast, batches), fast, precision, precision)

    @torch.no_grad()
    def answer(batch: list[Tensor]) -> tuple[Tensor, ...]:
        best = torch.topk(torch.softmax(model(batch[0].to(where)), 1), 20)
        return best.values.cpu(), best.indices.cpu()

    return _Side(dataset, _plain_batches(dataset, batch_size), lambda batches: map(answer, batches), model,
                 torch.float32, torch.float32)  # fmt: skip


def _dataset(name: str, root: Path, table: pd.DataFrame, size: int, model: LandmarkNet, augment: bool) -> Dataset:
    if name == "plain":
        return _Plain(root, table, size, model, augment)
    transform = (train_transform if augment else eval_transform)(size, **model.data_config)
    return LandmarkDataset(table, root, "train", LabelMap(table["landmark_id"]), transform)


def _plain_batches(dataset: Dataset, batch_size: int) -> Callable[[], Iterator]:
    def batches() -> Iterator:
        order = RandomSampler(dataset, num_samples=1 << 20)
        return iter(DataLoader(dataset, batch_size, sampler=order, num_workers=WORKERS))

    return batches


def _our_batches(dataset: LandmarkDataset, batch_size: int, shuffle: bool = False) -> Callable[[], Iterator]:
    return lambda: iter(make_loader(dataset, batch_size, shuffle=shuffle, epochs=range(1 << 20)))


def _bench(make: Callable[..., _Side], size: int, batch_size: int, images: int, repeats: int, int8: bool) -> dict:
    check(size=size, batch_size=batch_size, images=images, repeats=repeats)
    steps = math.ceil(images / batch_size)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        root, table = _world(Path(scratch), batch_size)
        sides = {n: stack.enter_context(Apart(make, n, root, table, size, batch_size, int8)) for n in SIDES}
        peak = {name: side.ask(_peak) for name, side in sides.items()}
        rates: dict[str, dict[str, list[float]]] = {kind: {n: [] for n in SIDES} for kind in ("end_to_end", "network")}
        turns = list(itertools.product(range(repeats), rates, SIDES))
        for _, kind, name in tqdm(turns, desc="measure", leave=False):
            rates[kind][name].append(steps * batch_size / sides[name].ask(_seconds, kind, steps))
        parts = {name: side.ask(_loading) | side.ask(_parts) for name, side in sides.items()}
        precision = {name: side.ask(_precision) for name, side in sides.items()}
        work = [operations / batch_size / 1e9 for operations in sides["plain"].ask(_operations)]
    kinds = {dtype for pair in precision.values() for dtype in pair}
    most = {dtype: matrix_peak(dtype) for dtype in sorted(kinds, key=str)}
    # Seconds an image of products that all run at the chip's peak
    least = {n: sum(w / most[dtype] for w, dtype in zip(work, precision[n], strict=True)) for n in SIDES}
    alone = {name: statistics.median(rates["network"][name]) for name in SIDES}
    told = {
        name: {"precision": " and ".join(dict.fromkeys(map(_name, precision[name]))),
               "images_per_second": {kind: spread(rates[kind][name]) for kind in rates},
               "seconds": parts[name], "peak_memory_mib": peak[name],
               "matrix_peak_gflops": {_name(dtype): round(most[dtype]) for dtype in dict.fromkeys(precision[name])},
               "share_of_peak": round(least[name] * alone[name], 3)} for name in SIDES
    }  # fmt: skip
    both, network = ratio(rates["end_to_end"]), ratio(rates["network"])
    loss = [1 - a / b for a, b in zip(rates["end_to_end"]["ours"], rates["network"]["ours"], strict=True)]
    return facts(size=size, batch_size=batch_size, images=images, repeats=repeats) | told | {
        "ratio_end_to_end": both["median"], "ratio_network": network["median"],
        "ratio_at_peak": short(1 / (least["ours"] * alone["plain"])), "gflop_per_image": short(sum(work)),
        "loader_share": round(statistics.median(loss), 3),
        "ratio_spread": {"end_to_end": both, "network": network},
    }  # fmt: skip


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _precision(side: _Side) -> tuple[torch.dtype, torch.dtype]:
    return side.frozen, side.learning


def _peak(side: _Side) -> int:
    return peak_of(lambda: next(side.run(iter([side.ready]))))


def _seconds(side: _Side, kind: str, steps: int) -> float:
    """Seconds of some steps after the first two, which fill the workers' queues and wake the network up."""
    run = side.run(side.batches() if kind == "end_to_end" else itertools.repeat(side.ready))
    for _ in range(2):
        next(run)
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        next(run)
    wait()
    return time.perf_counter() - start


def _operations(side: _Side) -> list[int]:
    """Multiplications and additions that a step asks for in what is frozen and in what learns.

    Of convolutions and fully connected layers. The backward pass takes as many again for the gradient of the weights,
    and once more for that of the input.
    """
    total = [0, 0]

    def hook(layer: nn.Module, given: tuple[Tensor], result: Tensor) -> None:
        gradients = layer.weight.requires_grad + given[0].requires_grad if torch.is_grad_enabled() else 0
        total[gradients > 0] += 2 * result.numel() * layer.weight[0].numel() * (1 + gradients)

    layers = [m for m in side.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(hook) for layer in layers]
    next(side.run(iter([side.ready])))
    for handle in hooks:
        handle.remove()
    return total


def _parts(side: _Side, steps: int = 3) -> dict[str, float]:
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
    run = side.run(itertools.repeat(side.ready))
    next(run)
    spent.clear()
    for _ in range(steps):
        clock[0] = time.perf_counter()
        next(run)
    for hook in hooks:
        hook.remove()
    count = len(side.ready[0] if isinstance(side.ready, list) else side.ready.images)
    return {part: round(statistics.median(values) / count, 6) for part, values in spent.items()}


def _loading(side: _Side) -> dict[str, float]:
    return _loading_of(side.dataset)


def _loading_of(dataset: Dataset) -> dict[str, float]:
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
