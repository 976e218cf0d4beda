"""Oracles: plain loops over queries and neighbours."""

import math

import numpy as np
import pytest

from landmark.evaluation.neighbours import Neighbours, find_nearest, unit
from landmark.retrieval import vote
from landmark.retrieval.vote import expand_queries, knn_vote
from landmark.utils.errors import InputError


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return unit(rng.normal(size=(9, 5))), unit(rng.normal(size=(30, 5))), rng.integers(0, 4, 30) * 10


def _loop(neighbours, label, temperature):
    for rows, similarity in zip(*neighbours, strict=True):
        votes = {}
        for row, s in zip(rows, similarity, strict=True):
            if row >= 0:
                votes[label[row]] = votes.get(label[row], 0) + math.exp((float(s) - 1) / temperature)
        ranked = sorted(votes.items(), key=lambda item: -item[1])
        yield (*ranked[0], ranked[1][1] if len(ranked) > 1 else 0) if ranked else (-1, 0, 0)


@pytest.mark.parametrize("block", [1 << 24, 1])
def test_votes_are_those_of_a_loop(vectors, monkeypatch, block):
    """Fails when a neighbour votes for another label than its own, twice or not at all, or a missing one votes."""
    monkeypatch.setattr(vote, "_BLOCK", block)
    queries, index, label = vectors
    for k, size in ((1, 30), (7, 30), (5, 3)):
        neighbours = find_nearest(queries, index[:size], k)
        votes = knn_vote(neighbours, label[:size], 0.3)
        for i, (winner, score, second) in enumerate(_loop(neighbours, label, 0.3)):
            assert votes.label[i] == winner
            assert votes.score[i] == pytest.approx(score) and votes.second[i] == pytest.approx(second)


def test_the_nearer_wins_and_nobody_wins_nothing():
    """Fails when equal votes are decided by the label's number, or a query without neighbours gets an answer."""
    neighbours = Neighbours(np.array([[1, 0], [-1, -1]]), np.array([[0.5, 0.5], [-np.inf, -np.inf]], np.float32))
    votes = knn_vote(neighbours, np.array([1, 9]))
    assert votes.label.tolist() == [9, -1] and votes.score[1] == votes.second[1] == 0
    assert votes.score[0] == votes.second[0] == pytest.approx(math.exp(-0.5 / 0.07))
    with pytest.raises(InputError, match="row 1 of the index has no label: 1 are given"):
        knn_vote(neighbours, np.array([1]))
    with pytest.raises(InputError, match="temperature=0"):
        knn_vote(neighbours, np.array([1, 9]), 0)


def test_expanded_queries_are_those_of_a_loop(vectors):
    """Fails when a neighbour far behind the query turns it away, or one that is missing moves it."""
    queries, index, _ = vectors
    for k, size, alpha in ((4, 30, 3.0), (30, 30, 1.0), (5, 2, 0.0)):
        found = expand_queries(queries, index[:size], k, alpha)
        for i, query in enumerate(queries):
            total = query.astype(np.float64)
            for row in sorted(range(size), key=lambda row: -float(query @ index[row]))[:k]:
                total = total + max(float(query @ index[row]), 0) ** alpha * index[row]
            np.testing.assert_allclose(found[i], total / np.linalg.norm(total), atol=1e-5)
    with pytest.raises(InputError, match="alpha=-1"):
        expand_queries(queries, index, 1, -1)
