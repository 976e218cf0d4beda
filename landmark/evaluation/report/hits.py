"""The right answers of a system and what ranks above each: all that GAP and its kin depend on.

A ranking is sorted once. For each resample, the copies of wrong answers are counted by running sums, and the sums are
read off at the right answers alone; on a real test set these are one in a hundred.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from landmark.evaluation.report.answers import Answers
from landmark.utils.errors import InputError


@dataclass(frozen=True)
class Hits:
    """The right answers of B resamples, best first, one entry for each copy; C copies in all.

    Args:
        row: (C,) the resample of each.
        number: (C,) 1, 2, ... within its resample.
        above: (3, C) wrong answers, unknown landmarks and distractors that rank above it; ties by the order of rows.
        upto: (3, C) the same with a score at least as high.
        lost: (3, B) the same with a higher score, ties half, added up over the right answers.
        tied: (2, C) answers with a higher score, and with the same one, itself included; None where no right answer
            ties with another kind.
        known: (C,) whether the label set has its landmark; None where it has all.
        known_right: (B,) how many of the right answers that are.
        answers: (4, B) right and wrong answers, those to unknown landmarks and to distractors.
        images: (3, B) images of the label set, unknown landmarks, distractors, answered or not.
    """

    row: np.ndarray
    number: np.ndarray
    above: np.ndarray
    upto: np.ndarray
    lost: np.ndarray
    tied: np.ndarray | None
    known: np.ndarray | None
    known_right: np.ndarray
    answers: np.ndarray
    images: np.ndarray

    def total(self, terms: np.ndarray) -> np.ndarray:
        """Sum terms of the right answers in each resample: (C,) → (B,)."""
        return _total(self.row, terms, self.answers.shape[1])


class Ranking:
    """A system's answers in scoring order, sorted once for any number of resamples.

    Args:
        answers: of the system.
        rows: (N,) bool, the images that count, such as those of one split; all when left out.
    """

    def __init__(self, answers: Answers, rows: np.ndarray | None = None):
        inside = np.ones(len(answers), bool) if rows is None else np.asarray(rows, bool)
        chosen = np.flatnonzero(inside & answers.answered)
        order = chosen[np.argsort(-answers.score[chosen], kind="stable")]
        part = np.where(answers.correct[order], 0, 1 + answers.kind[order])
        known = ~answers.outside[order[part == 0]]
        self._known = None if known.all() else known
        places = [np.flatnonzero(part == number) for number in range(4)]
        self._members = [order[place] for place in places]  # right, wrong, unknown, distractor: rows, best first
        self._silent = [np.flatnonzero(inside & ~answers.answered & (answers.kind == kind)) for kind in range(3)]
        falling = [-answers.score[member] for member in self._members]
        self._above = [np.searchsorted(place, places[0]) for place in places[1:]]
        self._higher = [np.searchsorted(values, falling[0], "left") for values in falling]
        self._upto = [np.searchsorted(values, falling[0], "right") for values in falling]
        self._ties = any((a != b).any() for a, b in zip(self._higher[1:], self._upto[1:], strict=True))

    def hits(self, counts: np.ndarray) -> Hits:
        """Find the right answers of resamples, and what ranks above them.

        Args:
            counts: (B, N) whole numbers, how often each image is there; ones for the test set as it is.
        """
        size, right = len(counts), len(self._members[0])
        copies = np.take(counts, self._members[0], axis=1)  # (B, right)
        flat, totals = copies.ravel(), copies.sum(axis=1)
        item = np.repeat(np.arange(right) if size == 1 else np.tile(np.arange(right), size), flat)
        row = np.repeat(np.arange(size), totals)
        number = np.arange(1, len(row) + 1) - np.repeat(np.cumsum(totals) - totals, totals)
        sums = [_running(counts, member) for member in self._members[1:]]

        def read(places: list[np.ndarray]) -> np.ndarray:
            return np.stack([_read(*pair, row, item) for pair in zip(sums, places, strict=True)])

        above = upto = lost = read(self._above)
        tied = None
        if self._ties:
            higher, upto = read(self._higher[1:]), read(self._upto[1:])
            lost = (higher + upto) / 2
            own = _running(counts, self._members[0])
            first, last = (_read(own, places[0], row, item) for places in (self._higher, self._upto))
            tied = np.stack([first + higher.sum(0), last - first + (upto - higher).sum(0)])
        answers = np.stack([totals, *(running[:, -1] for running in sums)])
        inside = totals if self._known is None else copies[:, self._known].sum(axis=1)
        images = np.stack([inside + answers[1], totals - inside + answers[2], answers[3]])
        images += np.stack([np.take(counts, rows, axis=1).sum(axis=1) for rows in self._silent])
        known = None if self._known is None else self._known[item]
        lost = np.stack([_total(row, terms, size) for terms in lost])
        return Hits(row, number, above, upto, lost, tied, known, inside, answers, images)


def _total(row: np.ndarray, terms: np.ndarray, size: int) -> np.ndarray:
    """Terms added up in each of `size` rows."""
    return np.array([terms.sum()]) if size == 1 else np.bincount(row, weights=terms, minlength=size)


def _running(counts: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Copies of the first 0, 1, ... members: (B, members + 1)."""
    sums = np.zeros((len(counts), len(members) + 1), np.int32)
    np.cumsum(np.take(counts, members, axis=1), axis=1, out=sums[:, 1:])
    return sums


def _read(sums: np.ndarray, places: np.ndarray, row: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Running sums at the place of each right answer."""
    if len(sums) == 1:
        return sums[0][places][item]
    return sums.ravel()[row * sums.shape[1] + places[item]]


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; NaN where the whole is zero.

    >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def gap(hits: Hits, *, closed: bool = False, share: float | None = None) -> np.ndarray:
    """Compute GAP = (1/M) Σ_c (right ones so far) / rank over the copies c of right answers: (B,).

    Closed, the rank counts known queries alone and M the images of the label set; else M counts all that show a
    landmark. With a share of distractors, each of them weighs w = share / (1 − share) · queries / distractors, as in
    `open_world.gap_against_distractors`.

    Args:
        hits: of `Ranking.hits`.
        closed: leave out unknown landmarks and distractors.
        share: of distractors among the images, 0 to 1; as it is when left out. At 1 they outnumber the queries without
            end: only right answers above all distractors count, the limit of the shares below.

    Returns:
        NaN without a query, or without a distractor that could be given a share above 0.

    Raises:
        InputError: a share outside 0 to 1.

    >>> one = Answers([0.9, 0.5, 0.7, 0.6], [True, True, False, False], [0, 0, 1, 2])
    >>> hits = Ranking(one).hits(np.ones((1, 4), int))
    >>> [round(float(x[0]), 3) for x in (gap(hits), gap(hits, closed=True), gap(hits, share=0.0), gap(hits, share=1))]
    [0.5, 1.0, 0.556, 0.333]

    Source: Weyand et al., Google Landmarks Dataset v2, CVPR 2020, section 4.2.
    """
    wrong, unknown, distractor = hits.above
    queries = hits.images[0] if closed else hits.images[0] + hits.images[1]
    number, misses = hits.number, wrong
    if closed and hits.known is not None:
        number = np.cumsum(hits.known) - (np.cumsum(hits.known_right) - hits.known_right)[hits.row]
        number = np.where(hits.known, number, 0)
        misses = np.where(hits.known, wrong, 1)
    if not closed:
        weight = np.ones(hits.images.shape[1]) if share is None else _weight(share, queries, hits.images[2])
        queries = np.where(np.isnan(weight), 0, queries)
        weights = weight[hits.row]
        misses = wrong + unknown + np.multiply(weights, distractor, where=distractor > 0, out=np.zeros(len(weights)))
    return ratio(hits.total(number / (number + misses)), queries)


def _weight(share: float, queries: np.ndarray, distractors: np.ndarray) -> np.ndarray:
    """What one distractor counts, of each resample, so that all make up a share."""
    if not 0 <= share <= 1:
        raise InputError(f"a share of distractors lies between 0 and 1, not at {share}")
    if share == 0:
        return np.zeros(len(queries))
    if share == 1:
        return np.where(distractors > 0, np.inf, np.nan)
    return share / (1 - share) * ratio(queries, distractors)


def top1(hits: Hits) -> np.ndarray:
    """Compute the share of the images with a landmark that are answered rightly, as `metrics.top1_accuracy`: (B,)."""
    return ratio(hits.answers[0].astype(float), hits.images[0] + hits.images[1])


@functools.lru_cache(2)
def harmonic(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum 1/1 + ... + 1/k for k = 0 ... size, and add up these sums below each k: h(k) and Σ_{j<k} h(j).

    >>> [values.round(2).tolist() for values in harmonic(2)]
    [[0.0, 1.0, 1.5], [0.0, 0.0, 1.0]]
    """
    sums = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, size + 1))])
    return sums, np.concatenate([[0.0], np.cumsum(sums[:-1])])
