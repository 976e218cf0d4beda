"""Scores when the test set shows more than the label set: closed, open, and by kind of image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from landmark.data.folder import LabelMap
from landmark.evaluation.metrics import Predictions, Solution
from landmark.evaluation.report.answers import tabulate
from landmark.evaluation.report.hits import Ranking, gap


def closed_set(solution: Solution, labels: Collection[int]) -> dict[str, Collection[int]]:
    """Select the closed world: the images of a solution that show a landmark of the label set.

    >>> closed_set({"a": [1, 7], "b": [8], "c": []}, labels=[1, 2])
    {'a': [1, 7]}
    """
    known = set(labels)
    return {image_id: landmarks for image_id, landmarks in solution.items() if not known.isdisjoint(landmarks)}


def restrict(predictions: Predictions, solution: Solution) -> list[tuple[str, int | None, float]]:
    """Select the predictions, as triples, on the images of a solution: for scoring one split or the closed set.

    >>> restrict({"a": (1, 0.5), "b": None, "c": (2, 0.1)}, {"a": [1], "b": [2]})
    [('a', 1, 0.5), ('b', None, nan)]
    """
    if isinstance(predictions, Mapping):
        predictions = ((i, *(answer or (None, float("nan")))) for i, answer in predictions.items())
    return [triple for triple in predictions if triple[0] in solution]


def gap_against_distractors(predictions: Mapping, truth: Mapping, shares: Sequence[float]) -> list[float]:
    """Compute GAP as if distractors made up each of `shares` of the test set and scored as those at hand do.

    Each distractor counts `w = share / (1 - share) · queries / distractors` times in every rank below it:
    GAP(w) = (1/M) Σ_i rel(i) · (right ones so far) / (queries so far + w · distractors so far).

    Args:
        predictions: image id → (landmark_id, score).
        truth: image id → landmark ids, none for a distractor.
        shares: from 0 to 1; at 1, the limit, only right answers above all distractors count.

    Returns:
        GAP at each share; NaN for a share above 0 when no distractor is at hand.

    Raises:
        InputError: a share outside 0 to 1, or what `metrics` cannot score.

    >>> gap_against_distractors({"a": (1, 0.5), "d": (2, 0.9)}, {"a": [1], "d": []}, [0.0, 0.5, 0.75, 1.0])
    [1.0, 0.5, 0.25, 0.0]
    """
    shown = {landmark for landmarks in truth.values() for landmark in landmarks}
    ranked = Ranking(tabulate(predictions, truth, shown)).hits(np.ones((1, len(truth)), int))
    return [float(gap(ranked, share=share)[0]) for share in shares]


def answers_by_kind(predictions: Mapping, truth: Mapping, labels: LabelMap) -> dict[str, list[float]]:
    """Group the scores of right and wrong answers on the label set, of answers on unknown landmarks and distractors."""
    scores: dict[str, list[float]] = {"right": [], "wrong": [], "unknown": [], "distractor": []}
    for image_id, (landmark_id, score) in predictions.items():
        shown: Collection[int] = truth[image_id]
        kind = "distractor" if not shown else "unknown" if not any(x in labels for x in shown) else None
        scores[kind or ("right" if landmark_id in shown else "wrong")].append(score)
    return {kind: values for kind, values in scores.items() if values}
