"""Exact nearest neighbours by blocked matrix products. NumPy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from landmark.utils.errors import InputError

QUERIES = 1024  # in a block
VECTORS = 8192  # of the index in a block; the similarities, and what is sorted of them, take some 250 MiB at most
_ROW = np.int64(0xFFFFFFFF)  # rows are numbered in 32 bits


class Neighbours(NamedTuple):
    """The nearest vectors of each query, the nearest first; of two that are as near the one with the lower row."""

    rows: np.ndarray  # (Q, k) int64, of the index; -1 where there are fewer than k
    similarity: np.ndarray  # (Q, k) float32, falling; -inf where there are fewer than k


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (N, D) to length 1, in float32: their products are cosines. A vector of zeros stays as it is.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def find_nearest(queries: np.ndarray, index: np.ndarray, k: int, *, own: np.ndarray | None = None) -> Neighbours:
    """Find the k vectors of an index whose products with a query are largest: argmax_i q · x_i.

    The index may be memory-mapped and in half precision: a block at a time is read and computed with in float32.

    Args:
        queries: (Q, D).
        index: (N, D); of `unit` vectors the products are cosines.
        k: neighbours; those above N have row -1 and similarity -inf.
        own: (Q,) row of the index that each query is itself, left out; -1 where it is none.

    Raises:
        InputError: an empty index, k below 1, vectors of different sizes, or numbers that are not finite.

    >>> find_nearest(np.array([[1.0, 0]]), np.array([[0.0, 1], [1, 1], [1, 0]]), 2).rows.tolist()
    [[1, 2]]
    """
    queries, index = np.asanyarray(queries), np.asanyarray(index)
    if queries.ndim != 2 or index.ndim != 2 or queries.shape[1] != index.shape[1]:
        raise InputError(f"queries {queries.shape} and index {index.shape}: expected (Q, D) and (N, D) of one network")
    if not len(index):
        raise InputError("0 vectors in the index: nothing to search in")
    if k < 1:
        raise InputError(f"k={k} neighbours: give 1 or more")
    if own is not None and np.shape(own) != (len(queries),):
        raise InputError(f"own {np.shape(own)}: expected the row of each query, ({len(queries)},)")
    best = np.full((len(queries), k), _code(np.array(-np.inf, np.float32), np.array(_ROW)))
    for first in range(0, len(index), VECTORS):
        block = _finite(index[first : first + VECTORS], "index", first)
        for start in range(0, len(queries), QUERIES):
            part = slice(start, start + QUERIES)
            likeness = _finite(queries[part], "queries", start) @ block.T  # (queries, vectors)
            if own is not None:
                column = np.asarray(own)[part] - first
                inside = np.flatnonzero((column >= 0) & (column < len(block)))
                likeness[inside, column[inside]] = -np.inf
            best[part] = _merged(best[part], likeness, first)
    best.sort(axis=1)
    rows, similarity = _decode(best[:, ::-1])
    return Neighbours(np.where(similarity > -np.inf, rows, -1), similarity)


def _finite(vectors: np.ndarray, what: str, first: int) -> np.ndarray:
    """Convert a block to float32; InputError with the row of the first vector that is not finite."""
    vectors = np.asarray(vectors, np.float32)
    wrong = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(wrong):
        raise InputError(f"{what}: row {first + wrong[0]} is not finite ({len(wrong)} such in its block)")
    return vectors


def _merged(best: np.ndarray, likeness: np.ndarray, first: int) -> np.ndarray:
    """Take the k largest codes (B, k) of those so far and of a block's likenesses (B, n), whose rows start at `first`.

    Rows come in rising order: what is only as near as the k-th so far has lost to it already.
    """
    k = best.shape[1]
    worst = _decode(best.min(1))[1]
    query, column = np.nonzero(likeness > worst[:, None])
    counts = np.bincount(query, minlength=len(best))
    if not len(query):
        return best
    place = np.arange(len(query)) - (counts.cumsum() - counts)[query]
    codes = np.full((len(best), k + counts.max()), best.min())
    codes[:, :k] = best
    codes[query, k + place] = _code(likeness[query, column], first + column)
    return np.partition(codes, codes.shape[1] - k, axis=1)[:, -k:]


def _code(similarity: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Pack both into one whole number: the nearer, the larger; of two that are as near the lower row is larger."""
    bits = (np.asarray(similarity, np.float32) + np.float32(0)).view(np.int32)  # + 0 makes -0 a 0
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    return (ordered << 32) | (_ROW - row)


def _decode(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unpack codes into rows and similarities."""
    ordered = (code >> 32).astype(np.int32)
    bits = np.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).astype(np.int32)
    return _ROW - (code & _ROW), bits.view(np.float32)
