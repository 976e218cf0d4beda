"""The generated train table and the measurement on it."""

import numpy as np
import pytest

from landmark.course.bench import tables
from landmark.data.tables import read_train
from landmark.utils.errors import InputError


def test_the_long_tail():
    """Fails when the full table has not the shape of the real one, or a small one loses rows or landmarks."""
    sizes = tables.landmark_sizes(4_132_914, 203_094)
    large = sizes >= 100
    assert len(sizes) == 203_094 and sizes.min() >= 1 and 9_000 < sizes.max() < 11_000
    assert 6_000 < large.sum() < 7_000 and 1.1e6 < sizes[large].sum() < 1.35e6
    for rows, landmarks in [(1, 1), (7, 7), (1000, 50), (1000, 999)]:
        sizes = tables.landmark_sizes(rows, landmarks)
        assert sizes.sum() == rows and len(sizes) == landmarks and sizes.min() >= 1
    with pytest.raises(InputError, match="3 landmarks"):
        tables.landmark_sizes(2, 3)


def test_a_generated_table_is_sound(tmp_path, monkeypatch):
    """Fails when the rows do not follow from the seed, are refused, or are easier than real ones."""
    monkeypatch.setattr(tables, "_SLICE", 700)  # several slices
    one = tables.generate_train(tmp_path / "a.csv", 2000, 90, seed=1)
    two = tables.generate_train(tmp_path / "b.csv", 2000, 90, seed=1)
    assert one.read_bytes() == two.read_bytes()
    train = read_train(one)
    expected = tables.landmark_sizes(2000, 90)
    assert np.array_equal(train["landmark_id"].value_counts().to_numpy(), expected)
    assert train["id"].str.fullmatch("[0-9a-f]{16}").all() and train["url"].str.endswith(".jpg").all()
    assert train["url"].str.contains(",").any() and not train["landmark_id"].is_monotonic_increasing


def test_the_measurement():
    """Fails when a figure is missing, or the ways do not keep the same rows."""
    report = tables.bench_tables(rows=12_000, repeats=1, progress=False)
    assert report["rows"] == 12_000 and report["landmarks"] == 590 and report["repeats"] == 1
    assert 0 < report["kept_landmarks"] < 590 and report["kept_rows"] >= 100 * report["kept_landmarks"]
    for way in ("plain", "first", "later", "later_with_url"):
        assert report[f"{way}_seconds"] > 0 and report[f"{way}_spread"] == 0 and 0 < report[f"peak_{way}_gib"] < 1
    assert report["ratio_first"] == pytest.approx(report["first_seconds"] / report["plain_seconds"])
    assert report["ratio_later"] == pytest.approx(report["plain_seconds"] / report["later_seconds"])
