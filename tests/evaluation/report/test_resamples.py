"""Resamples and what is read off them, against cases worked by hand and the theory."""

import numpy as np
import pytest

from landmark.evaluation.report import resamples
from landmark.utils.errors import InputError

KIND = np.array([2, 0, 1, 0, 2, 2, 0, 1])


def test_each_kind_is_drawn_for_itself(monkeypatch):
    """Fails when strata mix, when an image is never drawn, or when blocks and threads change the draw."""
    found = resamples.resample(KIND, lambda counts: {"counts": counts}, 200, seed=3)["counts"]
    for kind in range(3):
        assert (found[:, KIND == kind].sum(axis=1) == (KIND == kind).sum()).all()
    assert found.mean(axis=0) == pytest.approx(np.ones(8), abs=0.25) and len({row.tobytes() for row in found}) > 50
    monkeypatch.setattr(resamples, "BLOCK", 1)
    monkeypatch.setattr(resamples, "usable_cpus", lambda: 3)
    assert (resamples.resample(KIND, lambda counts: {"counts": counts}, 200, seed=3)["counts"] == found).all()
    with pytest.raises(InputError, match="n=0"):
        resamples.resample(KIND, lambda counts: {"counts": counts}, 0)


def test_the_interval_of_a_mean_is_the_one_of_theory():
    """Fails when the spread of stratified means is that of unstratified ones: 1.96 √(Σ within-variance) / N."""
    values, kind = np.concatenate([np.arange(100) % 2, np.arange(100) % 2 + 10.0]), np.repeat([0, 2], 100)
    means = resamples.resample(kind, lambda counts: {"mean": counts @ values / 200}, 2000)["mean"]
    low, high = resamples.interval(values.mean(), means)[1:]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.25 / 200), rel=0.08)


def test_undefined_resamples():
    """Fails when a resample without a score poisons the interval, or an undefined value gets one."""
    assert resamples.interval(0.5, np.array([0.4, np.nan, 0.6]), 0.5)[1:] == pytest.approx((0.45, 0.55))
    assert np.isnan(resamples.interval(np.nan, np.array([0.4]))).all()
    assert np.isnan(resamples.interval(0.5, np.array([np.nan]))[1])
    assert np.isnan(resamples.two_sided(np.array([np.nan])))
    with pytest.raises(InputError, match="level"):
        resamples.interval(0.5, np.array([0.5]), 1.0)


def test_holm_by_hand():
    """Fails when the factors rise instead of fall, a later one falls below an earlier, or NaN counts."""
    assert resamples.holm([0.025, 0.001, 0.02, float("nan"), 0.9])[:3] == pytest.approx([0.06, 0.004, 0.06])
    assert np.isnan(resamples.holm([0.1, float("nan")])[1]) and resamples.holm([]) == []


def test_seeds_widen_an_interval():
    """Fails when seeds are averaged without being drawn: three runs at 0, 1 and 2 spread by √(2/3 / 3)."""
    drawn = resamples.over_seeds(np.tile([0.0, 1.0, 2.0], (20_000, 1)))
    assert drawn.mean() == pytest.approx(1, abs=0.02) and drawn.std() == pytest.approx(np.sqrt(2 / 9), rel=0.03)
