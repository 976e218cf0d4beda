"""How well a score tells right answers from the others: AUROC, false positives at a recall, OSCR."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.hits import Hits, ratio

OTHERS = ("wrong", "unknown", "distractor")
"""What is not a right answer: a wrong one to a known query, and any to an unknown landmark or a distractor."""


def auroc(hits: Hits, against: Collection[str] = OTHERS) -> np.ndarray:
    """Compute the chance that a right answer outscores another one, ties half: (B,); NaN where either is missing.

    Args:
        hits: of `Ranking.hits`.
        against: which of `OTHERS` the right answers are set against.

    >>> from landmark.evaluation.report.hits import Ranking
    >>> table = Answers([0.9, 0.5, 0.5, 0.7], [True, True, False, False], [0, 0, 0, 2])
    >>> hits = Ranking(table).hits(np.ones((1, 4), int))
    >>> [float(auroc(hits, [other])[0]) for other in ("wrong", "distractor")]
    [0.75, 0.5]
    """
    rows = [OTHERS.index(other) for other in against]
    others = hits.answers[1:][rows].sum(axis=0)
    pairs = hits.answers[0] * others.astype(float)
    return 1 - ratio(hits.lost[rows].sum(axis=0), pairs)


def false_positives(hits: Hits, recall: float = 0.95, against: Collection[str] = OTHERS) -> np.ndarray:
    """Compute the share of the others that score no lower than the best `recall` of the right answers: (B,).

    The threshold is the highest that lets so many right answers pass. NaN where either side is missing.

    >>> from landmark.evaluation.report.hits import Ranking
    >>> table = Answers([0.9, 0.5, 0.4, 0.7], [True, True, False, False], [0, 0, 0, 2])
    >>> float(false_positives(Ranking(table).hits(np.ones((1, 4), int)))[0])
    0.5
    """
    rows = [OTHERS.index(other) for other in against]
    right, others = hits.answers[0], hits.answers[1:][rows].sum(axis=0)
    if not len(hits.row):
        return np.full(len(right), np.nan)
    place = np.cumsum(right) - right + np.ceil(recall * right - 1e-9).astype(int) - 1
    passed = hits.upto[rows][:, np.clip(place, 0, len(hits.row) - 1)].sum(axis=0)
    return ratio(np.where(right > 0, passed, np.nan), others)


def oscr_area(hits: Hits, against: Collection[str] = ("unknown", "distractor")) -> np.ndarray:
    """Compute the area under the OSCR curve, see `oscr`: (B,): AUROC times the accuracy on known queries.

    NaN without a known query or an image to refuse that was answered.
    """
    area = auroc(hits, against) * ratio(hits.known_right.astype(float), hits.images[0])
    others = hits.answers[1:][[OTHERS.index(other) for other in against]].sum(axis=0)
    return np.where((hits.known_right == 0) & (hits.images[0] > 0) & (others > 0), 0.0, area)


def oscr(answers: Answers, against: Collection[str] = ("unknown", "distractor")) -> tuple[np.ndarray, np.ndarray]:
    """Trace the open-set classification rate: what is answered rightly against what should have been refused.

    For each threshold t: CCR(t) = share of the known queries answered rightly with a score of at least t; FPR(t) =
    share of the answers to the images of `against` with a score of at least t.

    Args:
        answers: of a system.
        against: "unknown", "distractor", or both.

    Returns:
        FPR and CCR, each (T,) ascending from 0; NaN where there is nothing to count.

    >>> [curve.tolist() for curve in oscr(Answers([0.9, 0.5, 0.7], [True, True, False], [0, 0, 1]))]
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0]]

    Source: Dhamija et al., Reducing Network Agnostophobia, NeurIPS 2018, section 4.
    """
    refused = np.isin(answers.kind, [OTHERS.index(other) for other in against]) & answers.answered & ~answers.correct
    made = np.flatnonzero(answers.answered)
    order = made[np.argsort(-answers.score[made], kind="stable")]
    last = np.flatnonzero(np.diff(answers.score[order], append=np.nan) != 0)  # of each group of equal scores
    curves, known = [], answers.kind == 0
    for part, whole in ((refused, refused.sum()), (answers.correct & known, known.sum())):
        counted = np.concatenate([[0], np.cumsum(part[order])[last]])
        curves.append(ratio(counted.astype(float), np.full(len(counted), whole)))
    return curves[0], curves[1]
