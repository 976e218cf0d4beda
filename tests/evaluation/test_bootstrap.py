"""The bootstrap, against GAP of repeated rows."""

import numpy as np
import pytest

from landmark.evaluation import bootstrap, metrics


def test_bootstrap_is_gap_of_repeated_rows():
    """Fails when the closed form for repeated images drifts from GAP of the rows written out."""
    rng = np.random.default_rng(1)
    solution = {f"{i:02}": [int(rng.integers(3))] if rng.random() < 0.6 else [] for i in range(30)}
    answers = {i: (int(rng.integers(3)), float(rng.integers(8))) for i in solution if rng.random() < 0.9}
    low, high = bootstrap.gap_bootstrap(answers, solution, n=40, seed=5)
    generator, gaps = np.random.default_rng(5), []
    ids = sorted(solution)
    for _ in range(40):
        draw = sorted(generator.integers(30, size=30).tolist())
        copies = [(f"{ids[k]}-{j:02}", ids[k]) for j, k in enumerate(draw)]
        gaps.append(
            metrics.global_average_precision(
                {c: answers[i] for c, i in copies if i in answers}, {c: solution[i] for c, i in copies}
            )
        )
    assert (low, high) == pytest.approx(tuple(np.quantile(gaps, [0.025, 0.975])))


def test_paired_bootstrap_cancels_shared_luck():
    """Fails when the two systems are resampled apart: a system against itself must differ by nothing."""
    solution = {str(i): [i % 3] for i in range(30)}
    answers = {str(i): (0, float(-i)) for i in range(30)}
    assert bootstrap.paired_gap_bootstrap(answers, answers, solution, n=20) == (0, 0, 0)
