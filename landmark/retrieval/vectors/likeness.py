"""How alike an image is to landmarks, and to what is none: one number for each image. NumPy only.

Such a number is a score, given to `Predictions.mapping` or to a submission as it is.
"""

from __future__ import annotations

import numpy as np

from landmark.evaluation.neighbours import Neighbours, find_nearest, unit
from landmark.utils.errors import InputError

OTHERS = 10  # images without a landmark that count for a query
OTHERS_OF_INDEX = 5  # of them for an image of the index; both numbers as in the first place of 2020


def class_centres(embedding: np.ndarray, class_index: np.ndarray) -> np.ndarray:
    """Average the directions of each class that occurs: the mean of its embeddings, each of length 1.

    Args:
        embedding: (N, D).
        class_index: (N,) int.

    Returns:
        (C, D) float64, in the order of the C classes.

    >>> class_centres(np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), np.array([4, 1, 1])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    classes, inverse = np.unique(class_index, return_inverse=True)
    sums = np.zeros((len(classes), np.shape(embedding)[1]))
    np.add.at(sums, inverse, unit(embedding))
    return sums / np.bincount(inverse)[:, None]


def centre_similarity(embedding: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Compute the cosine to the nearest class centre.

    Args:
        embedding: (N, D).
        centres: (C, D) of `class_centres`.

    Returns:
        (N,) in [-1, 1].
    """
    return neighbour_similarity(embedding, centres)


def neighbour_similarity(embedding: np.ndarray, train: np.ndarray, k: int = 1) -> np.ndarray:
    """Compute the cosine to the k-th nearest train image; its distance is sqrt(2 - 2 · cosine).

    Args:
        embedding: (N, D) of images that are not among `train`.
        train: (M, D).
        k: from 1 to M.

    Returns:
        (N,) in [-1, 1].

    Raises:
        InputError: fewer than k train images.

    >>> neighbour_similarity(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 1.0]]), k=2).tolist()
    [0.0]

    Source: Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, 2022, section 3.
    """
    return _nearest(embedding, train, k)[:, -1]


def mean_likeness(
    embedding: np.ndarray, others: np.ndarray, count: int = OTHERS, own: np.ndarray | None = None
) -> np.ndarray:
    """Compute the mean cosine to the nearest images that show no landmark.

    Args:
        embedding: (N, D).
        others: (L, D) of images that show no landmark.
        count: how many of them; all where there are fewer.
        own: (N,) row of `others` that each image is itself, left out; -1 where it is none.

    Returns:
        (N,) in [-1, 1]; 0 where no other image is there.

    >>> mean_likeness(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [0.5]
    """
    similarity = find_nearest(unit(embedding), unit(others), min(count, len(others)), own=own).similarity
    there = np.isfinite(similarity)
    total = np.where(there, similarity, 0).sum(1)
    return (total / there.sum(1).clip(1)).clip(-1, 1)


def pair_likeness(
    queries: np.ndarray, index: np.ndarray, others: np.ndarray, near: Neighbours, own: np.ndarray | None = None
) -> np.ndarray:
    """Compute how like photographs without a landmark a query and its neighbour are: the sum of both mean cosines.

    Args:
        queries: (Q, D).
        index: (N, D).
        others: (L, D) of images that show no landmark.
        near: (Q, k) neighbours of the queries in the index.
        own: (Q,) row of `others` that each query is itself, left out; -1 where it is none.

    Returns:
        (Q, k) in [-2, 2].

    >>> near = Neighbours(np.array([[0]]), np.array([[0.6]], np.float32))
    >>> pair_likeness(np.array([[0.6, 0.8]]), np.array([[1.0, 0]]), np.array([[0.0, 1]]), near).round(2).tolist()
    [[0.8]]

    Source: the first place of the Google Landmark Recognition competition of 2020.
    """
    found = np.unique(near.rows[near.rows >= 0])
    theirs = np.zeros(len(index))
    theirs[found] = mean_likeness(index[found], others, OTHERS_OF_INDEX)
    return mean_likeness(queries, others, OTHERS, own)[:, None] + theirs[near.rows]


def penalised_similarity(
    embedding: np.ndarray, train: np.ndarray, others: np.ndarray, k: int = 1, count: int = OTHERS
) -> np.ndarray:
    """Compute the cosine to the k-th nearest train image less the mean cosine to images that show no landmark.

    Args:
        embedding: (N, D) of images that are neither among `train` nor `others`.
        train: (M, D).
        others: (L, D) of images that show no landmark.
        k: from 1 to M.
        count: how many of `others`, the nearest.

    Returns:
        (N,) in [-2, 2].

    Raises:
        InputError: fewer than k train images, or no other one.

    Source: the first places of the Google Landmark Recognition competitions of 2020 and 2021.
    """
    return neighbour_similarity(embedding, train, k) - mean_likeness(embedding, others, count)


def _nearest(embedding: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """Find the k largest cosines (N, k) of each row to the rows of others, the largest first."""
    if not 1 <= k <= len(others):
        raise InputError(f"{k} nearest of {len(others)} embeddings: give a number from 1 to {len(others)}")
    return find_nearest(unit(embedding), unit(others), k).similarity.clip(-1, 1)
