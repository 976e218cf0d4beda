"""The common ground of every score: what one system answered to each image of a test set, as arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from landmark.evaluation.metrics import Predictions, Solution, check_predictions, check_solution
from landmark.utils.errors import InputError

KINDS = ("known", "unknown", "distractor")
"""Kinds of test images, by number: of the label set, of another landmark, of none."""


@dataclass(frozen=True)
class Answers:
    """One row for each image of a test set; answers with equal scores rank in the order of the rows.

    An unknown landmark may be answered rightly, by a system that knows more than the label set it is scored with: GAP
    and top-1 count it as right, the closed scores leave it out.

    Args:
        score: (N,) any numbers with an order; NaN where the system gave no answer.
        correct: (N,) whether the answer is right.
        kind: (N,) 0 for an image of the label set, 1 for an unknown landmark, 2 for a distractor, see `KINDS`.
        ids: (N,) names of the images, or empty.
        group: (N,) any label to tell the scores of parts apart by, such as the size of the landmark, or empty.

    Raises:
        InputError: columns of different lengths, a kind that is none, or a right answer where none can be.
    """

    score: np.ndarray
    correct: np.ndarray
    kind: np.ndarray
    ids: np.ndarray = field(default_factory=lambda: np.array([], str))
    group: np.ndarray = field(default_factory=lambda: np.array([], str))

    def __post_init__(self) -> None:
        for name, dtype in (("score", float), ("correct", bool), ("kind", np.int8), ("ids", object), ("group", str)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        lengths = {len(self.score), len(self.correct), len(self.kind)}
        lengths |= {len(column) for column in (self.ids, self.group) if len(column)}
        if len(lengths) > 1 or self.score.ndim != 1:
            raise InputError(f"the columns of the answers have different lengths: {sorted(lengths)}")
        if not np.isin(self.kind, range(len(KINDS))).all():
            raise InputError(f"a kind of image is 0, 1 or 2 ({', '.join(KINDS)}), not {sorted(set(self.kind))}")
        wrong = np.flatnonzero(self.correct & ((self.kind == 2) | np.isnan(self.score)))
        if len(wrong):
            where = self.ids[wrong[0]] if len(self.ids) else f"row {wrong[0]}"
            raise InputError(f"{where}: a right answer where none can be: there is no score, or no landmark")

    def __len__(self) -> int:
        return len(self.score)

    @property
    def answered(self) -> np.ndarray:
        """(N,) whether there is an answer."""
        return ~np.isnan(self.score)

    @property
    def outside(self) -> np.ndarray:
        """(N,) whether an unknown landmark is answered rightly."""
        return self.correct & (self.kind == 1)

    def images(self) -> dict[str, int]:
        """Count the images of each kind.

        >>> Answers([0.9, 0.1], [True, False], [0, 2]).images()
        {'known': 1, 'unknown': 0, 'distractor': 1}
        """
        return {name: int((self.kind == number).sum()) for number, name in enumerate(KINDS)}

    def ceiling(self) -> float:
        """Compute the best GAP that the label set allows: its share of the landmark queries; NaN without any.

        Whoever answers all known queries rightly and ranks them first has precision 1 at each, and M counts the
        unknown landmarks as well.

        >>> Answers([0.9, 0.1], [True, False], [0, 1]).ceiling()
        0.5
        """
        known, unknown, _ = self.images().values()
        return known / (known + unknown) if known + unknown else float("nan")


def tabulate(
    predictions: Predictions,
    solution: Solution,
    labels: Collection[int],
    *,
    groups: Mapping[str, object] | None = None,
    name: str = "the predictions",
) -> Answers:
    """Lay answers and truth side by side, sorted by image id: the order of ties in GAP.

    Args:
        predictions: one `(landmark_id, score)` or None per image, see `metrics`.
        solution: landmark ids of every image that is scored, none for a distractor.
        labels: landmark ids of the label set; a query of which none is shown is an unknown landmark.
        groups: image id → label of a part of the test set; "" where an image is not named.
        name: of the predictions, for errors.

    Raises:
        InputError: an id that is not in the solution, an id twice, a NaN score, or no image with a landmark.

    >>> table = tabulate({"a": (1, 0.9), "c": (1, 0.8)}, {"a": [1], "b": [7], "c": []}, labels=[1])
    >>> table.score.tolist(), table.correct.tolist(), table.kind.tolist()
    ([0.9, nan, 0.8], [True, False, False], [0, 1, 2])
    """
    try:
        truth = check_solution(solution)
        made = check_predictions(predictions, truth)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    ids, known = sorted(truth, key=str), frozenset(labels)
    kind = [2 if not truth[i] else 1 if known.isdisjoint(truth[i]) else 0 for i in ids]
    score = [made[i][1] if i in made else np.nan for i in ids]
    correct = [i in made and made[i][0] in truth[i] for i in ids]
    group = np.array([str(groups.get(i, "")) for i in ids]) if groups else np.array([], str)
    return Answers(np.array(score), np.array(correct), np.array(kind), np.array(ids, object), group)
