"""The benchmark of the check measures what it says."""

from landmark.course.bench.check import bench_check


def test_bench_check():
    """Fails when the generated images are not all read, or a figure is missing."""
    found = bench_check(images=12, size=48, repeats=2)
    assert found["images"] == 12 and found["size"] == 48 and found["folder"] > 0 and found["tar"] > 0
    assert len(found["folder_seconds"]) == len(found["tar_seconds"]) == 2
