"""A long search that can be stopped: blocks of queries, each stored when it is done. NumPy only."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from landmark.evaluation.neighbours import Neighbours, find_nearest
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path, check_space

BLOCK = 8192  # queries of a file


def search_in_blocks(
    queries: np.ndarray, index: np.ndarray, k: int, folder: str | Path, *, basis: str, block: int = BLOCK
) -> Neighbours:
    """Find the nearest vectors exactly, and store them block by block: whoever is stopped goes on where it was.

    Queries and index may be memory-mapped; in memory are one block of either and the result.

    Args:
        queries: (Q, D).
        index: (N, D), see `find_nearest`.
        k: neighbours.
        folder: for the blocks; those of another basis or another k stay where they are and are not read.
        basis: what names queries and index, such as a hash of the network and of the images.
        block: queries of a file.

    Raises:
        InputError: as of `find_nearest`, or no room on the disk.
    """
    if block < 1:
        raise InputError(f"block={block} queries: give 1 or more")
    queries, index = np.asanyarray(queries), np.asanyarray(index)
    shape = f"{basis} {queries.shape} {index.shape} {k} {block}"
    place = Path(folder) / hashlib.sha256(shape.encode()).hexdigest()[:16]
    starts = range(0, max(len(queries), 1), block)
    files = {start: place / f"{start}.npz" for start in starts}
    place.mkdir(parents=True, exist_ok=True)
    check_space(place, 12 * k * len(queries))
    parts = []
    for start, path in files.items():
        part = _load(path)
        if part is None:
            part = find_nearest(queries[start : start + block], index, k)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, rows=part.rows, similarity=part.similarity)
        parts.append(part)
    rows, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Neighbours(rows, similarity)


def _load(path: Path) -> Neighbours | None:
    """Read a block; a damaged one counts as none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Neighbours(stored["rows"], stored["similarity"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
