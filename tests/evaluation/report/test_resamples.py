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


def test_pairs_are_those_of_the_plain_loop():
    """Fails when runs are not drawn in pairs, a sign is turned, a pair takes another's seed, or Holm counts the base.

    The last system has one run and shares no seed with the others: there means are compared.
    """
    rng, runs = np.random.default_rng(1), {"base": 3, "b": 3, "c": 3, "lone": 1}
    here, drawn = ({name: rng.random((rows, count)) for name, count in runs.items()} for rows in (1, 50))
    pairs = [("base", "base"), ("b", "base"), ("c", "b"), ("lone", "c")]
    found = resamples.compare_pairs(here, drawn, pairs, seed=[4, 5, 6, 7], level=0.8)
    chances = []
    for (a, b), seed, one in zip(pairs, (4, 5, 6, 7), found, strict=True):
        apart = []
        chosen = np.random.default_rng((seed, 3)).integers(3, size=(50, 3))
        for x, y, some in zip(drawn[a], drawn[b], chosen, strict=True):
            apart.append(sum(x[i] - y[i] for i in some) / 3 if len(x) == 3 else x[0] - sum(y) / 3)
        low, high = np.quantile(apart, [0.1, 0.9])
        value = sum(here[a][0]) / len(here[a][0]) - sum(here[b][0]) / len(here[b][0])
        assert one[:2] == (a, b) and one[2:5] == pytest.approx((value, low, high))
        chances.append(2 * (min(sum(d <= 0 for d in apart), sum(d >= 0 for d in apart)) + 1) / 51)
    assert [one.p for one in found[1:]] == pytest.approx(np.minimum(chances[1:], 1))
    assert [one.p_holm for one in found[1:]] == pytest.approx(resamples.holm([one.p for one in found[1:]]))
    assert np.isnan(found[0].p) and np.isnan(found[0].p_holm)
    assert resamples.compare_pairs(here, drawn, [("b", "base")], seed=5, level=0.8)[0][2:6] == found[1][2:6]
