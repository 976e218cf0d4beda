"""A GLDv2 folder as tables, labels, splits and batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from landmark import tables
from landmark.images import ImageError, difference_hash, duplicate_pairs, image_path, read_image
from landmark.runtime import InputError, atomic_path


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
class Split:
    """Train and dev rows, disjoint by id and by duplicate hash, and what was kept together or left out."""

    train: pd.DataFrame
    dev: pd.DataFrame
    duplicates: list[tuple[str, str]]  # pairs that a plain random split could have torn apart
    notes: list[str] = field(default_factory=list)


def split_dev(train: pd.DataFrame, root: str | Path, fraction: float = 0.1, seed: int = 0) -> Split:
    """Hold out `fraction` of every landmark's images; near-duplicates (hash distance ≤ 2) stay on one side.

    Images that cannot be read have no hash and go to train, where they are quarantined. A landmark with one group of
    images goes to train whole.

    Args:
        train: id, landmark_id rows.
        root: folder of the images.
        fraction: share of dev, of each landmark, at least one group.
        seed: of the choice.

    Raises:
        InputError: a side would be empty.
    """
    if not 0 < fraction < 1:
        raise InputError(f"dev fraction {fraction}: give a number between 0 and 1")
    hashes = {}
    for image_id in train["id"]:
        try:
            hashes[image_id] = difference_hash(read_image(image_path(root, "train", image_id)))
        except ImageError:
            continue
    group = {image_id: image_id for image_id in train["id"]}

    def leader(image_id: str) -> str:
        while group[image_id] != image_id:
            image_id = group[image_id]
        return image_id

    pairs = list(duplicate_pairs(hashes))
    for a, b in pairs:
        group[leader(b)] = leader(a)
    leaders = train["id"].map(leader)
    landmark_of = dict(zip(leaders, train["landmark_id"], strict=True))
    random, dev, single = np.random.default_rng(seed), set(), 0
    by_landmark = pd.Series(list(landmark_of), dtype=str).groupby(pd.Series(list(landmark_of.values()))).agg(list)
    for candidates in by_landmark:
        candidates = sorted(name for name in candidates if name in hashes)
        if len(candidates) < 2:
            single += 1
            continue
        count = min(max(1, round(fraction * len(candidates))), len(candidates) - 1)
        dev.update(random.choice(candidates, count, replace=False))
    chosen = leaders.isin(dev)
    if chosen.all() or not chosen.any():
        side = "train" if chosen.all() else "dev"
        raise InputError(f"0 images left for {side}: {len(train)} images of {len(by_landmark)} landmarks are too few")
    notes = [f"{single} landmarks with one group of images are in train only"] if single else []
    return Split(train[~chosen].reset_index(drop=True), train[chosen].reset_index(drop=True), pairs, notes)


@dataclass(frozen=True)
class Sample:
    """One image ready for the network: (3, S, S), its class index (-1 when unknown) and its id."""

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

    images: Tensor  # (B, 3, S, S)
    labels: Tensor  # (B,)
    ids: list[str]
    bad: list[Bad]


FIXED = 3  # transforms of the lists below that draw no random numbers: centre square, resize, to uint8


class LandmarkDataset(Dataset):
    """Images of a table. A bad one gives `Bad`, never another image; random numbers depend on (seed, epoch, index).

    Args:
        table: rows with id and, for labels, landmark_id.
        root: GLDv2 folder.
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
        self.kept: dict[int, Tensor | Bad] | None = {} if keep else None
        self.ids = list(table["id"])
        self.labels = [-1] * len(table)
        if label_map is not None and "landmark_id" in table:
            self.labels = [label_map.to_index(value) for value in table["landmark_id"]]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample | Bad:
        epoch, index = key if isinstance(key, tuple) else (self.epoch, key)
        image = self._prepared(index)
        if isinstance(image, Tensor) and self.augment:
            with torch.random.fork_rng(devices=[]):  # torch.manual_seed would seed every other device as well
                torch.default_generator.manual_seed(
                    int(np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0])
                )
                image = self.augment(image)
        return Sample(image, self.labels[index], self.ids[index]) if isinstance(image, Tensor) else image

    def _prepared(self, index: int) -> Tensor | Bad:
        """One image decoded, cut and resized, as (3, S, S) uint8: the part that is the same in every epoch."""
        if self.kept is not None and index in self.kept:
            return self.kept[index]
        image_id = self.ids[index]
        try:
            image: Tensor | Bad = self.prepare(read_image(image_path(self.root, self.split, image_id)))
        except ImageError as error:
            image = Bad(image_id, error.reason)
        if self.kept is not None:
            self.kept[index] = image
        return image


def collate(items: Sequence[Sample | Bad]) -> Batch:
    """Stack the survivors; a batch may be empty."""
    good = [item for item in items if isinstance(item, Sample)]
    images = torch.stack([item.image for item in good]) if good else torch.empty(0, 3, 1, 1)
    labels = torch.tensor([item.label for item in good], dtype=torch.int64)
    return Batch(images, labels, [item.image_id for item in good], [item for item in items if isinstance(item, Bad)])


class Shift:
    """Random width and height shift by up to `fraction` of the size, edges repeated: torchvision has no such one."""

    def __init__(self, fraction: float = 0.1):
        self.fraction = fraction

    def __call__(self, image: Tensor) -> Tensor:
        """Shift an image (3, H, W)."""
        height, width = image.shape[-2:]
        dy, dx = ((torch.rand(2) * 2 - 1) * self.fraction * torch.tensor([height, width])).round().int().tolist()
        rows = (torch.arange(height) + dy).clamp(0, height - 1)
        columns = (torch.arange(width) + dx).clamp(0, width - 1)
        return image[:, rows][:, :, columns]


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
        [CentreSquare(), resize, v2.PILToTensor(), v2.ToDtype(torch.float32, True), v2.Normalize(mean, std)]
    )


def train_transform(size: int, mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """`eval_transform` with a horizontal flip and a width and height shift of up to 10 %, as in the paper."""
    square, resize, tensor, scale, normalise = eval_transform(size, mean, std).transforms
    return v2.Compose([square, resize, tensor, v2.RandomHorizontalFlip(), Shift(), scale, normalise])


class EpochSampler:
    """Batches of (epoch, index) of some epochs, each epoch's order a pure function of (seed, epoch).

    `skip` leaves out the first batches. A last batch of one image joins the one before when shuffling: BatchNorm
    cannot learn from a single image.
    """

    def __init__(self, count: int, batch_size: int, shuffle: bool, seed: int, epochs: range, skip: int = 0):
        self.batches: list[list[tuple[int, int]]] = []
        for epoch in epochs:
            order = np.random.default_rng((seed, epoch)).permutation(count) if shuffle else np.arange(count)
            batches = [order[i : i + batch_size].tolist() for i in range(0, count, batch_size)]
            if shuffle and len(batches) > 1 and len(batches[-1]) == 1:
                batches[-2] += batches.pop()
            self.batches += [[(epoch, index) for index in batch] for batch in batches]
        self.batches = self.batches[skip:]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def make_loader(
    dataset: LandmarkDataset,
    batch_size: int,
    *,
    shuffle: bool = False,
    workers: int = 0,
    seed: int = 0,
    epochs: range = range(1),
    skip: int = 0,
) -> DataLoader:
    """Batches of some passes over a dataset, the same for any number of workers.

    Args:
        dataset: a `LandmarkDataset`.
        batch_size: images in a batch.
        shuffle: in an order that depends on (seed, epoch) only.
        workers: processes that decode; they start once for all epochs.
        seed: of the order.
        epochs: passes, which decide order and augmentation.
        skip: batches already seen (resuming).
    """
    if not len(dataset):
        raise InputError(f"0 images to load from {dataset.root}/{dataset.split}")
    sampler = EpochSampler(len(dataset), batch_size, shuffle, seed, epochs, skip)
    timeout = 300 if workers else 0
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=collate, num_workers=workers, timeout=timeout)


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


def check_coverage(table: pd.DataFrame, root: str | Path, split: str, limit: int) -> None:
    """Refuse a table of which more than `limit` rows have no image file.

    Raises:
        InputError: counts and examples, and a hint when the images lie under another split.
    """
    absent = [image_id for image_id in table["id"] if not image_path(root, split, image_id).is_file()]
    if len(absent) <= limit:
        return
    others = {"train", "test", "index"} - {split}
    moved = [name for name in sorted(others) if any(image_path(root, name, x).is_file() for x in absent[:50])]
    hint = f"; some lie under {moved[0]}/: were the splits mixed up?" if moved else ""
    raise InputError(
        f"{root}: {len(absent)} of {len(table)} rows of {split} have no image (limit {limit}), "
        f"such as {', '.join(absent[:3])}{hint}"
    )
