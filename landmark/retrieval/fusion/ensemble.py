"""Several systems as one: embeddings joined, answers blended, weights fitted. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from landmark.evaluation.neighbours import unit
from landmark.utils.errors import InputError

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)  # that are tried


def join_vectors(parts: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Join embeddings of the same images: products of the joined ones are weighted means of the cosines.

    x = [√w_1 x_1, √w_2 x_2, ...] / √Σw with each x_i of length 1, so that x · y = Σ w_i x_i · y_i / Σ w_i.

    Args:
        parts: (N, D_i) of each system.
        weights: of each, at least 0; all the same when left out. What has weight 0 is left out.

    Returns:
        (N, ΣD_i) float32, of length 1.

    Raises:
        InputError: no system, weights that do not fit or are all 0, or systems that embedded other images.

    >>> join_vectors([np.array([[1.0, 0]]), np.array([[2.0]])], [3, 1]).round(3).tolist()
    [[0.8659999966621399, 0.0, 0.5]]
    """
    weights = _checked(len(parts), weights)
    if len({len(part) for part in parts}) > 1:
        raise InputError(f"systems with {[len(part) for part in parts]} vectors: join those of the same images")
    kept = [np.float32(np.sqrt(w)) * unit(part) for part, w in zip(parts, weights, strict=True) if w]
    return unit(np.concatenate(kept, axis=1))


def blend_answers(
    labels: Sequence[np.ndarray], scores: Sequence[np.ndarray], weights: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Blend the answers of systems whose scores have different scales: each votes with the rank of its score.

    v_q(c) = Σ_i w_i [label_iq = c] r_iq / Σ w_i, r the share of queries with a score as high or lower; the answer is
    argmax v. GAP depends on ranks alone, so that nothing is lost of a single system.

    Args:
        labels: (Q,) of each system.
        scores: (Q,) of each; -inf where it has no answer.
        weights: of each, at least 0; all the same when left out.

    Returns:
        (Q,) labels and (Q,) scores in [0, 1]; of two that are as good that of the first system.

    Raises:
        InputError: no system, weights that do not fit or are all 0, or systems that answered other queries.

    >>> label, score = blend_answers([np.array([1, 2]), np.array([1, 3])], [np.array([0.9, 0.1]), np.array([5., 7.])])
    >>> label.tolist(), score.tolist()
    ([1, 3], [0.75, 0.5])
    """
    weights = _checked(len(labels), weights)
    if len({np.shape(column) for column in (*labels, *scores)}) > 1 or len(scores) != len(labels):
        raise InputError("systems with answers to different numbers of queries: blend those to the same ones")
    label = np.stack(labels)  # (S, Q)
    votes = np.stack([w * _rank(score) for w, score in zip(weights, scores, strict=True)]) / sum(weights)
    total = ((label[:, None] == label[None]) * votes[None]).sum(1)  # (S, Q): votes of each system's answer
    best = total.argmax(0)
    each = np.arange(label.shape[1])
    return label[best, each], total[best, each]


def fit_weights(
    measure: Callable[[list[float]], float], count: int, values: Sequence[float] = WEIGHTS, rounds: int = 2
) -> list[float]:
    """Fit weights of systems on a dev set, one after the other: each takes the value that measures best.

    Args:
        measure: weights → what is to be large, such as GAP on a dev world.
        count: of the systems.
        values: that are tried; of those that are as good the one before stays.
        rounds: over all systems.

    >>> fit_weights(lambda w: -abs(w[0] - 2) - w[1], 2)
    [2.0, 0.0]
    """
    if count < 1:
        raise InputError("0 systems: give one or more to weigh")
    weights = [1.0] * count
    best = measure(weights)
    for _ in range(rounds):
        for i in range(count):
            for value in values:
                tried = [*weights[:i], value, *weights[i + 1 :]]
                if any(tried) and value != weights[i] and (score := measure(tried)) > best:
                    weights, best = tried, score
    return weights


def _rank(score: np.ndarray) -> np.ndarray:
    """Share of the queries with a score as high or lower; 0 where there is no answer."""
    score = np.asarray(score, np.float64)
    if np.isnan(score).any():
        raise InputError("a score is NaN: blend numbers, and -inf where there is no answer")
    return np.where(np.isneginf(score), 0, np.searchsorted(np.sort(score), score, "right") / max(len(score), 1))


def _checked(count: int, weights: Sequence[float] | None) -> list[float]:
    weights = [1.0] * count if weights is None else [float(w) for w in weights]
    if not count or len(weights) != count or not all(0 <= w < np.inf for w in weights) or not any(weights):
        raise InputError(f"weights {weights} of {count} systems: give one for each, at least 0, and not all 0")
    return weights
