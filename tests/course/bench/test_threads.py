"""The benchmark of waiting threads measures what it says."""

import psutil
import pytest

from landmark.course.bench import threads
from landmark.utils import process


def test_bench_threads(monkeypatch):
    """Fails when a figure is missing, a side works with the other's settings, or a process stays behind."""
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    assert "GOMP_SPINCOUNT" in process.WAITING
    found = threads.bench_threads(size=32, batch_size=2, steps=1, repeats=1)
    for kind in ("quiet", "busy"):
        rates = [found[side]["images_per_second"][kind]["high"] for side in ("ours", "plain")]
        assert min(rates) > 0 and found[f"ratio_{kind}"] == pytest.approx(rates[0] / rates[1], rel=1e-2)
        assert found["ratio_spread"][kind]["low"] == found["ratio_spread"][kind]["high"]
    assert found["ours"]["threads"] == found["plain"]["threads"]
    assert not [
        p for p in psutil.Process().children(recursive=True) if "landmark.course.bench.threads" in str(p.cmdline())
    ]


def test_numbers_below_one():
    """Fails when no steps are measured and divided by."""
    with pytest.raises(ValueError, match="steps=0"):
        threads.bench_threads(steps=0)
