"""How sure a network is of its answer: one number for each image, by a rule that has a name.

A rule is a function of `Evidence`, so that each can be worked out from one kept record. Whatever the rule, the answer
itself stays the class of the largest logit, and only the order of the scores counts in GAP: they may be negative or
above 1. Rules that need more than the record, such as a run's train images, are fitted first: see
`course.judging.fitted`. NumPy only.
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
