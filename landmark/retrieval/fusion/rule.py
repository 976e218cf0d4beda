"""The rule of a search: from neighbours and inliers to an answer and how sure it is. NumPy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from landmark.evaluation.neighbours import Neighbours
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.local.rerank import fuse_inliers, order_anew
from landmark.retrieval.vote import knn_vote


class Verdict(NamedTuple):
    """What the rule says of each query."""

    landmark: np.ndarray  # (Q,) of the answer; -1 where there is no neighbour
    score: np.ndarray  # (Q,) any number, of which the order counts; -inf where there is no neighbour
    ranked: Neighbours  # (Q, k) in their last order, with their scores
    order: np.ndarray  # (Q, k) the place that each had before


def decide(
    near: Neighbours, landmark: np.ndarray, config: SearchConfig, *, inliers: np.ndarray | None = None,
    burden: np.ndarray | float = 0.0,
) -> Verdict:  # fmt: skip
    """Decide by a soft vote of the best neighbours.

    s_i = q · x_i − burden_i + min(inliers_i, enough) / enough
    S(c) = 1 + T log Σ_i [y_i = c] exp((s_i − 1) / T) over the k best; the answer is argmax S
    score = S(first) − m max(S(second), 0)

    Args:
        near: (Q, n) of `find_nearest` among `unit` vectors.
        landmark: (N,) of the index's rows.
        config: neighbours k, temperature T, margin m, enough.
        inliers: (Q, n) of local features, -1 where nothing was compared; none when left out.
        burden: (Q, n) or a number, taken off the similarities.

    >>> near = Neighbours(np.array([[0, 1]]), np.array([[0.9, 0.8]], np.float32))
    >>> decide(near, np.array([7, 8]), SearchConfig(margin=0.5, temperature=0.07)).score.round(2).tolist()
    [0.5]
    """
    similarity = near.similarity - burden
    if inliers is not None:
        similarity = fuse_inliers(similarity, inliers, config.enough)
    ranked, order = order_anew(near, similarity)
    votes = knn_vote(Neighbours(*(column[:, : config.neighbours] for column in ranked)), landmark, config.temperature)
    first, second = (_soft(value, config.temperature) for value in (votes.score, votes.second))
    return Verdict(votes.label, first - config.margin * second.clip(0), ranked, order)


def _soft(votes: np.ndarray, temperature: float) -> np.ndarray:
    """Bring votes to the scale of a similarity, 1 + T log v: one neighbour's is its own; -inf without a vote."""
    with np.errstate(divide="ignore"):
        return 1 + temperature * np.log(votes)
