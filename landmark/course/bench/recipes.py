"""Two ways to train and to predict, ready to be timed: the plain recipe of 2019 and ours.

Plain: float32, channels first, Pillow at full size and one transform after another in the workers, Adam as it was, the
first 85 tensors frozen, and `torch.topk` of the softmax. Ours freezes as far, and the statistics of those BatchNorms
too. Both see the same files and begin with the same weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from landmark.data.dataset import LandmarkDataset, Samples, eval_transform, train_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.images import image_path, read_image
from landmark.data.loader import make_loader
from landmark.evaluation.prediction import predictions
from landmark.models.folding import SAMPLE, fast_model
from landmark.models.frozen import fast_prefix
from landmark.models.int8 import has_int8
from landmark.models.net import LandmarkNet, create_model
from landmark.training.config import TrainConfig
from landmark.training.frozen.maps import FrozenMaps
from landmark.training.step import Learning, network_of, ranges_of, train_step
from landmark.utils.device import autocast, device, fast_dtype
from landmark.utils.errors import ImageError
from landmark.utils.process import settle_sockets
from landmark.world.make import make_world

MODEL, CLASSES = "xception", 6512  # the paper's network, its landmarks
FROZEN, STAGE = 85, "block7"  # the paper's frozen tensors; the stage that ends two tensors (a BatchNorm's) later
WORKERS = 2
LARGER, FILES = 640 / 299, 8  # longer side, of the network's, and number of the JPEG files, read again and again


@dataclass
class Side:
    """One way to do the work: endless batches from files, what is done with them, and where that can be timed."""

    dataset: Images | None
    batches: Callable[[], Iterator]
    run: Callable[[Iterator], Iterator]  # one item for each batch
    model: nn.Module
    frozen: torch.dtype  # of products in what does not learn
    learning: torch.dtype
    optimizer: torch.optim.Optimizer | None = None
    views: Callable[[], Iterator] | None = None  # batches of what the frozen stages made of the images

    def __post_init__(self) -> None:
        self.ready = next(self.batches())


def train_side(name: str, root: Path, table: pd.DataFrame, size: int, batch_size: int, int8: bool) -> Side:
    """Training steps of a side.

    Args:
        name: "plain", "ours" or "compiled".
        root: of `files`, as is `table`.
        table: the images.
        size: pixels.
        batch_size: images in a step.
        int8: ours computes frozen stages in 8-bit integers, where the chip has them.
    """
    if name == "compiled":
        return _compiled_side(size, batch_size, learns=True)
    where = device()
    if name == "ours":
        config = TrainConfig(model=MODEL, size=size, batch_size=batch_size, freeze=STAGE, weights="none",
                             min_images=1, int8=int8 and has_int8(where))  # fmt: skip
        labelled = GoogleLandmarks(root).labelled(config.min_images)
        model = network_of(config, labelled["landmark_id"].nunique())
        ranges = ranges_of(config, model, table, root) if config.int8 else None
        learner = fast_prefix(model, STAGE, ranges)
        dataset = _ours(root, table, size, model, augment=True)
        views = FrozenMaps(dataset, root / "views")
        for _ in views.fill(learner.prefix.maps):
            pass
        images = replace(Learning.of(model, config), network=learner)
        maps = replace(images, network=learner.rest, shape=views.shape)

        def train(batches: Iterator) -> Iterator[float]:
            for batch in batches:
                yield train_step(maps if batch.images.shape[1:] == maps.shape else images, batch, 0, config.lr)

        return Side(dataset, _our_batches(dataset, batch_size, shuffle=True), train, learner,
                    torch.int8 if config.int8 else fast_dtype(where), fast_dtype(where), images.adam,
                    _our_batches(views, batch_size, shuffle=True))  # fmt: skip
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

    photos = _Plain(root, table, size, model, augment=True)
    return Side(photos, _plain_batches(photos, batch_size), lambda batches: map(learn, batches), model,
                torch.float32, torch.float32, adam)  # fmt: skip


def predict_side(name: str, root: Path, table: pd.DataFrame, size: int, batch_size: int, int8: bool) -> Side:
    """Prediction of a side; arguments as those of `train_side`, `int8` is of the whole backbone."""
    if name == "compiled":
        return _compiled_side(size, batch_size, learns=False)
    where = device()
    model = create_model(MODEL, CLASSES).to(where).eval()
    if name == "ours":
        dataset = _ours(root, table, size, model, augment=False)
        batches = _our_batches(dataset, batch_size)
        some = next(batches()).images[:SAMPLE] if int8 and has_int8(where) else None
        fast, precision = fast_model(model, some), fast_dtype(where) if some is None else torch.int8
        return Side(dataset, batches, lambda batches: predictions(fast, batches), fast, precision, precision)

    @torch.no_grad()
    def answer(batch: list[Tensor]) -> tuple[Tensor, ...]:
        best = torch.topk(torch.softmax(model(batch[0].to(where)), 1), 20)
        return best.values.cpu(), best.indices.cpu()

    images = _Plain(root, table, size, model)
    return Side(images, _plain_batches(images, batch_size), lambda batches: map(answer, batches), model,
                torch.float32, torch.float32)  # fmt: skip


def _compiled_side(size: int, batch_size: int, learns: bool) -> Side:
    """Endless steps of timm's network, or predictions, on random images that are ready."""
    where, dtype = device(), fast_dtype(device())
    model = timm.create_model("legacy_xception", num_classes=CLASSES).to(where).to(memory_format=torch.channels_last)
    for parameter in list(model.parameters())[:FROZEN]:
        parameter.requires_grad_(False)
    images = torch.rand(batch_size, 3, size, size).to(where, memory_format=torch.channels_last)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=where)
    network = torch.compile(model.train(learns))
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=TrainConfig().lr, fused=True)

    def learn(batch: list[Tensor]) -> float:
        with autocast(where):
            logits = network(batch[0])
        loss = F.cross_entropy(logits.float(), batch[1])
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return loss.item()

    @torch.no_grad()
    def answer(batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        best = network(batch[0].to(dtype)).float().softmax(1).max(1)
        return best.values.cpu(), best.indices.cpu()

    if not learns:
        model.to(dtype)
    work = learn if learns else answer
    return Side(
        None, lambda: itertools.repeat([images, labels]), lambda batches: map(work, batches), model, dtype, dtype
    )


def dataset_of(name: str, root: Path, table: pd.DataFrame, size: int, model: LandmarkNet, augment: bool) -> Images:
    """Give the images of a side, prepared for a model."""
    return (_Plain if name == "plain" else _ours)(root, table, size, model, augment)


def _ours(root: Path, table: pd.DataFrame, size: int, model: LandmarkNet, augment: bool) -> LandmarkDataset:
    transform = (train_transform if augment else eval_transform)(size, **model.data_config)
    return LandmarkDataset(table, root, "train", LabelMap(table["landmark_id"]), *transform)


def _plain_batches(dataset: _Plain, batch_size: int) -> Callable[[], Iterator]:
    def batches() -> Iterator:
        order = RandomSampler(dataset, num_samples=1 << 20)
        settle_sockets()
        return iter(DataLoader(dataset, batch_size, sampler=order, num_workers=WORKERS))

    return batches


def _our_batches(dataset: Samples, batch_size: int, shuffle: bool = False) -> Callable[[], Iterator]:
    return lambda: iter(make_loader(dataset, batch_size, shuffle=shuffle, epochs=range(1 << 20)))


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


Images = LandmarkDataset | _Plain


def files(folder: Path, at_least: int, size: int) -> tuple[Path, pd.DataFrame]:
    """JPEG files of a miniature world and the rows of those that are sound, repeated until a batch is full.

    Twice as large as a network for `size` pixels wants them.
    """
    pixels = round(size * LARGER)
    root = make_world(folder / "world", landmarks=4, images=FILES // 4, test=0, size=pixels, progress=False)
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
