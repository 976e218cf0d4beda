"""What the neighbours say: soft votes, expanded queries. NumPy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from landmark.evaluation.neighbours import Neighbours, find_nearest, unit
from landmark.utils.errors import InputError

TEMPERATURE = 0.07
_BLOCK = 1 << 24  # pairs of neighbours at a time


class Votes(NamedTuple):
    """What was voted for each query."""

    label: np.ndarray  # (Q,) of the winner; -1 where there is no neighbour
    score: np.ndarray  # (Q,) its votes, at most k
    second: np.ndarray  # (Q,) votes of the next label, 0 where all agree


def knn_vote(neighbours: Neighbours, label: np.ndarray, temperature: float = TEMPERATURE) -> Votes:
    """Let neighbours vote for their labels, the nearer the more: v(c) = Σ_i [y_i = c] exp((s_i - 1) / T).

    The votes are not divided by their sum: a query far from everything has few, and so may be none of the landmarks.
    Of two labels with as many votes the one of the nearer neighbour wins.

    Args:
        neighbours: of `find_nearest` among `unit` vectors.
        label: (N,) whole numbers, of the index's rows.
        temperature: T; the smaller, the more the nearest ones decide.

    Raises:
        InputError: a row without a label, or T not above 0.

    >>> near = Neighbours(np.array([[0, 1, 2]]), np.array([[0.9, 0.8, 0.8]], np.float32))
    >>> votes = knn_vote(near, np.array([5, 7, 7]), temperature=0.5)
    >>> votes.label.tolist(), votes.score.round(2).tolist(), votes.second.round(2).tolist()
    ([7], [1.34], [0.82])

    Source: Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", 2018, section 3.4.
    """
    label = np.asarray(label)
    if not temperature > 0:
        raise InputError(f"temperature={temperature}: give a number above 0")
    if neighbours.rows.size and neighbours.rows.max() >= len(label):
        raise InputError(f"row {neighbours.rows.max()} of the index has no label: {len(label)} are given")
    rows, k = neighbours.rows, neighbours.rows.shape[1]
    votes = Votes(np.full(len(rows), -1, np.int64), np.zeros(len(rows)), np.zeros(len(rows)))
    step = max(_BLOCK // k**2, 1)
    for part in (slice(start, start + step) for start in range(0, len(rows), step)):
        there = rows[part] >= 0  # (B, k)
        weight = np.where(there, np.exp((neighbours.similarity[part].astype(np.float64) - 1) / temperature), 0)
        voted = label[rows[part]]  # (B, k)
        same = voted[:, :, None] == voted[:, None, :]  # (B, k, k)
        total = np.where(there, (same * weight[:, None, :]).sum(2), -1)
        winner = total.argmax(1)  # the first, which is the nearest, of those with as many votes
        each = np.arange(len(winner))
        votes.label[part] = np.where(there[each, winner], voted[each, winner], -1)
        votes.score[part] = total[each, winner].clip(0)
        votes.second[part] = np.where(same[each, winner], 0, total).max(1).clip(0)
    return votes


def expand_queries(queries: np.ndarray, index: np.ndarray, k: int = 10, alpha: float = 3.0) -> np.ndarray:
    """Move queries towards their neighbours: q' = unit(q + Σ_i max(q · x_i, 0)^α x_i) over the k nearest.

    Args:
        queries: (Q, D), `unit` vectors.
        index: (N, D), `unit` vectors.
        k: neighbours.
        alpha: α; the larger, the less the farther ones count, and at 0 all count as much as the query.

    Returns:
        (Q, D), of length 1.

    >>> expand_queries(np.array([[1.0, 0]]), np.array([[0.6, 0.8]]), k=1, alpha=1).round(3).tolist()
    [[0.9430000185966492, 0.3330000042915344]]

    Source: Radenović, Tolias & Chum, "Fine-tuning CNN image retrieval with no human annotation", 2018, section 3.5.
    """
    if alpha < 0:
        raise InputError(f"alpha={alpha}: give 0 or more")
    rows, similarity = find_nearest(queries, index, k)
    weight = np.where(rows >= 0, similarity.clip(0) ** np.float32(alpha), 0)  # (Q, k)
    total = np.array(queries, np.float32)
    for column in range(k):  # one neighbour of each query at a time: (Q, k, D) would not fit in memory
        total += weight[:, column, None] * np.asarray(index[rows[:, column]], np.float32)
    return unit(total)
