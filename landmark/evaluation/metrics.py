"""Scores of landmark recognition and retrieval, with their uncertainty. NumPy only.

Two words are used throughout. `predictions` maps an image id to `(landmark_id, score)`, or to None for no prediction;
an iterable of `(id, landmark_id, score)` with None, NaN or pandas.NA as landmark id for no prediction will do as well.
`solution` maps every image id of the split that is scored to a collection of landmark ids: empty for a distractor,
several when several answers are right. Whatever cannot be scored raises an InputError that names up to five ids.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from landmark.utils.errors import InputError

Prediction = tuple[int, float] | None
Predictions = Mapping[str, Prediction] | Iterable[tuple[str, int | None, float]]
Solution = Mapping[str, Collection[int]]


def _refuse(ids: Collection[Hashable], problem: str) -> None:
    """Raise an InputError that names at most five of `ids`, if there are any."""
    if ids:
        more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        raise InputError(f"{problem}: {', '.join(repr(i) for i in sorted(ids, key=str)[:5])}{more}")


def _missing(value: Any) -> bool:
    """Tell whether a value says "no prediction": None, NaN or pandas.NA."""
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)


def check_solution(solution: Solution) -> dict[str, frozenset[int]]:
    """Turn a solution into sets of integers, image by image; without a single landmark no score is defined.

    Raises:
        InputError: landmark ids that are no integers, or no image with a landmark.

    >>> check_solution({"a": [1, 1], "b": []})
    {'a': frozenset({1}), 'b': frozenset()}
    """
    truth: dict[str, frozenset[int]] = {}
    malformed = []
    for image_id, landmarks in solution.items():
        try:
            truth[image_id] = frozenset(operator.index(landmark) for landmark in landmarks)
        except TypeError:
            malformed.append(image_id)
    _refuse(malformed, "the solution must list integer landmark ids for each image; it does not for")
    if not any(truth.values()):
        raise InputError("no image of the solution shows a landmark, so no score is defined: check the split")
    return truth


def check_predictions(predictions: Predictions, truth: Mapping[str, frozenset[int]]) -> dict[str, tuple[int, float]]:
    """Select the predictions that were made: a known id, only once, an integer label, a score with an order.

    Args:
        predictions: one `(landmark_id, score)` or None per image.
        truth: of `check_solution`.

    Raises:
        InputError: an unknown id, an id twice, a NaN score, or a label that is no integer.

    >>> check_predictions({"a": (1, 1), "b": None}, {"a": frozenset(), "b": frozenset()})
    {'a': (1, 1.0)}
    """
    mapping = isinstance(predictions, Mapping)
    entries: Iterable[Any] = predictions.items() if isinstance(predictions, Mapping) else predictions
    checked: dict[str, tuple[int, float]] = {}
    ids: set[Any] = set()
    duplicate: set[Any] = set()
    unknown, malformed, nan = set(), set(), set()
    for entry in entries:
        try:
            image_id, answer = entry if mapping else (entry[0], (entry[1], entry[2]))
            (duplicate if image_id in ids else ids).add(image_id)
            if image_id not in truth:
                unknown.add(image_id)
            if answer is None or _missing(answer[0]):
                continue
            landmark_id, score = answer
            checked[image_id] = int(np.int64(operator.index(landmark_id))), float(score)
            if checked[image_id][1] != checked[image_id][1]:
                nan.add(image_id)
        except (TypeError, ValueError, IndexError, OverflowError):
            malformed.add(entry[0] if isinstance(entry, tuple) and entry else entry)
    _refuse(malformed, "a prediction is an id with an integer landmark id and a score, or with None; it is not for")
    _refuse(duplicate, "more than one prediction for")
    _refuse(unknown, "predictions for images that are not in the solution (restrict() drops them)")
    _refuse(nan, "the score is NaN, which has no place in a ranking, for")
    return checked


class _Ranking(NamedTuple):
    """Predictions in scoring order, and M, the number of images that show a landmark."""

    rows: list[tuple[str, int, float]]
    correct: np.ndarray  # (N,) bool
    positives: int

    def gap(self) -> float:
        hits, ranks = np.cumsum(self.correct), np.arange(1, len(self.rows) + 1)
        return float(np.sum(self.correct * hits / ranks) / self.positives)


def _rank(answers: Mapping[str, tuple[int, float]], truth: Mapping[str, frozenset[int]], ignore: bool) -> _Ranking:
    rows = [(i, *answers[i]) for i in answers if truth[i] or not ignore]
    rows.sort(key=lambda row: (-row[2], str(row[0]), row[1]))
    correct = np.array([landmark_id in truth[i] for i, landmark_id, _ in rows], dtype=bool)
    return _Ranking(rows, correct, sum(map(bool, truth.values())))


def _checked_rank(predictions: Predictions, solution: Solution, ignore: bool) -> _Ranking:
    truth = check_solution(solution)
    return _rank(check_predictions(predictions, truth), truth, ignore)


def global_average_precision(
    predictions: Predictions, solution: Solution, *, ignore_distractors: bool = False
) -> float:
    """Compute Global Average Precision (micro-AP) as the organisers of Google Landmarks do.

    GAP = 1/M Σ_r P(r) · rel(r), where r runs over all predictions by score ↓, image id ↑ (as a string), landmark id ↑;
    rel(r) is 1 if the r-th is right and P(r) is the share of right ones among the first r; M counts the images with a
    landmark, predicted or not. An image without a prediction takes no rank, so abstaining on a distractor is free.

    Args:
        predictions: one `(landmark_id, score)` or None per image; only the order of the scores matters, ±inf included.
        solution: landmark ids of every image of the split (and of no other split: M, ranks and ties are its own).
        ignore_distractors: skip predictions on images without a landmark.

    Returns:
        A number in [0, 1].

    Raises:
        InputError: no image with a landmark, an unknown id, an id twice, a NaN score, or a label that is no integer.

    >>> solution = {"01": [0, 12], "02": [100, 200, 300], "03": [1], "04": [], "05": []}
    >>> predictions = {"02": (0, 0.01), "03": (1, 10.0), "04": (150, 15.0)}
    >>> round(global_average_precision(predictions, solution), 4)
    0.1667
    >>> round(global_average_precision(predictions, solution, ignore_distractors=True), 4)
    0.3333

    Source: Perronnin et al., CVPR 2009; Weyand et al., Google Landmarks Dataset v2, CVPR 2020, section 4.2.
    """
    return _checked_rank(predictions, solution, ignore_distractors).gap()


def top1_accuracy(predictions: Predictions, solution: Solution) -> float:
    """Compute the share of images with a landmark whose prediction is one of theirs; distractors do not count.

    >>> top1_accuracy({"a": (1, 0.5), "c": (9, 0.9)}, {"a": [1, 2], "b": [3], "c": []})
    0.5
    """
    ranking = _checked_rank(predictions, solution, True)
    return float(ranking.correct.sum() / ranking.positives)


def score_summary(predictions: Predictions, solution: Solution) -> dict[str, float | int]:
    """Compute all recognition scores of one submission, with the counts they rest on.

    >>> score_summary({"a": (1, 0.5), "c": (9, 0.9)}, {"a": [1], "b": [3], "c": []})["gap_ignoring_distractors"]
    0.5
    """
    truth = check_solution(solution)
    answers = check_predictions(predictions, truth)
    ranking, closed = _rank(answers, truth, False), _rank(answers, truth, True)
    return {
        "gap": ranking.gap(),
        "gap_ignoring_distractors": closed.gap(),
        "top1": float(closed.correct.sum() / closed.positives),
        "queries": len(truth),
        "landmark_queries": ranking.positives,
        "predictions": len(answers),
    }


def gap_steps(predictions: Predictions, solution: Solution, *, ignore_distractors: bool = False) -> np.ndarray:
    """Compute GAP step by step: an array with a row per ranked prediction, for tables and precision-recall curves.

    Fields: rank (from 1), id, landmark_id, score, correct, precision = hits / rank, recall = hits / M,
    contribution = correct · precision / M, and gap, the running sum of the contributions (its last value is GAP).

    >>> steps = gap_steps({"a": (1, 0.5), "c": (9, 0.9)}, {"a": [1], "b": [3], "c": []})
    >>> steps[["id", "precision", "gap"]].tolist()
    [('c', 0.0, 0.0), ('a', 0.5, 0.25)]
    """
    rows, correct, positives = _checked_rank(predictions, solution, ignore_distractors)
    rank, hits = np.arange(1, len(rows) + 1), np.cumsum(correct)
    width = max((len(str(row[0])) for row in rows), default=1)
    kinds = {"rank": "i8", "id": f"U{width}", "landmark_id": "i8", "score": "f8", "correct": "?"}
    kinds |= dict.fromkeys(("precision", "recall", "contribution", "gap"), "f8")
    steps = np.empty(len(rows), dtype=list(kinds.items()))
    for column, name in enumerate(("id", "landmark_id", "score")):
        steps[name] = [row[column] for row in rows]
    steps["rank"], steps["correct"] = rank, correct
    steps["precision"], steps["recall"] = hits / rank, hits / positives
    steps["contribution"] = correct * steps["precision"] / positives
    steps["gap"] = np.cumsum(steps["contribution"])
    return steps


def mean_average_precision(
    predictions: Mapping[str, Sequence[str]], relevant: Mapping[str, Collection[str]], k: int = 100
) -> float:
    """Compute Mean Average Precision at k of the retrieval track: a ranking of index images for each query.

    mAP@k = mean over queries q of 1 / min(m_q, k) Σ_{r=1..min(n_q, k)} P_q(r) · rel_q(r), where m_q index images show
    the landmark of q, n_q were returned, rel_q(r) says whether the r-th does, and P_q(r) = right ones so far / r.
    A query without any relevant index image stays out of the mean; one without a ranking counts 0.

    Raises:
        InputError: no query with a relevant image, an unknown query, an index image twice in a ranking, or k < 1.

    >>> round(mean_average_precision({"q": ["a", "x", "b"]}, {"q": {"a", "b"}, "r": {"c"}, "s": set()}), 4)
    0.4167

    Source: Weyand et al., Google Landmarks Dataset v2, CVPR 2020, section 4.2.
    """
    if k < 1:
        raise InputError(f"mean average precision needs k of at least 1, not {k}")
    _refuse(predictions.keys() - relevant.keys(), "rankings for unknown queries")
    _refuse([q for q, r in predictions.items() if len(set(r)) < len(r)], "an index image twice in the ranking of")
    wanted = {query: set(images) for query, images in relevant.items() if len(images)}
    if not wanted:
        raise InputError("no query has a relevant index image, so mean average precision is not defined")
    total = 0.0
    for query, images in wanted.items():
        hits = np.array([image in images for image in predictions.get(query, ())[:k]], dtype=bool)
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        total += precision[hits].sum() / min(len(images), k)
    return float(total / len(wanted))


def auroc(scores_positive: Sequence[float], scores_negative: Sequence[float]) -> float:
    """Compute the chance that a positive outscores a negative, ties half: P(s⁺ > s⁻) + P(s⁺ = s⁻) / 2.

    >>> auroc([0.9, 0.5], [0.5, 0.1])
    0.875
    """
    positive, negative = (np.asarray(scores, dtype=float).ravel() for scores in (scores_positive, scores_negative))
    if not positive.size or not negative.size or np.isnan(positive).any() or np.isnan(negative).any():
        raise InputError("AUROC needs at least one score on either side, and none of them NaN")
    negative = np.sort(negative)
    below, upto = (np.searchsorted(negative, positive, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * negative.size))
