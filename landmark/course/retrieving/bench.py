"""How fast neighbours are found, how much memory that takes and how many are the right ones: exact, and by Faiss."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from landmark.course.bench.measure import conditions, measure_peak, spread
from landmark.evaluation.neighbours import QUERIES, VECTORS, Neighbours, find_nearest, unit
from landmark.retrieval.scale.approximate import FaissIndex, has_faiss
from landmark.utils.errors import InputError

FULL = {"index": 1_580_470, "queries": 117_577, "dims": 512}
"""The whole of Google Landmarks v2: images of the cleaned train set, test images, numbers of an embedding."""


def bench_retrieval(
    rows: int = 40_000, queries: int = 500, dims: int = 512, k: int = 10, repeats: int = 3, seed: int = 0
) -> dict[str, Any]:
    """Measure searches on a slice of vectors, and work out what the whole data set would take.

    The vectors are drawn around class centres, as those of a trained network lie. The time of an exact search grows as
    queries × index; of IVF-PQ nothing is extrapolated. Its time to build the index is apart.

    Args:
        rows: of the index.
        queries: that are searched with.
        dims: numbers of a vector.
        k: neighbours.
        repeats: rounds, interleaved.
        seed: of the vectors.

    Returns:
        Of each way: seconds (median and range), recall of the exact k neighbours, MiB of its index and
        of the search at its peak; of the exact one also hours and GiB for `FULL`.

    Raises:
        InputError: fewer than 256 vectors, or sizes below 1.
    """
    if rows < 256 or min(queries, dims, k, repeats) < 1:
        sizes = f"rows={rows}, queries={queries}, dims={dims}, k={k}, repeats={repeats}"
        raise InputError(f"{sizes}: give 256 rows and 1 or more of the others")
    index, asked = _vectors(rows, queries, dims, seed)
    ways: dict[str, Callable[[], Neighbours]] = {"exact": lambda: find_nearest(asked, index, k)}
    report: dict[str, Any] = conditions(rows=rows, queries=queries, dims=dims, k=k)
    memory = {"exact": index.nbytes / 2**20}
    if has_faiss():
        code = max(size for size in (64, 32, 16, 8, 4, 2, 1) if dims % size == 0)
        for kind, bytes_each in (("flat", 4 * dims), ("ivfpq", code + 8)):
            start = time.perf_counter()
            found = FaissIndex(index, kind, code=code)
            report[f"faiss {kind} build seconds"] = time.perf_counter() - start
            ways[f"faiss {kind}"] = lambda found=found: found.find_nearest(asked, k)  # type: ignore[misc]
            memory[f"faiss {kind}"] = rows * bytes_each / 2**20
    else:
        report["faiss"] = "not installed"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Neighbours] = {}
    for _ in range(repeats):
        for name, search in ways.items():
            start = time.perf_counter()
            answers[name] = search()
            seconds[name].append(time.perf_counter() - start)
    for name in ways:
        report[name] = {"seconds": spread(seconds[name]), "recall": recall(answers[name], answers["exact"]),
                        "index_mib": round(memory[name], 1), "search_peak_mib": measure_peak(ways[name])}  # fmt: skip
    report["exact"]["whole"] = extrapolate(float(np.median(seconds["exact"])), rows, queries, dims, k)
    return report


def recall(answers: Neighbours, exact: Neighbours) -> float:
    """Compute the share of the exact neighbours that are among the answers.

    >>> one = Neighbours(np.array([[1, 2]]), np.ones((1, 2), np.float32))
    >>> recall(Neighbours(np.array([[2, 3]]), one.similarity), one)
    0.5
    """
    same = (exact.rows[:, :, None] == answers.rows[:, None, :]) & (exact.rows[:, :, None] >= 0)
    there = (exact.rows >= 0).sum()
    return float(same.any(2).sum() / there) if there else float("nan")


def extrapolate(seconds: float, rows: int, queries: int, dims: int, k: int = 10) -> dict[str, float]:
    """Work out hours and memory of an exact search in the whole data set from a slice: its products grow as the slice.

    In memory are a block of the similarities with what is sorted of them, the queries and the answers; the index is
    memory-mapped, 2 bytes a number in half precision on disk.

    Args:
        seconds: of the slice.
        rows, queries, dims: of the slice.
        k: neighbours.

    >>> extrapolate(1.0, 1_580_470, 117_577, 512)["hours"] == 1 / 3600
    True
    """
    work = FULL["index"] * FULL["queries"] * FULL["dims"]
    memory = 4 * (FULL["queries"] * FULL["dims"] + VECTORS * FULL["dims"]) + 8 * 2 * FULL["queries"] * k
    memory += 8 * 4 * QUERIES * VECTORS
    return {"hours": seconds * work / (rows * queries * dims) / 3600, "operations": 2.0 * work,
            "memory_gib": memory / 2**30, "index_on_disk_gib": 2 * FULL["index"] * FULL["dims"] / 2**30}  # fmt: skip


def _vectors(rows: int, queries: int, dims: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw unit vectors around class centres, some twenty of a class: an index and queries."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((max(rows // 20, 1), dims), np.float32))

    def draw(count: int) -> np.ndarray:
        noise = rng.standard_normal((count, dims), np.float32) / np.float32(dims**0.5)
        return unit(centres[rng.integers(len(centres), size=count)] + noise)

    return draw(rows), draw(queries)
