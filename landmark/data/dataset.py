"""A GLDv2 folder as tables, labels and batches."""

from __future__ import annotations

import functools
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torchvision.transforms import v2

from landmark import distributed, tables
from landmark.archives import open_images
from landmark.images import ImageError, read_image
from landmark.process import settle_sockets, usable_cpus
from landmark.runtime import InputError, atomic_path, device
from landmark.sampling import EpochSampler
from landmark.splits import Split, split_dev  # noqa: F401  (public names of this room)


class GoogleLandmarks:
    """A folder in the Google Landmarks v2 layout; tables are read when first asked for.

    Attributes: `root`, `train`, `test`, `solution`, `categories` (DataFrames, see `tables`).
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder: give one with train.csv and train/a/b/c/<id>.jpg")

    @cached_property
    def train(self) -> pd.DataFrame:
        """Rows of train.csv."""
        return tables.read_train(self.root / "train.csv")

    def labelled(self, min_images: int = 1, clean: bool = False) -> pd.DataFrame:
        """Rows (id, landmark_id) of the landmarks with at least `min_images` images, of the cleaned list if `clean`.

        Raises:
            InputError: nothing is left, or a table cannot be trusted.
        """
        listed = self.root / "train_clean.csv" if clean else None
        return tables.read_train(
            self.root / "train.csv", min_images=min_images, clean=listed, columns=("id", "landmark_id")
        )

    @cached_property
    def test(self) -> pd.DataFrame:
        """Rows of test.csv."""
        return tables.read_test(self.root / "test.csv")

    @cached_property
    def solution(self) -> pd.DataFrame:
        """Rows of recognition_solution_v2.1.csv."""
        return tables.read_solution(self.root / "recognition_solution_v2.1.csv")

    @cached_property
    def categories(self) -> pd.DataFrame:
        """Rows of train_label_to_category.csv."""
        return tables.read_categories(self.root / "train_label_to_category.csv")


class LabelMap:
    """landmark_id ↔ class_index 0..K-1, in ascending order of landmark_id.

    >>> labels = LabelMap([30, 10, 30])
    >>> len(labels), labels.to_index(30), labels.to_landmark(0)
    (2, 1, 10)
    """

    def __init__(self, landmark_ids: Iterable[int]):
        self.landmark_ids = sorted({int(landmark_id) for landmark_id in landmark_ids})
        self._index = {landmark_id: index for index, landmark_id in enumerate(self.landmark_ids)}

    def __len__(self) -> int:
        return len(self.landmark_ids)

    def __contains__(self, landmark_id: int) -> bool:
        return landmark_id in self._index

    def to_index(self, landmark_id: int) -> int:
        """Class index of a landmark, -1 when it is not in the label set."""
        return self._index.get(int(landmark_id), -1)

    def to_landmark(self, class_index: int) -> int:
        """landmark_id of a class."""
        return self.landmark_ids[class_index]

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        with atomic_path(path) as part:
            part.write_text(json.dumps({"landmark_ids": self.landmark_ids}) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> LabelMap:
        """Read what `save` wrote; InputError when the file is missing or is something else."""
        try:
            landmark_ids = json.loads(Path(path).read_text())["landmark_ids"]
            return cls(landmark_ids)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a label map ({type(error).__name__}: {error})") from None

    def check_same(self, other: LabelMap) -> None:
        """Refuse two label sets that differ, with the first differences."""
        ours, theirs = set(self.landmark_ids), set(other.landmark_ids)
        if ours != theirs:
            raise InputError(
                f"the label sets differ: {len(ours)} and {len(theirs)} landmarks; only in the first: "
                f"{sorted(ours - theirs)[:5]}, only in the second: {sorted(theirs - ours)[:5]}"
            )


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


class _Share:
    """Of every batch of a sampler this rank's share: with N ranks each N-th image."""

    def __init__(self, sampler: EpochSampler):
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return (batch[distributed.rank() :: distributed.size()] for batch in self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


def _leave_signals(worker: int) -> None:
    """A terminal sends Ctrl-C to workers as well: the main process decides when they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_loader(
    dataset: LandmarkDataset,
    batch_size: int,
    *,
    shuffle: bool = False,
    workers: int | None = None,
    seed: int = 0,
    epochs: range = range(1),
    skip: int = 0,
    shared: bool = False,
) -> DataLoader:
    """Batches of some passes over a dataset, the same for any number of workers.

    Args:
        dataset: a `LandmarkDataset` or its `Views`.
        batch_size: images in a batch of this process.
        shuffle: in an order that depends on (seed, epoch) only.
        workers: processes that decode; they start once for all epochs. With 0, threads decode a batch when it is
            asked for. None: 2 beside a GPU, else 0, for processes would take a CPU's cores from the network.
        seed: of the order.
        epochs: passes, which decide order and augmentation.
        skip: batches already seen (resuming).
        shared: the ranks of `distributed.group` divide the images among them: a batch of all of them together has
            `batch_size` times as many images as there are ranks.
    """
    if not len(dataset):
        raise InputError(f"0 images to load from {dataset.root}/{dataset.split}")
    together = batch_size * distributed.size() if shared else batch_size
    sampler = EpochSampler(len(dataset), together, shuffle, seed, epochs, skip, dataset.shards if shuffle else None)
    return loader_of(dataset, _Share(sampler) if shared else sampler, workers)


def loader_of(dataset: Dataset, batches: Iterable[list[tuple[int, int]]], workers: int | None = None) -> DataLoader:
    """Chosen batches.

    Args:
        dataset: gives a `Sample` or a `Bad` for (epoch, index).
        batches: the keys of each.
        workers: as for `make_loader`.
    """
    if workers is None:
        workers = 0 if device().type == "cpu" else 2
    if workers:
        settle_sockets()
    return DataLoader(
        dataset, batch_sampler=batches, collate_fn=collate, num_workers=workers, timeout=300 if workers else 0,
        worker_init_fn=_leave_signals, pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each pass draws a number from the caller's
    )  # fmt: skip


class Quarantine:
    """Bad images, counted once each; more than `limit` fail the run.

    >>> room = Quarantine(limit=1)
    >>> room.add([Bad("a", "empty file"), Bad("a", "empty file")])
    >>> len(room.reasons)
    1
    """

    def __init__(self, limit: int = 0):
        self.limit, self.reasons = limit, {}

    def add(self, bad: Iterable[Bad]) -> None:
        """Take bad images in; InputError over the limit."""
        self.reasons.update({item.image_id: item.reason for item in bad})
        if len(self.reasons) > self.limit:
            first = "; ".join(f"{image_id}: {reason}" for image_id, reason in list(self.reasons.items())[:3])
            raise InputError(
                f"{len(self.reasons)} bad images, limit {self.limit}: {first}: repair them or raise --bad-limit"
            )


def check_coverage(table: pd.DataFrame, root: str | Path, split: str, limit: int) -> list[Bad]:
    """The rows of a table that have no image, neither a file nor in a TAR; says how many there are.

    Raises:
        InputError: more than `limit`; counts and examples, and a hint when the images lie under another split.
    """
    ids = table["id"].tolist()
    absent = [ids[i] for i in np.flatnonzero(open_images(root, split).shards(ids) < 0)]
    told = f"{root}: {len(absent)} of {len(table)} rows of {split} have no image"
    if len(absent) > limit:
        others = {"train", "test", "index"} - {split}
        moved = [name for name in sorted(others) if (open_images(root, name).shards(absent[:50]) >= 0).any()]
        hint = f"; some lie under {moved[0]}/: were the splits mixed up?" if moved else ""
        raise InputError(f"{told} (limit {limit}), such as {', '.join(absent[:3])}{hint}")
    if absent and distributed.rank() == 0:
        print(f"{told}, such as {', '.join(absent[:3])}: going on without them", file=sys.stderr)
    return [Bad(image_id, "no such file") for image_id in absent]
