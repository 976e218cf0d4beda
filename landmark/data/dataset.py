"""Images of a table, decoded, transformed and stacked; a bad one stands beside the batch, never in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info
from torchvision.transforms import v2

from landmark.data.archives import open_images
from landmark.data.folder import LabelMap
from landmark.data.images import read_image
from landmark.utils.errors import ImageError
from landmark.utils.process import usable_cpus


@dataclass(frozen=True)
class Sample:
    """One image ready for the network: (3, S, S), its class index (-1 when unknown) and its id.

    Or, from `Views`, the map (C, H, W) that the frozen stages made of it.
    """

    image: Tensor
    label: int
    image_id: str


@dataclass(frozen=True)
class Bad:
    """An image that could not be used, and why."""

    image_id: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Survivors of a batch in their order, and the bad ones beside them."""

    images: Tensor  # (B, 3, S, S), or the maps of `Views`
    labels: Tensor  # (B,)
    ids: list[str]
    bad: list[Bad]

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())


FIXED = 3  # transforms of the lists below that draw no random numbers: centre square, to uint8, resize


class LandmarkDataset(Dataset):
    """Images of a table. A bad one gives `Bad`, never another image; random numbers depend on (seed, epoch, index).

    Args:
        table: rows with id and, for labels, landmark_id.
        root: GLDv2 folder: loose images, TARs or both.
        split: "train" or "test".
        label_map: gives class indices; without it every label is -1.
        transform: of `eval_transform` or `train_transform`; the image's own pixels without.
        seed: of the augmentation; set `epoch` before each pass.
        keep: hold the decoded, resized images in memory, so that later passes only augment them.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        root: str | Path,
        split: str = "train",
        label_map: LabelMap | None = None,
        transform: Callable | None = None,
        seed: int = 0,
        keep: bool = False,
    ):
        self.root, self.split, self.seed, self.epoch = root, split, seed, 0
        steps = transform.transforms if transform else [v2.PILToTensor()]
        self.prepare, self.augment = v2.Compose(steps[:FIXED]), v2.Compose(steps[FIXED:]) if steps[FIXED:] else None
        self.at_least = next((step.size[0] for step in steps if isinstance(step, v2.Resize)), 0)
        self.kept: dict[int, Tensor | Bad] | None = {} if keep else None
        self.images = open_images(root, split)
        self.ids = np.array(table["id"].tolist(), "S")  # no Python objects: workers share the memory
        self.labels = np.full(len(table), -1)
        if label_map is not None and "landmark_id" in table:
            self.labels = np.array([label_map.to_index(value) for value in table["landmark_id"]], np.int64)

    @cached_property
    def shards(self) -> np.ndarray:
        """Which TAR, or folder, each image is read from."""
        return self.images.shards(self.ids.astype(str).tolist())

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample | Bad:
        return self._sample(key, self._read(key))

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> list[Sample | Bad]:
        """A batch; outside a loader's processes threads decode it."""
        if get_worker_info() is not None:
            return [self[key] for key in keys]
        images = list(_threads().map(self._read, keys))
        return [self._sample(key, image) for key, image in zip(keys, images, strict=True)]

    def _read(self, key: int | tuple[int, int]) -> Image.Image | Tensor | Bad:
        """An image from its file, or prepared if it is in memory."""
        index = key[1] if isinstance(key, tuple) else key
        if self.kept is not None and index in self.kept:
            return self.kept[index]
        try:
            return self.decode(index)
        except ImageError as error:
            return Bad(self.ids[index].decode(), error.reason)

    def _sample(self, key: int | tuple[int, int], image: Image.Image | Tensor | Bad) -> Sample | Bad:
        epoch, index = key if isinstance(key, tuple) else (self.epoch, key)
        if isinstance(image, Image.Image):
            image = self.prepare(image).contiguous()  # (3, S, S) uint8, the same in every epoch
        if self.kept is not None:
            self.kept[index] = image
        if isinstance(image, Tensor) and self.augment:
            with torch.random.fork_rng(devices=[]):  # torch.manual_seed would seed every other device as well
                torch.default_generator.manual_seed(
                    int(np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0])
                )
                image = self.augment(image)
        return Sample(image, int(self.labels[index]), self.ids[index].decode()) if isinstance(image, Tensor) else image

    def release(self) -> None:
        """Forget the images in memory."""
        if self.kept:
            self.kept.clear()

    def decode(self, index: int) -> Image.Image:
        """One image, at reduced scale where that leaves enough pixels; ImageError as `read_image`."""
        return read_image(self.images.read(self.ids[index].decode()), at_least=self.at_least)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads that decode, one for each core. Torch's work stays out of them: each would start a team of its own."""
    return ThreadPoolExecutor(usable_cpus(), "decode")


def collate(items: Sequence[Sample | Bad]) -> Batch:
    """Stack the survivors; a batch may be empty."""
    good = [item for item in items if isinstance(item, Sample)]
    images = torch.stack([item.image for item in good]) if good else torch.empty(0, 3, 1, 1, dtype=torch.float32)
    labels = torch.tensor([item.label for item in good], dtype=torch.int64)
    return Batch(images, labels, [item.image_id for item in good], [item for item in items if isinstance(item, Bad)])


class Shift:
    """Random width and height shift by up to `fraction` of the size, edges repeated: torchvision has no such one."""

    def __init__(self, fraction: float = 0.1):
        self.fraction = fraction

    def __call__(self, image: Tensor) -> Tensor:
        """Shift an image (3, H, W)."""
        height, width = image.shape[-2:]
        most = self.fraction * torch.tensor([height, width])
        dy, dx = ((torch.rand(2, dtype=torch.float32) * 2 - 1) * most).round().int().tolist()
        return _moved(_moved(image, dy, 1), dx, 2)


def _moved(image: Tensor, by: int, axis: int) -> Tensor:
    """Image whose place i shows place i + by of another, or its edge; faster than looking every place up."""
    size = image.shape[axis]
    by = max(-size, min(size, by))
    edge = image.narrow(axis, size - 1 if by > 0 else 0, 1)
    kept = image.narrow(axis, max(by, 0), size - abs(by))
    edges = edge.expand(*(abs(by) if i == axis else -1 for i in range(image.dim())))
    return torch.cat([kept, edges] if by > 0 else [edges, kept], axis)


class CentreSquare:
    """The largest centred square of a PIL image: no squashing."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Crop."""
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return image.crop((left, top, left + side, top + side))


def eval_transform(size: int, mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """Centre square, resize to `size`, normalise."""
    resize = v2.Resize((size, size), v2.InterpolationMode.BICUBIC, antialias=True)
    return v2.Compose(
        [CentreSquare(), v2.PILToTensor(), resize, v2.ToDtype(torch.float32, True), v2.Normalize(mean, std, True)]
    )


def train_transform(size: int, mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """`eval_transform` with a horizontal flip and a width and height shift of up to 10 %, as in the paper."""
    square, tensor, resize, scale, normalise = eval_transform(size, mean, std).transforms
    return v2.Compose([square, tensor, resize, v2.RandomHorizontalFlip(), Shift(), scale, normalise])
