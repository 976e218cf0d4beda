"""How sure a network is of its answer: one number for each image, by a rule that has a name.

A rule is a function of `Evidence`, so that each can be worked out from one kept record. Whatever the rule, the answer
itself stays the class of the largest logit, and only the order of the scores counts in GAP: they may be negative or
above 1. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landmark.utils.errors import InputError

DEFAULT = "softmax"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a rule reads of a network's answers to N images, of K classes each."""

    logit: np.ndarray  # (N,) the largest logit
    second: np.ndarray  # (N,) the largest of the other logits; -inf where K = 1
    logsumexp: np.ndarray  # (N,) log Σ exp(logits)
    norm: np.ndarray  # (N,) length of the embedding; NaN for a network that shows none
    embedding: np.ndarray | None = None  # (N, D) float32, where it was asked for
    logits: np.ndarray | None = None  # (N, K) float32, where they were asked for

    def score(self, rule: str = DEFAULT) -> np.ndarray:
        """Scores (N,) by a named rule; InputError when there is none of that name."""
        return named_rule(rule)(self)


Rule = Callable[[Evidence], np.ndarray]


def softmax(evidence: Evidence) -> np.ndarray:
    """Largest softmax probability, exp(max z − log Σ exp z), in (0, 1]; 1 where K = 1.

    Source: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, 2017.
    """
    return np.exp(evidence.logit - evidence.logsumexp)


def logit(evidence: Evidence) -> np.ndarray:
    """Largest logit, max z.

    Source: Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, 2022, section 3.
    """
    return evidence.logit


def margin(evidence: Evidence) -> np.ndarray:
    """Largest logit less the second, at least 0, and 0 in a tie; 0 where K = 1: no other class is there."""
    return np.where(np.isfinite(evidence.second), evidence.logit - evidence.second, 0.0)


def energy(evidence: Evidence) -> np.ndarray:
    """Negative free energy, log Σ exp z.

    Source: Liu et al., Energy-based Out-of-distribution Detection, 2020, equation 4 at temperature 1.
    """
    return evidence.logsumexp


RULES: dict[str, Rule] = {"softmax": softmax, "logit": logit, "margin": margin, "energy": energy}


def named_rule(name: str) -> Rule:
    """Find a rule by name.

    Raises:
        InputError: no rule of that name; lists them.

    >>> named_rule("margin") is margin
    True
    """
    if name not in RULES:
        raise InputError(f"no score {name!r}: choose one of {', '.join(RULES)}")
    return RULES[name]


# What follows needs more than a record: a temperature, or embeddings of other images. The scores that come out are
# given to `Predictions.mapping` as they are.


def temperature_softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Largest softmax probability at a temperature T, max softmax(z / T).

    Args:
        logits: (N, K).
        temperature: T > 0; above 1 every score falls.

    Returns:
        (N,) in (0, 1].

    Raises:
        InputError: a temperature that is not a number above 0.

    >>> temperature_softmax(np.array([[2.0, 0.0]]), 2.0).round(3)
    array([0.731])

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2.
    """
    if not 0 < temperature < np.inf:
        raise InputError(f"temperature {temperature}: give a number above 0")
    scaled = np.asarray(logits, np.float64)
    return 1 / np.exp((scaled - scaled.max(1, keepdims=True)) / temperature).sum(1)


def class_centres(embedding: np.ndarray, class_index: np.ndarray) -> np.ndarray:
    """Mean direction of each class that occurs: the mean of its embeddings, each of length 1.

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
    np.add.at(sums, inverse, _unit(embedding))
    return sums / np.bincount(inverse)[:, None]


def centre_similarity(embedding: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Cosine to the nearest class centre.

    Args:
        embedding: (N, D).
        centres: (C, D) of `class_centres`.

    Returns:
        (N,) in [-1, 1].
    """
    return _similarities(embedding, centres, 1)[:, 0]


def neighbour_similarity(embedding: np.ndarray, train: np.ndarray, k: int = 1) -> np.ndarray:
    """Cosine to the k-th nearest train image; with embeddings of length 1 its distance is sqrt(2 - 2 · cosine).

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
    return _similarities(embedding, train, k)[:, -1]


def penalised_similarity(
    embedding: np.ndarray, train: np.ndarray, others: np.ndarray, k: int = 1, count: int = 10
) -> np.ndarray:
    """Cosine to the k-th nearest train image less the mean cosine to the nearest images that show no landmark.

    Args:
        embedding: (N, D) of images that are neither among `train` nor `others`.
        train: (M, D).
        others: (L, D) of images that show no landmark.
        k: from 1 to M.
        count: how many of `others`, from 1 to L.

    Returns:
        (N,) in [-2, 2].

    Raises:
        InputError: fewer than k train images, or than `count` others.

    Source: the first places of the Google Landmark Recognition competitions of 2020 and 2021.
    """
    return neighbour_similarity(embedding, train, k) - _similarities(embedding, others, count).mean(1)


_BLOCK = 1 << 24  # cosines at a time: 128 MiB


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1, in float64; a row of zeros stays one, and is like nothing."""
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def _similarities(embedding: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """The k largest cosines (N, k) of each row to the rows of others, the largest first."""
    if not 1 <= k <= len(others):
        raise InputError(f"{k} nearest of {len(others)} embeddings: give a number from 1 to {len(others)}")
    rows, columns = _unit(embedding), _unit(others).T
    nearest = np.empty((len(rows), k))
    step = max(1, _BLOCK // len(others))
    for start in range(0, len(rows), step):
        cosine = (rows[start : start + step] @ columns).clip(-1, 1)  # (block, M)
        nearest[start : start + step] = -np.sort(np.partition(-cosine, k - 1, axis=1)[:, :k], axis=1)
    return nearest
