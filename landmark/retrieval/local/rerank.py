"""Neighbours in a new order, by what their local features say. NumPy only."""

from __future__ import annotations

import numpy as np

from landmark.evaluation.neighbours import Neighbours
from landmark.retrieval.config import SearchConfig


def fuse_inliers(similarity: np.ndarray, inliers: np.ndarray, enough: float = SearchConfig.enough) -> np.ndarray:
    """Raise similarities by the inliers of their local features: s + min(m, enough) / enough.

    Args:
        similarity: (Q, k) cosines.
        inliers: (Q, k) counts; below 0 where nothing was compared, which counts as 0.
        enough: inliers that count in full, fitted on dev worlds.

    >>> fuse_inliers(np.array([[0.5, 0.5, 0.5]]), np.array([[-1, 30, 250]]), 100).round(2).tolist()
    [[0.5, 0.8, 1.5]]
    """
    return similarity + np.clip(inliers, 0, enough).astype(np.float32) / np.float32(enough)


def order_anew(neighbours: Neighbours, score: np.ndarray) -> tuple[Neighbours, np.ndarray]:
    """Sort neighbours by new scores, equal ones as they were.

    Args:
        neighbours: of `find_nearest`.
        score: (Q, k); those of missing neighbours do not count.

    Returns:
        The neighbours with their scores, and (Q, k) the place that each had before.

    >>> before = Neighbours(np.array([[7, 8]]), np.array([[0.9, 0.8]], np.float32))
    >>> order_anew(before, np.array([[0.9, 1.1]]))[0].rows.tolist()
    [[8, 7]]
    """
    score = np.where(neighbours.rows >= 0, score, -np.inf).astype(np.float32)
    order = np.argsort(-score, axis=1, kind="stable")
    rows, sorted_scores = (np.take_along_axis(values, order, 1) for values in (neighbours.rows, score))
    return Neighbours(rows, sorted_scores), order
