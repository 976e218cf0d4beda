"""Oracles: a plain loop, scikit-learn's neighbours, cases worked by hand."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from landmark.evaluation import neighbours
from landmark.evaluation.neighbours import find_nearest, unit
from landmark.utils.errors import InputError


@pytest.fixture(params=[(1024, 8192), (3, 4), (1, 1)], ids=str)
def blocks(request, monkeypatch):
    monkeypatch.setattr(neighbours, "QUERIES", request.param[0])
    monkeypatch.setattr(neighbours, "VECTORS", request.param[1])


def _loop(queries, index, k, own=None):
    """Rows by product, then by number, one query at a time."""
    rows = []
    for number, query in enumerate(queries):
        others = [row for row in range(len(index)) if own is None or row != own[number]]
        rows.append(sorted(others, key=lambda row: (-float(query @ index[row]), row))[:k])
    return rows


def test_neighbours_are_those_of_a_loop_and_of_scikit_learn(blocks):
    """Fails when a block is skipped or counted twice, rows of a block lose their offset, or the order is not by size."""
    rng = np.random.default_rng(0)
    queries, index = unit(rng.normal(size=(11, 6))), unit(rng.normal(size=(37, 6)))
    found = find_nearest(queries, index, 5)
    distance, rows = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(index).kneighbors(queries)
    assert found.rows.tolist() == rows.tolist() == _loop(queries, index, 5)
    np.testing.assert_allclose(found.similarity, 1 - distance, atol=1e-5)
    assert (found.similarity < 0).any() or (find_nearest(queries, index, 37).similarity < 0).any()


def test_ties_go_to_the_lower_row(blocks):
    """Fails when equal vectors come in an order that depends on blocks, or one is lost at the k-th place."""
    index = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, -1], [-1, 0], [1, 0], [0, 1]], np.float32)
    queries = np.array([[1, 0], [-1, 0], [0, 0]], np.float32)
    for k in range(1, 9):
        assert find_nearest(queries, index, k).rows.tolist() == _loop(queries, index, k)


def test_a_query_of_the_index_is_left_out(blocks):
    """Fails when an image finds itself, or another row is left out in its place."""
    index = unit(np.random.default_rng(1).normal(size=(10, 4)))
    own = np.array([9, -1, 0])
    queries = index[[9, 3, 0]]
    assert find_nearest(queries, index, 4, own=own).rows.tolist() == _loop(queries, index, 4, own)
    alone = find_nearest(index[:1], index[:1], 1, own=np.array([0]))
    assert alone.rows.tolist() == [[-1]] and alone.similarity.tolist() == [[-np.inf]]


def test_more_neighbours_than_vectors_and_no_queries():
    """Fails when k above N raises, or fills with neighbours that are none."""
    found = find_nearest(np.eye(2), np.eye(2)[:1], 3)
    assert found.rows.tolist() == [[0, -1, -1], [0, -1, -1]]
    assert found.similarity.tolist() == [[1, -np.inf, -np.inf], [0, -np.inf, -np.inf]]
    assert find_nearest(np.empty((0, 2)), np.eye(2), 3).rows.shape == (0, 3)


def test_an_index_on_disk_in_half_precision(tmp_path, blocks):
    """Fails when products of halves are summed in halves, or an index has to be in memory."""
    index = np.random.default_rng(2).normal(size=(20, 64)).astype(np.float16)
    np.save(tmp_path / "index.npy", index)
    mapped = np.load(tmp_path / "index.npy", mmap_mode="r")
    queries = np.random.default_rng(3).normal(size=(3, 64)).astype(np.float32)
    assert find_nearest(queries, mapped, 4).rows.tolist() == _loop(queries, index.astype(np.float64), 4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named(value, blocks):
    """Fails when a NaN among the vectors moves every answer without a word."""
    queries, index = np.ones((4, 2)), np.ones((9, 2))
    index[7, 1] = value
    with pytest.raises(InputError, match="^index: row 7 is not finite"):
        find_nearest(queries, index, 1)
    queries[3, 0] = value
    with pytest.raises(InputError, match="^queries: row 3 is not finite"):
        find_nearest(queries, np.ones((9, 2)), 1)


@pytest.mark.parametrize(
    ("queries", "index", "k", "own", "words"),
    [
        (np.ones((1, 2)), np.ones((0, 2)), 1, None, "0 vectors in the index"),
        (np.ones((1, 2)), np.ones((1, 3)), 1, None, "of one network"),
        (np.ones(2), np.ones((1, 2)), 1, None, r"queries \(2,\)"),
        (np.ones((1, 2)), np.ones((1, 2)), 0, None, "k=0"),
        (np.ones((1, 2)), np.ones((1, 2)), 1, np.zeros(2), r"own \(2,\)"),
    ],
)
def test_bad_input_is_one_line(queries, index, k, own, words):
    """Fails when a mistake surfaces as NumPy's own error."""
    with pytest.raises(InputError, match=f"^[^\n]*{words}[^\n]*$"):
        find_nearest(queries, index, k, own=own)
