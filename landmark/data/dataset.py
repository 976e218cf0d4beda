"""Images of a table, decoded, transformed and stacked; a bad one stands beside the batch, never in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

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

    Or, from `FrozenMaps`, the map (C, H, W) that the frozen stages made of it.
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

    images: Tensor  # (B, 3, S, S), or the maps of `FrozenMaps`
    labels: Tensor  # (B,)
    ids: list[str]
    bad: list[Bad]

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())


class Images(Protocol):
    """Image files by id, such as an `ImageStore`."""

    def read(self, image_id: str) -> bytes:
        """Read the bytes of one; ImageError when it cannot be."""


class Samples(Dataset):
    """Gives a `Sample` or a `Bad` for (epoch, index): of a split of a data folder."""

    root: str | Path
    split: str

    @property
    def shards(self) -> np.ndarray:
        """Which TAR, or folder, each one is read from: (N,)."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


class LandmarkDataset(Samples):
    """Images of a table. A bad one gives `Bad`, never another image; what is drawn depends on (seed, epoch, id).

    Args:
        table: rows with id and, for labels, landmark_id.
        root: GLDv2 folder: loose images, TARs or both.
        split: "train" or "test".
        label_map: gives class indices; without it every label is -1.
        prepare: what is done once to an image: PIL → (3, H, W), its own pixels when left out.
        augment: what is done to that in each epoch anew; nothing when left out.
        seed: of random numbers; set `epoch` before each pass.
        keep: hold the prepared images in memory, so that later passes only augment them.
        images: what reads them, where they do not lie as in GLDv2.
        views: epoch e sees each image as it was in epoch e mod `views`; as new in every epoch with 0.

    `*eval_transform(…)` and `*train_transform(…)` are such pairs of `prepare` and `augment`. In pairs of your own
    torch's random numbers may be drawn in either: in `prepare` they depend on (seed, id), in `augment` on the epoch,
    too. An image looks the same wherever it stands in whatever table.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        root: str | Path,
        split: str = "train",
        label_map: LabelMap | None = None,
        prepare: Callable[[Image.Image], Tensor] | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
        keep: bool = False,
        images: Images | None = None,
        views: int = 0,
    ):
        self.root, self.split, self.seed, self.epoch, self.views = root, split, seed, 0, views
        self.prepare, self.augment = prepare or v2.PILToTensor(), augment
        self.at_least = prepare.size if isinstance(prepare, (CentreSquare, WholePicture)) else 0
        self.prepared: dict[int, Tensor | Bad] | None = {} if keep else None
        self.images: Any = images or open_images(root, split)
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
        if self.prepared is not None and index in self.prepared:
            return self.prepared[index]
        try:
            return self.decode(index)
        except ImageError as error:
            return Bad(self.ids[index].decode(), error.reason)

    def _sample(self, key: int | tuple[int, int], image: Image.Image | Tensor | Bad) -> Sample | Bad:
        epoch, index = key if isinstance(key, tuple) else (self.epoch, key)
        with torch.random.fork_rng(devices=[]):
            if isinstance(image, Image.Image):
                _seed(self.seed, self._number(index))
                image = self.prepare(image).contiguous()  # the same in every epoch
            if self.prepared is not None:
                self.prepared[index] = image
            if isinstance(image, Bad):
                return image
            if self.augment is not None:
                _seed(self.seed, epoch % self.views if self.views else epoch, self._number(index))
                image = self.augment(image)
        return Sample(image, int(self.labels[index]), self.ids[index].decode())

    def _number(self, index: int) -> int:
        """An image's id as a number."""
        return int.from_bytes(self.ids[index], "big")

    def release(self) -> None:
        """Forget the images in memory."""
        if self.prepared:
            self.prepared.clear()

    def decode(self, index: int) -> Image.Image:
        """One image, at reduced scale where that leaves enough pixels; ImageError as `read_image`."""
        return read_image(self.images.read(self.ids[index].decode()), at_least=self.at_least)


def _seed(*numbers: int) -> None:
    """Let torch's random numbers on the CPU follow from some numbers: `torch.manual_seed` would seed every device."""
    torch.default_generator.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


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

    def __repr__(self) -> str:
        return f"Shift({self.fraction})"

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
    rest = image.narrow(axis, max(by, 0), size - abs(by))
    edges = edge.expand(*(abs(by) if i == axis else -1 for i in range(image.dim())))
    return torch.cat([rest, edges] if by > 0 else [edges, rest], axis)


class CentreSquare:
    """The largest centred square of a picture, resized and not squashed: PIL → (3, `size`, `size`) uint8."""

    def __init__(self, size: int):
        self.size = size
        self.scale = v2.Resize((size, size), v2.InterpolationMode.BICUBIC, antialias=True)

    def __repr__(self) -> str:
        return f"CentreSquare({self.scale})"

    def __call__(self, image: Image.Image) -> Tensor:
        """Crop and resize a picture."""
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return self.scale(v2.functional.pil_to_tensor(image.crop((left, top, left + side, top + side))))


class WholePicture:
    """A picture with its shorter side resized to `size`, of a panorama the centred 2 : 1: PIL → (3, H, W) uint8."""

    def __init__(self, size: int):
        self.size = size

    def __repr__(self) -> str:
        return f"WholePicture({self.size})"

    def __call__(self, image: Image.Image) -> Tensor:
        """Resize a picture."""
        short = min(image.size)
        width, height = (min(side, 2 * short) for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        shape = [round(self.size * side / short) for side in (height, width)]
        pixels = v2.functional.pil_to_tensor(image.crop((left, top, left + width, top + height)))
        return v2.functional.resize(pixels, shape, v2.InterpolationMode.BICUBIC, antialias=True)


class Transforms(NamedTuple):
    """How pictures become input of a network, in two parts, see `LandmarkDataset`."""

    prepare: CentreSquare | WholePicture
    augment: v2.Compose

    def __call__(self, image: Image.Image) -> Tensor:
        """Do both to a picture: PIL → (3, H, W)."""
        return self.augment(self.prepare(image))


def eval_transform(size: int, mean: Sequence[float], std: Sequence[float]) -> Transforms:
    """Centre square, resize to `size`; then normalise.

    >>> prepare, augment = eval_transform(8, mean=(0.5,) * 3, std=(0.5,) * 3)
    >>> augment(prepare(Image.new("RGB", (20, 10), "white"))).mean()
    tensor(1.)
    """
    return Transforms(CentreSquare(size), v2.Compose(_normalise(mean, std)))


def whole_transform(size: int, mean: Sequence[float], std: Sequence[float]) -> Transforms:
    """`eval_transform` of the whole picture, see `WholePicture`: (3, H, W), of which the shorter side has `size`."""
    return Transforms(WholePicture(size), v2.Compose(_normalise(mean, std)))


def train_transform(size: int, mean: Sequence[float], std: Sequence[float]) -> Transforms:
    """`eval_transform` with a horizontal flip and a width and height shift of up to 10 %, as in the paper."""
    return Transforms(CentreSquare(size), v2.Compose([v2.RandomHorizontalFlip(), Shift(), *_normalise(mean, std)]))


def _normalise(mean: Sequence[float], std: Sequence[float]) -> list[Callable]:
    return [v2.ToDtype(torch.float32, True), v2.Normalize(mean, std, True)]
