"""Batches in an order that follows from (seed, epoch), a few TARs at a time; bad images set apart."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from landmark.data.archives import open_images
from landmark.data.dataset import Bad, Samples, collate
from landmark.utils import distributed
from landmark.utils.device import device
from landmark.utils.errors import InputError
from landmark.utils.process import settle_sockets

_log = logging.getLogger(__name__)


class _Share:
    """This rank's share of every batch of a sampler: with N ranks each N-th image."""

    def __init__(self, sampler: EpochSampler):
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return (batch[distributed.rank() :: distributed.size()] for batch in self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


def _leave_signals(worker: int) -> None:
    """Ignore Ctrl-C, which a terminal sends to workers as well: the main process decides when they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_loader(
    dataset: Samples,
    batch_size: int,
    *,
    shuffle: bool = False,
    workers: int | None = None,
    seed: int = 0,
    epochs: range = range(1),
    skip: int = 0,
    shared: bool = False,
) -> DataLoader:
    """Make a loader of some passes over a dataset: batches that are the same for any number of workers.

    Args:
        dataset: a `LandmarkDataset` or its `FrozenMaps`.
        batch_size: images in a batch of this process.
        shuffle: in an order that depends on (seed, epoch) only.
        workers: processes that decode; they start once for all epochs. With 0, threads decode a batch when it is
            asked for. None: 2 beside a GPU, else 0, for processes would take a CPU's cores from the network.
        seed: of the order.
        epochs: passes, which decide order and augmentation.
        skip: batches that an earlier run has had (resuming).
        shared: the ranks of `distributed.group` divide the images among them: a batch of all of them together has
            `batch_size` times as many images as there are ranks.
    """
    if not len(dataset):
        raise InputError(f"0 images to load from {dataset.root}/{dataset.split}")
    together = batch_size * distributed.size() if shared else batch_size
    sampler = EpochSampler(len(dataset), together, shuffle, seed, epochs, skip, dataset.shards if shuffle else None)
    return load_batches(dataset, _Share(sampler) if shared else sampler, workers)


def load_batches(dataset: Dataset, batches: Iterable[list[tuple[int, int]]], workers: int | None = None) -> DataLoader:
    """Make a loader over given batches of keys.

    Args:
        dataset: gives a `Sample` or a `Bad` for (epoch, index).
        batches: the keys of each.
        workers: as for `make_loader`.

    Raises:
        InputError: fewer than 0 workers.
    """
    if workers is None:
        workers = 0 if device().type == "cpu" else 2
    if workers < 0:
        raise InputError(f"{workers} workers: give 0 or more")
    if workers:
        settle_sockets()
    return DataLoader(
        dataset, batch_sampler=batches, collate_fn=collate, num_workers=workers, timeout=300 if workers else 0,
        worker_init_fn=_leave_signals, pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each pass draws a number from the caller's
    )  # fmt: skip


def choose_bad_limit(asked: int | None, images: int) -> int:
    """Choose how many bad images a run may meet: as many as asked, else 10 or one in a hundred, whichever is more.

    >>> choose_bad_limit(None, 500), choose_bad_limit(None, 5000), choose_bad_limit(0, 5000)
    (10, 50, 0)
    """
    return max(10, images // 100) if asked is None else asked


class Quarantine:
    """Bad images, counted once each; more than `limit` fail the run.

    >>> room = Quarantine(limit=1)
    >>> room.add([Bad("a", "empty file"), Bad("a", "empty file")])
    >>> len(room.reasons)
    1
    """

    def __init__(self, limit: int = 0):
        self.limit = limit
        self.reasons: dict[str, str] = {}

    def add(self, bad: Iterable[Bad]) -> None:
        """Take bad images in; InputError over the limit."""
        self.reasons.update({item.image_id: item.reason for item in bad})
        if len(self.reasons) > self.limit:
            first = "; ".join(f"{image_id}: {reason}" for image_id, reason in list(self.reasons.items())[:3])
            raise InputError(
                f"{len(self.reasons)} bad images, limit {self.limit}: {first}: repair them or raise --bad-limit"
            )


def check_coverage(table: pd.DataFrame, root: str | Path, split: str, limit: int) -> list[Bad]:
    """List the rows of a table that have no image, neither a file nor in a TAR; log how many there are.

    Raises:
        InputError: more than `limit`; counts and examples, and a hint when the images lie under another split.
    """
    ids = table["id"].tolist()
    absent = [ids[i] for i in np.flatnonzero(open_images(root, split).shards(ids) < 0)]
    fault = f"{root}: {len(absent)} of {len(table)} rows of {split} have no image"
    if len(absent) > limit:
        others = {"train", "test", "index"} - {split}
        moved = [name for name in sorted(others) if (open_images(root, name).shards(absent[:50]) >= 0).any()]
        hint = f"; some lie under {moved[0]}/: were the splits mixed up?" if moved else ""
        raise InputError(f"{fault} (limit {limit}), such as {', '.join(absent[:3])}{hint}")
    if absent and distributed.rank() == 0:
        _log.warning("%s, such as %s: going on without them", fault, ", ".join(absent[:3]))
    return [Bad(image_id, "no such file") for image_id in absent]


WINDOW = 16  # shards that are read from at a time


def shuffled(shards: np.ndarray, seed: int, epoch: int, window: int = WINDOW) -> np.ndarray:
    """Draw a random order of N images that reads about `window` shards at any time.

    The shards get random ranks r = 0…S-1, each image the key (r + w·u) mod S with u uniform in [0, 1) and
    w = min(window, S); images are sorted by key. A shard is thus spread over w/S of the epoch, the same share at its
    start and end as in the middle, and with S ≤ window every order is equally likely.

    Args:
        shards: (N,) a number for the file that holds each image, see `ImageStore.shards`.
        seed: of the run.
        epoch: number of the pass.
        window: shards in play at any time.

    Returns:
        (N,) int64, a permutation of 0…N-1.

    >>> order = shuffled(np.repeat(np.arange(100), 10), seed=0, epoch=0, window=4)
    >>> bool((np.sort(order) == np.arange(1000)).all()), len(np.unique(order[:100] // 10)) < 30
    (True, True)
    """
    random = np.random.default_rng((seed, epoch))
    names, inverse = np.unique(shards, return_inverse=True)
    if len(names) < 2:
        return random.permutation(len(shards))
    rank = random.permutation(len(names))
    key = (rank[inverse] + min(window, len(names)) * random.random(len(shards))) % len(names)
    return key.argsort(kind="stable")


def mixing(order: np.ndarray, shards: np.ndarray, batch: int) -> dict[str, float]:
    """Measure how close an order is to a uniform one: each number is about 1 for that.

    Args:
        order: (N,) a permutation.
        shards: (N,) the shard of each image.
        batch: images in a batch; a last one that is not full is left out.

    Returns:
        `distinct`: different shards in a batch, over the number expected of a uniform order.
        `together`: how many times likelier than in a uniform order two images of a batch share a shard.
        `spread`: the share of the epoch that a shard lasts: the standard deviation of its positions in the order,
            over that of a uniform order; the median of the shards.

    >>> mixing(np.arange(8), np.repeat([0, 1], 4), batch=4)["together"].__round__(3)
    2.333
    """
    names, inverse, sizes = np.unique(shards, return_inverse=True, return_counts=True)
    count, batch = len(order), min(batch, len(order))
    sequence = inverse[order]  # (N,)
    batches = count // batch
    key = np.arange(batches).repeat(batch) * len(names) + sequence[: batches * batch]
    held = np.unique(key, return_counts=True)[1]  # images of one shard in one batch, where there are any
    absent = sum(_chance_absent(count, int(size), batch) for size in sizes)
    alike = (sizes * (sizes - 1)).sum() / max(1, count * (count - 1))
    observed = (held * (held - 1)).sum() / max(1, batches * batch * (batch - 1))
    place = np.arange(count)
    mean = np.bincount(sequence, place) / sizes
    deviation = np.sqrt(np.bincount(sequence, (place - mean[sequence]) ** 2) / sizes)  # (S,)
    several = sizes > 1
    spread = deviation[several] * np.sqrt(12 * sizes[several] / (sizes[several] - 1)) / count
    return {
        "distinct": float(len(held) / batches / (len(names) - absent)),
        "together": float(observed / alike) if alike else 1.0,
        "spread": float(np.median(spread)) if len(spread) else 1.0,
    }


def _chance_absent(count: int, size: int, batch: int) -> float:
    """Compute the chance that `batch` of `count` images, drawn without putting back, miss all `size` of a shard."""
    if size + batch > count:
        return 0.0
    terms = (count - size, count - batch), (count, count - size - batch)
    return math.exp(sum(math.lgamma(a + 1) for a in terms[0]) - sum(math.lgamma(a + 1) for a in terms[1]))


class EpochSampler:
    """Batches of (epoch, index) of some epochs, each epoch's order a pure function of (seed, epoch).

    The order is made when an epoch begins and dropped when it ends. `skip` leaves out the first batches. A last batch
    of one image joins the one before when shuffling: BatchNorm cannot learn from a single image.

    Args:
        count: images.
        batch_size: images in a batch.
        shuffle: in a random order, else as they come.
        seed: of the order.
        epochs: passes.
        skip: batches that an earlier run has had (resuming).
        shards: (count,) the file of each image, for an order that reads few of them at a time; None for all in one.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        shuffle: bool,
        seed: int,
        epochs: range,
        skip: int = 0,
        shards: np.ndarray | None = None,
    ):
        self.count, self.batch_size, self.shuffle = count, batch_size, shuffle
        self.seed, self.epochs, self.skip = seed, epochs, skip
        self.shards = np.zeros(count, np.int8) if shards is None else shards
        self.per_epoch = -(-count // batch_size)
        if shuffle and self.per_epoch > 1 and count - (self.per_epoch - 1) * batch_size == 1:
            self.per_epoch -= 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        skip = self.skip
        for epoch in self.epochs:
            if skip >= self.per_epoch:
                skip -= self.per_epoch
                continue
            order = shuffled(self.shards, self.seed, epoch) if self.shuffle else np.arange(self.count)
            for number in range(skip, self.per_epoch):
                start = number * self.batch_size
                stop = self.count if number == self.per_epoch - 1 else start + self.batch_size
                yield [(epoch, index) for index in order[start:stop].tolist()]
            skip = 0

    def __len__(self) -> int:
        return max(0, self.per_epoch * len(self.epochs) - self.skip)
