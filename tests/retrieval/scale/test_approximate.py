"""Faiss against the exact search, where it is installed."""

import sys

import numpy as np
import pytest

from landmark.evaluation.neighbours import find_nearest, unit
from landmark.retrieval.scale.approximate import FaissIndex, has_faiss
from landmark.utils.errors import InputError

needs_faiss = pytest.mark.skipif(not has_faiss(), reason="faiss is not installed")
INDEX, QUERIES = (unit(np.random.default_rng(seed).normal(size=(count, 16))) for seed, count in ((0, 400), (1, 9)))


@needs_faiss
@pytest.mark.parametrize("k", [1, 5, 500])
def test_flat_is_exact(k):
    """Fails when distances come for products, rows are others, or k above the vectors is not told as in the exact one."""
    exact, found = find_nearest(QUERIES, INDEX, k), FaissIndex(INDEX).find_nearest(QUERIES, k)
    assert np.array_equal(found.rows, exact.rows) and found.rows.dtype == exact.rows.dtype
    np.testing.assert_allclose(found.similarity, exact.similarity, atol=1e-6)


@needs_faiss
def test_quantised_products_find_most_of_them():
    """Fails when codes are compared with other vectors than those that were added."""
    found = FaissIndex(INDEX, "ivfpq", lists=4, probes=4, code=16).find_nearest(INDEX[:50], 1)
    assert (found.rows[:, 0] == np.arange(50)).mean() > 0.9


@needs_faiss
def test_what_does_not_fit():
    """Fails when Faiss's own assertion, or a crash, is what a user sees."""
    for vectors in (INDEX[:0], np.full((3, 4), np.nan), INDEX[0]):
        with pytest.raises(InputError, match="vectors"):
            FaissIndex(vectors)
    for settings in ({"code": 5}, {"code": 16, "lists": 4000}):
        with pytest.raises(InputError, match="ivfpq needs"):
            FaissIndex(INDEX, "ivfpq", **settings)
    with pytest.raises(InputError, match="give 1 or more"):
        FaissIndex(INDEX).find_nearest(QUERIES, 0)
    with pytest.raises(InputError, match=r"queries \(Q, 16\)"):
        FaissIndex(INDEX).find_nearest(QUERIES[:, :4], 1)


def test_without_faiss(monkeypatch):
    """Fails when a missing package is a traceback."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert not has_faiss()
    with pytest.raises(InputError, match="pip install faiss-cpu"):
        FaissIndex(INDEX)
    with pytest.raises(InputError, match="no index 'hnsw'"):
        FaissIndex(INDEX, "hnsw")
