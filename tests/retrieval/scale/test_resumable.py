"""A search in blocks against the search at once."""

import numpy as np
import pytest

from landmark.evaluation.neighbours import find_nearest, unit
from landmark.retrieval.scale import resumable
from landmark.retrieval.scale.resumable import search_in_blocks
from landmark.utils.errors import InputError

INDEX, QUERIES = (unit(np.random.default_rng(seed).normal(size=(count, 8))) for seed, count in ((0, 60), (1, 23)))


def test_blocks_are_the_whole_and_are_searched_once(tmp_path, monkeypatch):
    """Fails when a block is lost or in another place, a stopped search begins anew, or a damaged block is believed."""
    asked, stop_at = [], [2]

    def counted(queries, *rest):
        if len(asked) == stop_at[0]:
            raise KeyboardInterrupt
        asked.append(len(queries))
        return find_nearest(queries, *rest)

    monkeypatch.setattr(resumable, "find_nearest", counted)
    with pytest.raises(KeyboardInterrupt):
        search_in_blocks(QUERIES, INDEX, 3, tmp_path, basis="x", block=5)
    stop_at[0] = None
    found, exact = search_in_blocks(QUERIES, INDEX, 3, tmp_path, basis="x", block=5), find_nearest(QUERIES, INDEX, 3)
    assert asked == [5, 5, 5, 5, 3]
    assert np.array_equal(found.rows, exact.rows) and np.allclose(found.similarity, exact.similarity, atol=1e-6)
    search_in_blocks(QUERIES, INDEX, 3, tmp_path, basis="x", block=5)
    assert len(asked) == 5
    next(tmp_path.rglob("10.npz")).write_bytes(b"PK")
    assert np.array_equal(search_in_blocks(QUERIES, INDEX, 3, tmp_path, basis="x", block=5).rows, exact.rows)
    assert len(asked) == 6


def test_another_search_is_another(tmp_path):
    """Fails when neighbours of other images, or fewer of them, are read as those that were asked for."""
    search_in_blocks(QUERIES, INDEX, 3, tmp_path, basis="x")
    assert np.array_equal(search_in_blocks(-QUERIES, INDEX, 3, tmp_path, basis="y").rows,
                          find_nearest(-QUERIES, INDEX, 3).rows)  # fmt: skip
    assert search_in_blocks(QUERIES, INDEX, 4, tmp_path, basis="x").rows.shape == (23, 4)


def test_no_query_and_no_index(tmp_path):
    """Fails when an empty test set is an error, or an empty index none."""
    assert search_in_blocks(QUERIES[:0], INDEX, 3, tmp_path, basis="x").rows.shape == (0, 3)
    with pytest.raises(InputError, match="0 vectors in the index"):
        search_in_blocks(QUERIES, INDEX[:0], 3, tmp_path, basis="x")
    with pytest.raises(InputError, match="block=0"):
        search_in_blocks(QUERIES, INDEX, 3, tmp_path, basis="x", block=0)
