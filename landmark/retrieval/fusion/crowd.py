"""What the test set as a whole tells of one query: its company, and answers that are given too often. NumPy only."""

from __future__ import annotations

import numpy as np

from landmark.evaluation.neighbours import find_nearest
from landmark.utils.errors import InputError


def company_score(queries: np.ndarray, score: np.ndarray, k: int = 5) -> np.ndarray:
    """Average the scores of a query's nearest queries: c_j = Σ_i max(q_j · q_i, 0) s_i / Σ_i max(q_j · q_i, 0).

    The test-to-test score of what is out of domain: photographs of nothing keep company with photographs of nothing,
    whatever each of them resembles among the landmarks. It falls where a query is out of domain.

    Args:
        queries: (Q, D), `unit` vectors.
        score: (Q,) of the answers; -inf, where there is none, counts as the least of the others.
        k: nearest other queries; all where there are fewer.

    Returns:
        (Q,); a query without company, or with none on its side, keeps its own score.

    Raises:
        InputError: scores that do not fit the queries, or k below 1.

    >>> company_score(np.array([[1.0, 0], [1, 0], [0, 1]]), np.array([0.9, 0.1, 0.5]), k=1).round(2).tolist()
    [0.1, 0.9, 0.5]

    Source: test-to-test scores, as in the solo entry that came eighth in Google Landmark Recognition 2019.
    """
    score = _finite(queries, score)
    if len(score) < 2:
        return score
    rows, similarity = find_nearest(queries, queries, min(k, len(score) - 1), own=np.arange(len(score)))
    weight = np.where(rows >= 0, similarity, 0).clip(0)  # (Q, k)
    total = weight.sum(1)
    return np.where(total > 0, (weight * score[rows]).sum(1) / np.where(total > 0, total, 1), score)


def overuse(label: np.ndarray, expected: float | None = None) -> np.ndarray:
    """Measure how much too often each query's answer is given: log max(n_c / expected, 1), n_c the answers c in all.

    What distractors look like is often one landmark: it draws them all.

    Args:
        label: (Q,) answers; -1 where there is none.
        expected: answers that a label may have; what it would have if all had as many, when left out.

    Returns:
        (Q,) 0 where the answer is given no more often than expected.

    >>> overuse(np.array([4, 4, 4, 7])).round(2).tolist()
    [0.41, 0.41, 0.41, 0.0]
    """
    label = np.asarray(label)
    if not len(label):
        return np.zeros(0)
    _, inverse, count = np.unique(label, return_inverse=True, return_counts=True)
    if expected is None:
        expected = max(len(label) / len(count), 1)
    if not expected > 0:
        raise InputError(f"expected={expected} answers of a label: give a number above 0")
    return np.where(label < 0, 0, np.log(np.maximum(count / expected, 1))[inverse])


def _finite(queries: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Check scores, and put the least of them where there is no answer."""
    score = np.array(score, np.float64)
    if score.shape != (len(queries),) or np.isnan(score).any():
        raise InputError(f"scores {score.shape} of {len(queries)} queries: give one for each, and no NaN")
    answered = np.isfinite(score)
    score[~answered] = score[answered].min() if answered.any() else 0
    return score
