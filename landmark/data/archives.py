"""Images of one split of a GLDv2 folder, from a folder tree, from TARs that are never unpacked, or from both."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from landmark.data.csv.strict import is_image_id
from landmark.data.images import image_path
from landmark.data.tar_index import LONG_END, MEMBER, tar_index
from landmark.utils.errors import ArchiveError, ImageError, file_errors
from landmark.utils.files import CacheFile, stamp

MAX_BYTES = 1 << 28  # of one image file: nothing larger is read into memory
_OPEN = 64  # TARs a process holds open: more than a shuffling window of them


class ImageStore:
    """Images of one split by id, the same from `root/split/a/b/c/<id>.jpg`, from `root/split/*.tar` or from both.

    A loose file wins over a TAR member. Each TAR is walked once; its index is stored and bound to its size and times.
    Members are read by offset and nothing is unpacked, so links, devices and paths that lead outside do no harm.
    Any number of threads and processes, forked or spawned, may read.

    Args:
        root: GLDv2 folder.
        split: "train", "test" or "index".
        progress: show a bar when TARs have to be walked.
        salvage: go on without what cannot be used of the TARs, and list it in `faults`.

    Attributes:
        tars: the TARs in use, sorted by name.
        skipped: members of the TARs that are no images, counted by reason.
        faults: what an error would have said, a line for each.
        notes: TARs with more zeros at their end than usual.

    Raises:
        ArchiveError: a TAR that is cut, damaged or compressed, or an id that is found in two places.
    """

    @file_errors()
    def __init__(self, root: str | Path, split: str, progress: bool = True, salvage: bool = False):
        self.root, self.split, self.salvage = Path(root), split, salvage
        self.faults: list[str] = []
        self.notes: list[str] = []
        folder = self.root / split
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        self.tars = [folder / name for name in names if _is_tar(folder / name)]
        self._loose = any(len(name) == 1 and (folder / name).is_dir() for name in names)
        self._loose_junk = 0
        caches = [CacheFile(root, f"{split}/{tar.name}.npz") for tar in self.tars]
        self.skipped: Counter = Counter()
        self._stamps: list = []
        self._descriptor = functools.lru_cache(_OPEN)(_Descriptor)
        self._ids = np.empty(0, "S1")  # (N,) ids in the TARs, sorted at last, each as wide as the longest
        self._shards = np.empty(0, np.int16)  # (N,)
        self._offsets, self._sizes = np.empty(0, np.int64), np.empty(0, np.int64)  # (N,), (N,)
        with ThreadPoolExecutor(8) as pool:
            walked = pool.map(tar_index, self.tars, caches, itertools.repeat(salvage))
            bar = tqdm(walked, f"index {split}", len(self.tars), unit="tar", delay=1, disable=not progress)
            for tar, index in zip(self.tars, bar, strict=True):
                self.faults += [index.fault] if index.fault else []
                if index.zeros > LONG_END:
                    self.notes.append(f"{tar}: {index.zeros} zeros at its end: padding, or a download that stopped")
                self._ids = _grown(self._ids, index.ids)
                self._shards = _grown(self._shards, np.full(len(index.ids), len(self._stamps), np.int16))
                self._offsets, self._sizes = _grown(self._offsets, index.offsets), _grown(self._sizes, index.sizes)
                self.skipped += index.skipped
                self._stamps.append(index.stamp)
        order = self._ids.argsort(kind="stable")
        self._ids = self._ids[order]  # one column at a time: only one of them is in memory twice
        self._shards = self._shards[order]
        self._offsets = self._offsets[order]
        self._sizes = self._sizes[order]
        self._check_unique()

    def _check_unique(self) -> None:
        again = np.flatnonzero(self._ids[1:] == self._ids[:-1])
        if len(again):
            first, second = (self.tars[shard] for shard in self._shards[again[0] : again[0] + 2])
            places = f"twice in {first}" if first == second else f"in {first} and in {second}"
            image_id = self._ids[again[0]].decode()
            fault = f"image {image_id} is {places} ({len(again)} such ids): remove or fetch one of them again"
            if not self.salvage:
                raise ArchiveError(fault)
            self.faults.append(fault)
            first = np.delete(np.arange(len(self._ids)), again + 1)
            self._ids, self._shards = self._ids[first], self._shards[first]
            self._offsets, self._sizes = self._offsets[first], self._sizes[first]

    def __reduce__(self) -> tuple:
        """Let another process open the stored indices itself: no descriptor and no table travels."""
        return ImageStore, (self.root, self.split, False, self.salvage)

    def read(self, image_id: str) -> bytes:
        """Read the bytes of one image file.

        Raises:
            ImageError: no such image, or one that cannot be read.
            ArchiveError: its TAR has changed or gone since it was indexed; an ImageError where the rest is salvaged.
        """
        try:
            return self._read(image_id)
        except ArchiveError as error:
            if not self.salvage:
                raise
            if str(error) not in self.faults:
                self.faults.append(str(error))
            raise ImageError(image_path(self.root, self.split, image_id), "its TAR has changed or gone") from None

    def _read(self, image_id: str) -> bytes:
        if not is_image_id(image_id):
            raise ImageError(repr(image_id), "not an image id")
        path = image_path(self.root, self.split, image_id)
        if self._loose:
            try:
                with path.open("rb") as file:
                    _check_size(path, os.fstat(file.fileno()).st_size)
                    return file.read()
            except FileNotFoundError:
                pass
            except OSError as error:
                raise ImageError(path, f"cannot be read ({error.strerror})") from None
        place = self._place(image_id)
        if place < 0:
            raise ImageError(path, "no such file")
        shard, size = int(self._shards[place]), int(self._sizes[place])
        tar = self.tars[shard]
        member = f"{tar}:{'/'.join(image_id[:3])}/{image_id}.jpg"
        _check_size(member, size)
        try:
            # pread moves no file position, so threads and forked processes may share a descriptor
            held = self._descriptor(tar, self._stamps[shard])
            data = os.pread(held.number, size, int(self._offsets[place]))
        except OSError as error:
            raise ImageError(member, f"cannot be read ({error.strerror})") from None
        if len(data) != size:
            raise _changed(tar)
        return data

    def __contains__(self, image_id: str) -> bool:
        if not is_image_id(image_id):
            return False
        loose = self._loose and image_path(self.root, self.split, image_id).is_file()
        return loose or self._place(image_id) >= 0

    def _place(self, image_id: str) -> int:
        """Find the row of an id in the table of TAR members, or -1."""
        return int(_positions(self._ids, np.array([image_id.encode()]))[0])

    def ids(self) -> list[str]:
        """List the ids of all images, sorted."""
        return [name.decode() for name in np.union1d(self._walk_loose(), self._ids)]

    @property
    def junk(self) -> int:
        """Files that are no images: members of the TARs, and loose files once `ids` has walked the tree."""
        return self.skipped.total() + self._loose_junk

    def shards(self, ids: Sequence[str]) -> np.ndarray:
        """Say where each image lies: -1 missing, 0 a loose file, n the n-th TAR in the order of their names.

        Args:
            ids: N image ids.

        Returns:
            (N,) int32.
        """
        names = np.asarray(ids, "S") if len(ids) else np.empty(0, "S1")
        places = _positions(self._ids, names)
        shards = np.full(len(names), -1, np.int32)
        shards[places >= 0] = self._shards[places[places >= 0]] + 1
        if self._loose:
            shards[_positions(self._walk_loose(), names) >= 0] = 0
        return shards

    def sizes(self, ids: np.ndarray) -> np.ndarray:
        """Look up the bytes (N,) of each image file by its id, (N,) bytes; -1 where there is none."""
        places, sizes = _positions(self._ids, ids), np.full(len(ids), -1, np.int64)
        sizes[places >= 0] = self._sizes[places[places >= 0]]
        for row, image_id in enumerate(ids.astype(str).tolist() if self._loose else ()):
            with contextlib.suppress(OSError):
                sizes[row] = image_path(self.root, self.split, image_id).stat().st_size
        return sizes

    def fingerprint(self, ids: Sequence[str]) -> str:
        """Hash the ids and the stamps of the file or TAR of each: what is stored about images is bound to it."""
        places = _positions(self._ids, np.asarray(ids, "S") if len(ids) else np.empty(0, "S1"))
        digest = hashlib.sha256()
        for image_id, place in zip(ids, places.tolist(), strict=True):
            version = None if place < 0 else self._stamps[self._shards[place]]
            if self._loose:
                with contextlib.suppress(OSError):
                    version = stamp(image_path(self.root, self.split, image_id).stat())
            digest.update(f"{image_id} {version}\n".encode())
        return digest.hexdigest()

    def reading_order(self) -> np.ndarray:
        """List all ids in the order that reads the disk from front to back: loose files by id, then TAR after TAR.

        Returns:
            (N,) bytes.
        """
        loose = self._walk_loose()
        inside = self._ids[np.lexsort((self._offsets, self._shards))]
        return np.concatenate([loose, inside[_positions(loose, inside) < 0]])

    def _walk_loose(self) -> np.ndarray:
        """List the ids (N,) of the files at their place in the tree, sorted; count the others."""
        ids, junk = [np.empty(0, "S1")], 0
        for folder, folders, files in os.walk(self.root / self.split, followlinks=True):
            place = Path(folder).relative_to(self.root / self.split).as_posix()
            if place.count("/") >= 2:  # a/b/c holds images; nothing lies deeper, and a link may lead in a circle
                folders.clear()
            matches = [MEMBER.fullmatch(f"{place}/{name}") for name in files]
            names = [match[4].encode() for match in matches if match]
            tars = sum(name.endswith(".tar") for name in files) if place == "." else 0
            junk += len(files) - len(names) - tars
            if names:
                ids.append(np.array(names))
        self._loose_junk = junk
        return np.sort(np.concatenate(ids))


@file_errors()
def open_images(root: str | Path, split: str) -> ImageStore:
    """Open an `ImageStore`, or take the last one while TARs and kind of folder are the same: its table is read once."""
    folder = Path(root).resolve() / split
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    tars = tuple((name, *stamp((folder / name).stat())) for name in names if _is_tar(folder / name))
    return _opened(root, split, folder, tars, any(len(name) == 1 for name in names))


@functools.lru_cache(4)
def _opened(root: str | Path, split: str, folder: Path, tars: tuple, loose: bool) -> ImageStore:
    return ImageStore(root, split)


def _is_tar(path: Path) -> bool:
    return path.suffix == ".tar" and not path.name.startswith(".") and path.is_file()


class _Descriptor:
    """A TAR open for reading, closed when the last thread that reads from it lets go."""

    number = -1

    def __init__(self, tar: Path, expected: tuple[int, int, int]):
        try:
            self.number = os.open(tar, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _changed(tar) from None
        if stamp(os.fstat(self.number))[:2] != expected[:2]:  # a change of rights must not end a long run
            raise _changed(tar)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


def _grown(column: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Add rows to a column, in place where it can be: millions of rows must not lie in memory twice."""
    column = column.astype(np.promote_types(column.dtype, values.dtype), copy=False)
    column.resize(len(column) + len(values), refcheck=False)
    column[len(column) - len(values) :] = values
    return column


def _positions(sorted_ids: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Find the position of each name in the sorted ids, -1 where it is not among them.

    >>> _positions(np.array([b"aaa", b"bbb"]), np.array([b"bbb", b"bbbb", b"abc"])).tolist()
    [1, -1, -1]
    """
    if not len(sorted_ids):
        return np.full(len(names), -1)
    cut = names.astype(sorted_ids.dtype)  # else NumPy would widen a copy of all the ids to a longer name
    places = np.searchsorted(sorted_ids, cut).clip(max=len(sorted_ids) - 1)
    return np.where(sorted_ids[places] == names, places, -1)


def _check_size(path: object, size: int) -> None:
    if size > MAX_BYTES:
        raise ImageError(path, f"{size} bytes, limit {MAX_BYTES}")


def _changed(tar: Path) -> ArchiveError:
    return ArchiveError(f"{tar}: changed or gone since it was indexed: start again, its index is then made anew")
