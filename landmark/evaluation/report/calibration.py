"""Whether a score says how often it is right: reliability, ECE and Brier, and maps that mend it.

All of it is about what is answered. A map is fitted on answers of its own, an *open* calibration set with unknown
landmarks and distractors, whose answers are all wrong; never on the images that are reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logit, logsumexp
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.hits import ratio
from landmark.utils.errors import InputError

BINS = 15
Map = Callable[[np.ndarray], np.ndarray]
_EDGE = 1e-6  # the logit of a score that rounds to 0 or 1 is that of this far from it


def _bins(score: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each score: bin b holds (b / bins, (b + 1) / bins], the first one 0 as well."""
    return np.clip(np.ceil(score * bins).astype(int) - 1, 0, bins - 1)


class Calibration:
    """Calibration errors of a system's answers, prepared once for any number of resamples.

    A score outside 0 to 1, such as a logit, is no probability: all errors are NaN then.
    """

    def __init__(self, answers: Answers, bins: int = BINS):
        rows = np.flatnonzero(answers.answered)
        score = answers.score[rows]
        self._proper = bool(((score >= 0) & (score <= 1)).all())
        place = _bins(score if self._proper else np.zeros(len(score)), bins)
        order = np.argsort(place, kind="stable")  # answers of one bin stand together
        self._rows, self._starts = rows[order], np.unique(place[order], return_index=True)[1]
        self._excess = (answers.correct[rows] - score)[order]

    def errors(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute ECE and Brier score of resamples: (B,) each.

        The expected calibration error is Σ_b n_b/n |accuracy_b − mean score_b| over equal bins, the Brier score the
        mean of (right − score)².

        Args:
            counts: (B, N) whole numbers, how often each image is there.

        Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
        """
        nothing = np.full(len(counts), np.nan)
        if not self._proper or not len(self._rows):
            return nothing, nothing
        copies = np.take(counts, self._rows, axis=1)
        excess, total = copies * self._excess, copies.sum(axis=1)
        gaps = np.abs(np.add.reduceat(excess, self._starts, axis=1)).sum(axis=1)
        return ratio(gaps, total), ratio(excess @ self._excess, total)


class Reliability(NamedTuple):
    """A reliability diagram: one entry for each bin that holds an answer."""

    score: np.ndarray  # mean of the bin
    accuracy: np.ndarray
    size: np.ndarray  # answers in the bin


def reliability(answers: Answers, bins: int = BINS) -> Reliability:
    """Compare mean score and accuracy in equal bins of the score.

    Raises:
        InputError: a score outside 0 to 1.

    >>> reliability(Answers([0.95, 0.05, 0.05], [True, False, True], [0, 0, 0]), bins=2)
    Reliability(score=array([0.05, 0.95]), accuracy=array([0.5, 1. ]), size=array([2, 1]))
    """
    score, correct = answers.score[answers.answered], answers.correct[answers.answered]
    if ((score < 0) | (score > 1)).any():
        raise InputError("a score outside 0 to 1 is no probability: map it to one before its reliability is asked")
    place = _bins(score, bins)
    count = np.bincount(place, minlength=bins)
    there = count > 0
    mean, accuracy = (np.bincount(place, values, bins)[there] / count[there] for values in (score, correct))
    return Reliability(mean, accuracy, count[there])


def _both(correct: np.ndarray, *others: np.ndarray) -> None:
    """Refuse answers that no map can be fitted on."""
    if not 0 < correct.sum() < len(correct):
        raise InputError(
            f"calibration needs right and wrong answers, not {int(correct.sum())} right ones of {len(correct)}"
        )
    if not all(np.isfinite(values).all() for values in others):
        raise InputError("calibration needs finite scores")


def fit_temperature(logits: np.ndarray, correct: np.ndarray) -> float:
    """Fit the temperature T with which the largest softmax(logits / T) tells best how often the answer is right.

    It minimises −Σ right · log p + wrong · log(1 − p) with p the largest probability. Unlike the likelihood of the
    true class this has a meaning for unknown landmarks and distractors, whose answers are wrong. T lies in 0.01 to
    100; order within an image never changes.

    Args:
        logits: (N, K), K ≥ 2.
        correct: (N,) whether the largest one is right.

    Raises:
        InputError: all answers right or all wrong, or a logit that is not finite.

    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(4000, 5))
    >>> largest = np.exp(logits.max(1)) / np.exp(logits).sum(1)
    >>> abs(fit_temperature(3 * logits, rng.random(4000) < largest) - 3) < 0.3  # three times too sure
    True

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    logits, correct = np.asarray(logits, float), np.asarray(correct, bool)
    _both(correct, logits)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        log_p = scaled.max(axis=1) - logsumexp(scaled, axis=1)
        log_rest = np.log(-np.expm1(np.minimum(log_p, -1e-12)))
        return -float(np.where(correct, log_p, log_rest).mean())

    bounds = (np.log(0.01), np.log(100))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _log_odds(score: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, as a column; other scores as they are."""
    score = np.asarray(score, float)
    proper = ((score >= 0) & (score <= 1)).all()
    return (logit(np.clip(score, _EDGE, 1 - _EDGE)) if proper else score)[:, None]


def fit_platt(score: np.ndarray, correct: np.ndarray) -> Map:
    """Fit σ(a · x + b), x the log odds of a score that is a probability, or the score itself.

    Raises:
        InputError: all answers right or all wrong, or a score that is not finite.

    Source: Platt, Probabilistic Outputs for Support Vector Machines, 1999.
    """
    score, correct = np.asarray(score, float), np.asarray(correct, bool)
    _both(correct, score)
    proper = ((score >= 0) & (score <= 1)).all()
    model = LogisticRegression(C=1e6).fit(_log_odds(score), correct)

    def probability(values: np.ndarray) -> np.ndarray:
        column = _log_odds(values) if proper else np.asarray(values, float)[:, None]
        return np.asarray(model.predict_proba(column)[:, 1])

    return probability


def fit_isotonic(score: np.ndarray, correct: np.ndarray) -> Map:
    """Fit the best map that never falls; beyond the scores it was fitted on it stays constant.

    It makes scores equal that were not, so scores that depend on the order can change with it.

    Raises:
        InputError: all answers right or all wrong, or a score that is not finite.

    Source: Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates, KDD 2002.
    """
    score, correct = np.asarray(score, float), np.asarray(correct, bool)
    _both(correct, score)
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, correct)
    return lambda values: np.asarray(model.predict(np.asarray(values, float)))
