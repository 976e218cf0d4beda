"""Resampled test sets: how often each image is drawn, shared by every score of every system, and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from landmark.utils.errors import InputError
from landmark.utils.process import usable_cpus

BLOCK = 1 << 18  # counts that are drawn, and scored, at a time: a few MB, which stay in the chip's cache


class Interval(NamedTuple):
    """A score of the test set as it is, and the bounds that resampled ones fall between."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A score of `a` less that of `b` on shared resamples; `p_holm` is corrected for all pairs of its table."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def rows_by_kind(kind: np.ndarray) -> list[np.ndarray]:
    """List the rows of each kind that is there."""
    return [np.flatnonzero(kind == value) for value in np.unique(kind)]


def draw_counts(strata: Sequence[np.ndarray], first: int, last: int, seed: int = 0) -> np.ndarray:
    """Draw resamples of a test set with replacement, each kind of image for itself, as counts of the images.

    Drawn within the kinds, a resample has as many known queries, unknown landmarks and distractors as the test set:
    their shares are a choice of whoever made it, not luck. Each resample has random numbers of its own, so that it is
    the same whichever others are drawn with it.

    Args:
        strata: rows of each kind of image, all N rows in all, see `rows_by_kind`.
        first, last: resamples `first` to `last - 1` of the seed.
        seed: of all resamples.

    Returns:
        (last - first, N) int32, how often each image was drawn.

    >>> counts = draw_counts(rows_by_kind(np.array([0, 0, 0, 2, 2])), 0, 3)
    >>> counts[:, :3].sum(1).tolist(), counts[:, 3:].sum(1).tolist()
    ([3, 3, 3], [2, 2, 2])

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8.3 and 13.
    """
    counts = np.zeros((last - first, sum(map(len, strata))), np.int32)
    for row, number in zip(counts, range(first, last), strict=True):
        generator = np.random.default_rng((seed, number))
        for members in strata:
            drawn = generator.integers(len(members), size=len(members))
            row[members] = np.bincount(drawn, minlength=len(members))
    return counts


def resample(
    kind: np.ndarray, measure: Callable[[np.ndarray], Mapping[str, np.ndarray]], n: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Measure scores on n resamples of a test set, in blocks, on all CPUs.

    Args:
        kind: (N,) number of each image's kind.
        measure: counts (B, N) → name of a score → its values (B, ...).
        n: resamples.
        seed: of the resamples.

    Returns:
        Name of a score → its values (n, ...).

    Raises:
        InputError: fewer than one resample.
    """
    if n < 1:
        raise InputError(f"a bootstrap needs at least one resample, not n={n}")
    strata = rows_by_kind(kind)
    step = max(1, min(BLOCK // max(len(kind), 1), -(-n // usable_cpus())))

    def block(first: int) -> Mapping[str, np.ndarray]:
        return measure(draw_counts(strata, first, min(first + step, n), seed))

    with ThreadPoolExecutor(usable_cpus()) as pool:
        parts = list(pool.map(block, range(0, n, step)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(value: float, resampled: np.ndarray, level: float = 0.95) -> Interval:
    """Put the percentile interval of resampled values around a value.

    Resamples in which the score is not defined are left out; NaN where it never is, or the value itself is not.

    >>> interval(0.5, np.array([0.0, 0.25, 0.5, 0.75, 1.0]), level=0.5)
    Interval(value=0.5, low=0.25, high=0.75)
    """
    if not 0 < level < 1:
        raise InputError(f"the level of an interval lies between 0 and 1, not at {level}")
    defined = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(defined):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def over_seeds(resampled: np.ndarray, seed: int | Sequence[int] = 0) -> np.ndarray:
    """Resample training seeds beside images: the mean score of as many runs, drawn with replacement, of each resample.

    Args:
        resampled: (n, S) a score of S runs that differ in their seed, on the same n resamples of the images.
        seed: of the draw; two systems are drawn apart, as their seeds have nothing in common.

    Returns:
        (n,) the mean over the runs drawn; of one run alone its own values, which say nothing about seeds.

    >>> over_seeds(np.array([[0.1, 0.1], [0.3, 0.3]])).tolist()
    [0.1, 0.3]

    Source: Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021, section 3.
    """
    n, runs = resampled.shape
    drawn = np.random.default_rng((*np.atleast_1d(seed).tolist(), runs)).integers(runs, size=(n, runs))
    return np.take_along_axis(resampled, drawn, axis=1).mean(axis=1)


def two_sided(differences: np.ndarray) -> float:
    """Compute how often resampled differences lie beyond zero, on the rarer side and twice: a bootstrap p-value.

    It cannot fall below 2 / (n + 1). NaN where no difference is defined.

    >>> two_sided(np.array([0.1, 0.2, 0.3, -0.1, 0.2, 0.1, 0.3, 0.2, 0.1]))
    0.4

    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.4.
    """
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return float("nan")
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several comparisons by Holm's step-down rule: p̃_(i) = max_{j≤i} min(1, (m − j + 1) p_(j)).

    Whoever looks at twenty differences finds one beyond its 95 % interval by luck. Comparisons with a corrected value
    under 0.05 hold together, with a chance of at most 5 % that any of them is luck. NaN stays NaN and does not count.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics, 1979.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN sorts last
    corrected = p.copy()
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected.tolist()


def compare_pairs(
    here: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]], *,
    seed: int | Sequence[int] = 0, level: float = 0.95,
) -> list[Difference]:  # fmt: skip
    """Compare systems on shared resamples of the images: the mean difference over their runs, with interval and chance.

    The i-th runs of two systems belong together, and are drawn together, because they share a training seed. Of systems
    with different numbers of runs the means are compared.

    Args:
        here: system → (1, S), a score of its S runs on the test set as it is.
        drawn: system → (n, S), the same on n resamples that all systems share.
        pairs: names of two systems; of one with itself p is NaN, and does not count in the correction.
        seed: of the draws of runs: one for all pairs, or one for each.
        level: of the intervals.

    >>> scores = {"a": np.array([[0.5]]), "b": np.array([[0.25]])}
    >>> compare_pairs(scores, {name: np.repeat(score, 19, 0) for name, score in scores.items()}, [("a", "b")])
    [Difference(a='a', b='b', difference=0.25, low=0.25, high=0.25, p=0.1, p_holm=0.1)]

    Source: Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021, section 3.
    """
    seeds = np.broadcast_to(seed, len(pairs)).tolist()
    apart = [over_seeds(_less(drawn[a], drawn[b]), number) for (a, b), number in zip(pairs, seeds, strict=True)]
    chances = [float("nan") if a == b else two_sided(some) for (a, b), some in zip(pairs, apart, strict=True)]
    bounds = [interval(float(_less(here[a], here[b]).mean()), some, level)
              for (a, b), some in zip(pairs, apart, strict=True)]  # fmt: skip
    return [Difference(a, b, *bound, p, corrected)
            for (a, b), bound, p, corrected in zip(pairs, bounds, chances, holm(chances), strict=True)]  # fmt: skip


def _less(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Subtract scores (n, S) run by run; of different numbers of runs the means, (n, 1)."""
    return a - b if a.shape == b.shape else a.mean(1, keepdims=True) - b.mean(1, keepdims=True)
