"""A dataset of maps in the place of images: what frozen stages made of them, kept on disk for all epochs and runs."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from landmark.data.dataset import Bad, Batch, LandmarkDataset, Sample, Samples
from landmark.data.loader import Quarantine, load_batches
from landmark.models.frozen import Prefix
from landmark.training.frozen.cache import Shelf, cache_limit, make_room, opened
from landmark.training.frozen.pieces import PIECE, Pieces
from landmark.utils import distributed
from landmark.utils.errors import InputError, WriteError
from landmark.utils.locks import alone

_log = logging.getLogger(__name__)


class FrozenMaps(Samples):
    """A dataset of maps (C, H, W) in place of images: epoch e has those of the images as they were in e mod `views`.

    Maps belong to an image by its id and by the stamp of its file, so any table finds those that another one left.

    Args:
        dataset: of the images, with their number of `views`; one is kept of a dataset with none.
        folder: of the files with the maps; `fill` makes those that are missing.

    Source: features of a frozen network computed once, as in Donahue et al., "DeCAF: a deep convolutional activation
    feature for generic visual recognition", section 3.
    """

    def __init__(self, dataset: LandmarkDataset, folder: str | Path):
        self.dataset, self.pieces, self.count = dataset, Pieces(folder), max(1, dataset.views)
        self.root, self.split = dataset.root, dataset.split
        self.shape: tuple[int, ...] = ()  # of a map, once one is there
        self.bad: dict[str, str] = {}  # id → reason
        self.rows_of: dict[tuple[str, str], list[int]] = {}  # id and version → the rows of this image
        place = f"{os.path.realpath(dataset.root)} {dataset.split}"
        for row, image_id in enumerate(dataset.ids.astype(str).tolist()):
            version = hashlib.sha256(f"{place} {dataset.images.fingerprint([image_id])}".encode()).hexdigest()[:16]
            self.rows_of.setdefault((image_id, version), []).append(row)
        self.files: list[Path] = []
        self.look()

    @property
    def shards(self) -> np.ndarray:
        """Which TAR, or folder, each image is read from."""
        return self.dataset.shards

    def __len__(self) -> int:
        return len(self.dataset)

    def look(self) -> None:
        """Look up which maps are there."""
        self.places = np.full((self.count, len(self)), -1)  # (V, N) number of the file, -1 where there is none
        self.rows = np.zeros((self.count, len(self)), np.uint16)  # (V, N) in it
        self.sums = np.zeros((self.count, len(self)), np.uint32)  # (V, N) checksum
        self.files = []
        for view in range(self.count):
            for path, entries in self.pieces.listed(view):
                for number, (image_id, version, crc) in enumerate(entries):
                    rows = self.rows_of.get((image_id, version), [])
                    self.places[view, rows], self.rows[view, rows] = len(self.files), number
                    self.sums[view, rows] = crc
                self.files.append(path)
        if self.files and not self.shape:
            self.shape = tuple(self.pieces.read(self.files[0], 0).shape)

    def missing(self) -> list[tuple[int, list[int]]]:
        """View and rows of each file that is still to be made, images in the order of their ids."""
        files = []
        for view in range(self.count):
            rows = [rows[0] for _, rows in sorted(self.rows_of.items()) if self.places[view, rows[0]] < 0]
            files += [(view, rows[start : start + PIECE]) for start in range(0, len(rows), PIECE)]
        return files

    def fill(self, maps: Callable[[Tensor], Tensor], workers: int | None = None) -> Iterator[Batch]:
        """Make the maps that are missing, this rank's share of them; yields each batch once they are written.

        Args:
            maps: images (B, 3, S, S) → maps (B, C, H, W), see `frozen.Prefix.maps`.
            workers: as for `make_loader`.

        Raises:
            WriteError: a file cannot be written.
        """
        version_of = dict(list(self.rows_of))
        # One list for all ranks: another may write already while this one looks at the folder
        mine = distributed.gather(self.missing())[0][distributed.rank() :: distributed.size()]
        keys = [[(view, row) for row in rows] for view, rows in mine]
        for (view, _), batch in zip(mine, load_batches(self.dataset, keys, workers), strict=True):
            self.bad |= {item.image_id: item.reason for item in batch.bad}
            if batch.ids:
                self.pieces.save(view, [(i, version_of[i]) for i in batch.ids], maps(batch.images).cpu())
            yield batch
        self.look()

    def complete(
        self, prefix: Prefix, shelf: Shelf, asked: Event, quarantine: Quarantine, workers: int | None, progress: bool
    ) -> str:  # fmt: skip
        """Let frozen stages make all that is missing, in turn with other processes; returns why it could not be.

        Raises:
            InputError: too many bad images, or other ranks' files are not to be seen here.
            KeyboardInterrupt: it was to stop; files that are whole stay.
        """
        if not distributed.gather(self.missing())[0]:
            self.look()  # what this rank looked up before the first one did may lack the last files
            return ""
        with _turn(shelf.path, asked):
            self.look()
            why, missing = "", distributed.gather(self.missing())[0]
            if distributed.rank() == 0:
                self.pieces.sweep()
                why = make_room(shelf, sum(len(rows) for _, rows in missing) * self._bytes(prefix))
            why = distributed.gather(why)[0]
            if why:
                return why
            with tqdm(total=len(missing), unit="image", unit_scale=PIECE, desc="maps", disable=not progress) as bar:
                try:
                    for batch in self.fill(prefix.maps, workers):
                        quarantine.add(batch.bad)
                        bar.update(distributed.size())
                        if asked.is_set():
                            break
                except WriteError as error:
                    why = str(error)
        if distributed.total(asked.is_set())[0]:
            raise KeyboardInterrupt
        others = distributed.gather((why, self.bad))
        for _, bad in others:
            self.bad |= bad
        return next((reason for reason, _ in others if reason), "") or self._unseen()

    def _bytes(self, prefix: Prefix) -> int:
        """Bytes of one map."""
        if self.files:
            return self.pieces.read(self.files[0], 0).nbytes
        size = self.dataset.at_least
        return prefix.maps(torch.zeros(1, 3, size, size, dtype=torch.float32)).nbytes

    def _unseen(self) -> str:
        self.look()
        absent = [row for _, rows in self.missing() for row in rows if self._id(row) not in self.bad]
        return f"{len(absent)} of the maps that other processes made are not to be seen here" if absent else ""

    def _id(self, row: int) -> str:
        return self.dataset.ids[row].decode()

    def __getitem__(self, key: tuple[int, int]) -> Sample | Bad:
        epoch, row = key
        view, image_id = epoch % self.count, self._id(row)
        place = self.places[view, row]
        if place < 0:
            if image_id in self.bad:
                return Bad(image_id, self.bad[image_id])
            raise InputError(f"{self.pieces.folder}: no map of image {image_id}: the same command makes it")
        found = self.pieces.read(self.files[place], int(self.rows[view, row]), int(self.sums[view, row]))
        return Sample(found, int(self.dataset.labels[row]), image_id)


@contextlib.contextmanager
def _turn(folder: Path, asked: Event) -> Iterator[None]:
    """Wait until no other process makes maps in a folder, and keep them waiting meanwhile; of several ranks the first.

    Raises:
        KeyboardInterrupt: it was to stop.
    """
    told = False
    with contextlib.ExitStack() as stack:
        while True:
            busy = False
            if distributed.rank() == 0:
                try:
                    stack.enter_context(alone(folder / ".fill.lock", busy="busy"))
                except WriteError:
                    raise
                except InputError:
                    busy = True
            if not distributed.gather(busy)[0]:  # asked again and again: torch lets nobody wait for hours
                break
            if distributed.total(asked.is_set())[0]:
                raise KeyboardInterrupt
            if busy and not told:
                _log.info("%s: another process makes these maps: waiting for it", folder)
                told = True
            time.sleep(0.2)
        yield


@contextlib.contextmanager
def kept_maps(
    prefix: Prefix, basis: dict, dataset: LandmarkDataset, *, asked: Event | None = None,
    quarantine: Quarantine | None = None, workers: int | None = None, progress: bool = False,
) -> Iterator[FrozenMaps | None]:  # fmt: skip
    """Open the maps of a dataset's images in the cache; those that are missing are made.

    Args:
        prefix: the frozen stages.
        basis: of `basis_of`.
        dataset: of the images.
        asked: set when it is to stop.
        quarantine: takes in the bad images.
        workers: as for `make_loader`.
        progress: show a bar.

    Yields:
        The maps; None when the cache has no room for them or cannot be written, which is logged.

    Raises:
        InputError: too many bad images.
        KeyboardInterrupt: it was to stop.
    """
    basis, kept, why = distributed.gather(basis)[0], None, ""
    if not cache_limit():
        yield None
        return
    with contextlib.ExitStack() as stack:
        shelf = None
        try:
            shelf = stack.enter_context(opened(basis))
        except WriteError as error:
            why = str(error)
        why = next(filter(None, distributed.gather(why)), "")
        if shelf is not None and not why:
            kept = FrozenMaps(dataset, shelf.path)
            room = Quarantine(len(dataset)) if quarantine is None else quarantine
            why = kept.complete(prefix, shelf, asked or Event(), room, workers, progress)
        if why and distributed.rank() == 0:
            _log.warning("maps of %s images are not kept: %s: they are computed each time", len(dataset), why)
        yield None if why else kept
    if shelf is not None and not any(shelf.path.glob("*.safetensors")):
        with contextlib.suppress(WriteError):
            shelf.drop()
