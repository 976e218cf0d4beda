"""Faiss as another way to find neighbours, where it is installed: flat, or quantised products in inverted lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from landmark.evaluation.neighbours import Neighbours
from landmark.utils.errors import InputError

INSTALL = "faiss is not installed: pip install faiss-cpu, or use the exact search of landmark.retrieval.find_nearest"


def has_faiss() -> bool:
    """Check whether Faiss can be imported."""
    try:
        _faiss()
    except InputError:
        return False
    return True


class FaissIndex:
    """Vectors in an index of Faiss, by inner product; of `unit` vectors these are cosines.

    Args:
        vectors: (N, D).
        kind: "flat", which is exact, or "ivfpq", which compares codes in the lists nearest to the query.
        lists: of ivfpq; √N when left out.
        probes: lists that are looked at.
        code: bytes of a code; D must be a multiple.

    Raises:
        InputError: Faiss is not installed, an empty index, vectors that are not finite, or settings that do not fit.

    Source: Jégou, Douze & Schmid, "Product quantization for nearest neighbor search", 2011; Johnson et al.,
    "Billion-scale similarity search with GPUs", 2017.
    """

    def __init__(
        self, vectors: np.ndarray, kind: str = "flat", *, lists: int | None = None, probes: int = 16, code: int = 64
    ):
        if kind not in ("flat", "ivfpq"):
            raise InputError(f"no index {kind!r}: choose flat or ivfpq")
        faiss = _faiss()
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all():
            raise InputError(f"vectors {vectors.shape}: expected finite ones (N, D), at least one")
        size = vectors.shape[1]
        lists = lists or max(round(len(vectors) ** 0.5), 1)
        if kind == "ivfpq" and (size % code or len(vectors) < max(256, lists)):
            raise InputError(f"{len(vectors)} vectors of {size} numbers: ivfpq needs 256 or more, not fewer than its "
                             f"{lists} lists, and {size} must be a multiple of code={code}")  # fmt: skip
        self.index: Any = faiss.IndexFlatIP(size)
        if kind == "ivfpq":
            self.index = faiss.IndexIVFPQ(self.index, size, lists, code, 8, faiss.METRIC_INNER_PRODUCT)
            self.index.train(vectors)
            self.index.nprobe = probes
        self.index.add(vectors)

    def find_nearest(self, queries: np.ndarray, k: int) -> Neighbours:
        """Find neighbours, as `find_nearest` does; of two that are as near either may come first.

        Raises:
            InputError: k below 1, or queries of another size.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if k < 1 or queries.ndim != 2 or queries.shape[1] != self.index.d:
            raise InputError(f"k={k} of queries {queries.shape}: give 1 or more, and queries (Q, {self.index.d})")
        similarity, rows = self.index.search(queries, k)
        return Neighbours(rows.astype(np.int64), np.where(rows >= 0, similarity, -np.inf).astype(np.float32))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise InputError(INSTALL) from None
    return faiss
