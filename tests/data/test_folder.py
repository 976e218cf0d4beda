"""Labels, and a folder that is not there."""

import pytest

from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.utils.errors import InputError


def test_label_map(tmp_path):
    """Fails when class indices depend on the order of the table, or a damaged file is read."""
    labels = LabelMap([30, 10, 20, 10])
    assert [labels.to_index(i) for i in (10, 20, 30, 99)] == [0, 1, 2, -1] and labels.to_landmark(2) == 30
    labels.save(tmp_path / "labels.json")
    assert LabelMap.load(tmp_path / "labels.json").landmark_ids == [10, 20, 30]
    (tmp_path / "labels.json").write_text('{"landmark_ids": 7')
    with pytest.raises(InputError, match="labels.json"):
        LabelMap.load(tmp_path / "labels.json")


def test_missing_folder(tmp_path):
    """Fails when a folder that is not there gives an empty data set."""
    with pytest.raises(InputError, match="no such folder"):
        GoogleLandmarks(tmp_path / "none")
    with pytest.raises(InputError, match="train.csv"):
        _ = GoogleLandmarks(tmp_path).train
