"""The measurement of searches in its smallest form."""

import numpy as np
import pytest

from landmark.course.retrieving.bench import FULL, bench_retrieval, extrapolate, recall
from landmark.evaluation.neighbours import Neighbours
from landmark.retrieval.scale.approximate import has_faiss
from landmark.utils.errors import InputError


def test_it_measures_each_way():
    """Fails when a way is not measured, or the exact search does not find its own neighbours."""
    report = bench_retrieval(rows=512, queries=8, dims=32, k=3, repeats=2)
    assert report["exact"]["recall"] == 1 and report["exact"]["seconds"]["low"] > 0
    assert report["exact"]["index_mib"] == pytest.approx(512 * 32 * 4 / 2**20, abs=0.06)
    if has_faiss():
        assert report["faiss flat"]["recall"] == 1 and 0 <= report["faiss ivfpq"]["recall"] <= 1
    else:
        assert report["faiss"] == "not installed"


def test_recall_by_hand():
    """Fails when the order counts, or neighbours that are not there are missed."""
    exact = Neighbours(np.array([[4, 2, -1], [7, 8, 9]]), np.ones((2, 3), np.float32))
    assert recall(Neighbours(np.array([[2, 5, -1], [9, 8, 7]]), exact.similarity), exact) == 4 / 5


def test_the_whole_grows_with_its_products():
    """Fails when the time grows with one side only, or the memory exceeds that of a machine of 24 GiB."""
    whole = extrapolate(2.0, FULL["index"] // 10, FULL["queries"] // 10, FULL["dims"])
    assert whole["hours"] == pytest.approx(200 / 3600, rel=1e-3) and whole["operations"] == pytest.approx(
        1.9e14, rel=0.01
    )
    assert whole["memory_gib"] < 2 and whole["index_on_disk_gib"] < 2


@pytest.mark.parametrize("settings", [{"rows": 10}, {"queries": 0}, {"k": 0}])
def test_sizes_that_cannot_be_meant(settings):
    """Fails when nothing is measured and a number comes out."""
    with pytest.raises(InputError, match="give 256 rows"):
        bench_retrieval(**settings)
