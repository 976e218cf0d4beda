"""The bootstrap, against GAP of repeated rows."""

import numpy as np
import pytest

from landmark.evaluation import bootstrap, metrics
from landmark.utils.errors import InputError


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


@pytest.mark.parametrize(
    ("settings", "words"), [({"n": 0}, "n=0"), ({"level": 1.0}, "1.0"), ({"level": float("nan")}, "nan")]
)
def test_what_no_bootstrap_can_be_is_told_in_one_line(settings, words):
    """Fails when a wrong number of resamples or level is a plain ValueError, which the command shows as a fault."""
    solution, answers = {"a": [1], "b": []}, {"a": (1, 0.5)}
    for call in (
        lambda: bootstrap.gap_bootstrap(answers, solution, **settings),
        lambda: bootstrap.paired_gap_bootstrap(answers, answers, solution, **settings),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_resamples_without_a_landmark():
    """Fails when a single landmark query among many distractors ends in an empty array, and not in a line."""
    solution = {"a": [1]} | {f"d{i}": [] for i in range(300)}
    with pytest.raises(InputError, match="draw more"):
        for seed in range(20):  # most resamples of one lack it
            bootstrap.gap_bootstrap({"a": (1, 0.5)}, solution, n=1, seed=seed)
