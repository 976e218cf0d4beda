"""The benchmark of the check: rates of a clock that ticks, images that are all read."""

import itertools
from types import SimpleNamespace

import pytest

from landmark.course.bench import check
from landmark.course.bench.check import bench_check


def test_rates_are_images_by_seconds_of_the_median(monkeypatch):
    """Fails when a rate is seconds by images, a repeat is lost, or the folder's time is told for the TAR's."""
    ticks = itertools.accumulate(itertools.cycle([0, 2, 0, 3]))  # folder: 2 s, TAR: 3 s
    monkeypatch.setattr(check, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    report = bench_check(images=12, size=48, repeats=2)
    assert (report["folder_seconds"], report["tar_seconds"]) == ([2, 2], [3, 3])
    assert (report["folder"], report["tar"]) == (6, 4)
    sizes = [len(data) for _, data in check._pictures(12, 48)]
    assert report["bytes"] == sum(sizes) // 12


def test_images_that_are_not_read_end_the_benchmark(monkeypatch):
    """Fails when a check that passes images over is taken for a fast one."""
    monkeypatch.setattr(check, "check_data", lambda root, progress: SimpleNamespace(images={"train": 11}))
    with pytest.raises(RuntimeError, match="of 12 images"):
        bench_check(images=12, size=48, repeats=1)
