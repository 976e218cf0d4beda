"""Files with the maps of some images each: written whole, never changed, and believed only as far as they check."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path

PIECE = 32  # images in a file
_OPEN = 128  # files that a process holds open


class Entry(NamedTuple):
    """One map in a file: whose it is, and the checksum of its bytes."""

    image_id: str
    version: str
    crc: int


class Pieces:
    """The files of a folder, `<view>-<hash of what is in it>.safetensors`.

    Args:
        folder: where they lie, or will.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._slices = functools.lru_cache(_OPEN)(self._slice)

    def __reduce__(self) -> tuple:
        """Let another process open the files itself."""
        return Pieces, (self.folder,)

    def save(self, view: int, images: Sequence[tuple[str, str]], maps: Tensor) -> None:
        """Write a file, whole or not at all.

        Args:
            view: of the images.
            images: B pairs of id and version.
            maps: (B, C, H, W) of the images.

        Raises:
            WriteError: a full disk, say.
        """
        name = hashlib.sha256(json.dumps(images).encode()).hexdigest()[:16]
        entries = [(*image, _crc(whole)) for image, whole in zip(images, maps, strict=True)]
        with atomic_path(self.folder / f"{view:03}-{name}.safetensors") as part:
            save_file({"maps": maps.contiguous()}, part, {"images": json.dumps(entries)})

    def listed(self, view: int | None = None) -> Iterator[tuple[Path, list[Entry]]]:
        """List the files of one view, or of all, and what is in each; damaged ones are left out."""
        for path in sorted(self.folder.glob("*-*.safetensors" if view is None else f"{view:03}-*.safetensors")):
            with contextlib.suppress(OSError):
                if entries := _entries(path):
                    yield path, entries

    def sweep(self) -> None:
        """Delete what a killed process has left half-written, and damaged files, while nobody writes."""
        for path in [*self.folder.glob(".*.safetensors.*.part"), *self.folder.glob("*-*.safetensors")]:
            with contextlib.suppress(OSError):
                if not _entries(path):
                    path.unlink()

    def read(self, path: Path, row: int, crc: int | None = None) -> Tensor:
        """Read one map (C, H, W).

        Args:
            path: of its file.
            row: in it.
            crc: the checksum that it must have, if there is one to compare.

        Raises:
            InputError: it is damaged or gone; says what to do.
        """
        try:
            found = self._slices(path)[row]
            if crc is not None and _crc(found) != crc:
                raise ValueError("its checksum differs")
            return found
        except (OSError, SafetensorError, ValueError) as error:
            why = str(error).splitlines()[0][:120]
            raise InputError(f"{path}: damaged ({why}): delete it, then the same command makes it again") from None

    def _slice(self, path: Path) -> Any:
        return safe_open(path, framework="pt").__enter__().get_slice("maps")


def _entries(path: Path) -> list[Entry]:
    """What is in a file; nothing when it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:  # which compares the length, too
            entries = [Entry(*entry) for entry in json.loads(file.metadata()["images"])]
            return entries if len(entries) == file.get_slice("maps").get_shape()[0] else []
    except (SafetensorError, KeyError, TypeError, ValueError):
        return []


def _crc(maps: Tensor) -> int:
    return zlib.crc32(maps.contiguous().reshape(-1).view(torch.uint8).numpy().data)
