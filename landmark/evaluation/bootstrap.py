"""Intervals of GAP, and of the difference of two models, from resampled test sets. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from landmark.evaluation.metrics import Predictions, Solution, global_average_precision
from landmark.evaluation.report.answers import tabulate
from landmark.evaluation.report.hits import Ranking, gap
from landmark.evaluation.report.resamples import interval
from landmark.utils.errors import InputError


def _resampled_gaps(systems: Sequence[Predictions], solution: Solution, n: int, seed: int, ignore: bool) -> np.ndarray:
    """Compute the GAP of each system on the same n resamples of the images with replacement, (resamples, systems).

    The copies of an image share score and id, so they stand side by side in the ranking. A resample in which no image
    shows a landmark has no GAP and is left out.
    """
    if n < 1:
        raise InputError(f"a bootstrap needs at least one resample, not n={n}")
    shown = {landmark for landmarks in solution.values() for landmark in landmarks}
    rankings = [Ranking(tabulate(system, solution, shown)) for system in systems]
    generator, images = np.random.default_rng(seed), len(solution)
    gaps: list[list[float]] = []
    for _ in range(n):
        counts = np.bincount(generator.integers(images, size=images), minlength=images)[None]
        gaps.append([gap(ranking.hits(counts), share=0.0 if ignore else None)[0] for ranking in rankings])
    defined = np.array(gaps)[~np.isnan(gaps).any(axis=1)]
    if not len(defined):
        raise InputError(f"none of n={n} resamples holds an image with a landmark: draw more")
    return defined


def gap_bootstrap(
    predictions: Predictions,
    solution: Solution,
    n: int = 1000,
    *,
    level: float = 0.95,
    seed: int = 0,
    ignore_distractors: bool = False,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of GAP: how far a resampled test set of this kind could fall.

    Args:
        predictions, solution, ignore_distractors: as for `global_average_precision`.
        n: resamples, each of as many images as the solution has, drawn with replacement (one without any landmark
            has no GAP and is left out).
        level: the share of the resamples inside the interval.
        seed: same seed, same interval, in whatever order the images come.

    Returns:
        (low, high).

    Raises:
        InputError: no resample asked for, a level outside 0 to 1, or what `metrics` cannot score.

    >>> solution = {str(i): [1] for i in range(100)}
    >>> predictions = {str(i): (1 + (i % 4 == 0), float(i)) for i in range(100)}
    >>> low, high = gap_bootstrap(predictions, solution, n=200)
    >>> low < global_average_precision(predictions, solution) < high
    True

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    gaps = _resampled_gaps([predictions], solution, n, seed, ignore_distractors)[:, 0]
    return interval(gaps.mean(), gaps, level)[1:]


def paired_gap_bootstrap(
    a: Predictions,
    b: Predictions,
    solution: Solution,
    n: int = 1000,
    *,
    level: float = 0.95,
    seed: int = 0,
    ignore_distractors: bool = False,
) -> tuple[float, float, float]:
    """Compute GAP(a) - GAP(b) and its bootstrap interval on shared resamples: (difference, low, high).

    Two systems share the luck of the draw, so this interval is narrower than two separate ones suggest.

    Raises:
        InputError: as of `gap_bootstrap`.

    >>> solution = {"x": [1], "y": [2], "z": []}
    >>> paired_gap_bootstrap({"x": (1, 0.9)}, {"x": (1, 0.2)}, solution, n=50)
    (0.0, 0.0, 0.0)
    """
    a, b = (p if isinstance(p, Mapping) else list(p) for p in (a, b))
    of_a, of_b = (global_average_precision(p, solution, ignore_distractors=ignore_distractors) for p in (a, b))
    gaps = _resampled_gaps([a, b], solution, n, seed, ignore_distractors)
    difference, low, high = interval(of_a - of_b, gaps[:, 0] - gaps[:, 1], level)
    return difference, low, high
