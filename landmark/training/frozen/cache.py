"""The cache of what frozen stages make of images: a folder for each basis, shared by all runs that have that."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from landmark.training.frozen.pieces import Pieces
from landmark.utils.errors import InputError, free_bytes, readable
from landmark.utils.files import claimed, data_root, write_json
from landmark.utils.locks import alone, lock_of

GIGABYTES = 50.0  # that the cache may take, unless `LANDMARK_CACHE_GB` says otherwise
NOTE, USERS = "basis.json", "users"
_log = logging.getLogger(__name__)


def cache_root() -> Path:
    """Find the folder of the cache, in that of the data."""
    return data_root() / "frozen-maps"


def cache_limit() -> float:
    """Bytes that the cache may take: `LANDMARK_CACHE_GB`, else 50 GB; 0 for no cache.

    Raises:
        InputError: it is no number of gigabytes.
    """
    asked = os.environ.get("LANDMARK_CACHE_GB") or str(GIGABYTES)
    with contextlib.suppress(ValueError):
        if (gigabytes := float(asked)) >= 0 and not math.isnan(gigabytes):
            return gigabytes * 1e9
    raise InputError(f"LANDMARK_CACHE_GB={asked}: give a number of gigabytes, such as 20, or 0 for no cache")


@dataclass(frozen=True)
class Shelf:
    """A folder of the cache: the maps that rest on one basis."""

    path: Path

    @property
    def key(self) -> str:
        """Its name, a hash of the basis."""
        return self.path.name

    @cached_property
    def basis(self) -> dict:
        """What its maps rest on; empty when the note of it is gone."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.path / NOTE).read_text(encoding="utf-8")))
        return {}

    @cached_property
    def bytes(self) -> int:
        """Size of its files."""
        return _size(self.path)

    @cached_property
    def used(self) -> float:
        """When it was last opened, in seconds since 1970; 0 when nobody knows."""
        with contextlib.suppress(OSError):
            return (self.path / NOTE).stat().st_mtime
        return 0.0

    def counts(self) -> tuple[int, int]:
        """Count the views and the different images that it has maps of."""
        views, images = set(), set()
        for path, entries in Pieces(self.path).listed():
            views.add(path.name.partition("-")[0])
            images |= {(entry.image_id, entry.version) for entry in entries}
        return len(views), len(images)

    def describe(self) -> str:
        """Say in one line what it holds."""
        views, images = self.counts()
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.used))
        name, stage, size, transform, numbers = (
            self.basis.get(part, "?") for part in ("backbone", "stage", "size", "transform", "arithmetic")
        )
        return (
            f"{self.key}  {name} up to {stage}, {size} px, {transform}, {numbers}: {images} images, "
            f"{views} view{'s' * (views != 1)}, {readable(self.bytes)}, last used {when}"
        )

    def in_use(self) -> bool:
        """Whether a process has it open; what killed ones have left is swept up."""
        for user in (self.path / USERS).glob("*"):
            try:
                with alone(user, busy="in use"):
                    pass
            except InputError:
                return True
        return False

    def drop(self) -> bool:
        """Delete it, unless a process has it open; returns whether it is gone."""
        with alone(lock_of(self.path)):
            if self.in_use():
                return False
            shutil.rmtree(self.path, ignore_errors=True)
            return not self.path.exists()


def shelves() -> list[Shelf]:
    """List what is in the cache, the least recently used first."""
    root = cache_root()
    folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return sorted(map(Shelf, folders), key=lambda shelf: (shelf.used, shelf.key))


@contextlib.contextmanager
def opened(basis: dict) -> Iterator[Shelf]:
    """Open the folder of a basis, made when it is not there yet; nobody drops it meanwhile.

    Raises:
        WriteError: the cache cannot be written.
    """
    key = hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:12]
    shelf = Shelf(cache_root() / key)
    with contextlib.ExitStack() as stack:
        with alone(lock_of(shelf.path)):
            stack.enter_context(alone(shelf.path / USERS / f"{os.getpid()}-{secrets.token_hex(4)}"))
            if claimed(shelf.path / NOTE, basis):
                os.utime(shelf.path / NOTE)
            else:
                write_json(shelf.path / NOTE, basis)
        yield shelf


def make_room(shelf: Shelf, need: int) -> str:
    """Drop what was not used for longest, and nobody has open, until so many bytes fit into the cache.

    Args:
        shelf: that they are for; it stays.
        need: bytes.

    Returns:
        Why they do not fit, "" when they do.
    """
    limit = cache_limit()
    with alone(cache_root() / ".room.lock"):
        others = [other for other in shelves() if other.key != shelf.key]
        total = sum(other.bytes for other in others)
        own = _size(shelf.path)
        for other in [None, *others]:
            if other is not None and own + need <= limit and other.drop():
                total -= other.bytes
                _log.info("%s: dropped from the cache of maps to make room", other.path)
            free = free_bytes(shelf.path)
            if total + own + need <= limit and need <= free:
                return ""
    have = min(max(0, limit - total - own), free)
    return f"they need {readable(need)}, the cache has room for {readable(have)} (LANDMARK_CACHE_GB limits it)"


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat().st_size if entry.is_file() else 0
    return total
