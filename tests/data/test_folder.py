"""Labels, and a folder that is not there."""

import tarfile

import numpy as np
import pytest

from landmark.data.archives import open_images
from landmark.data.folder import GoogleLandmarks, JoinedImages, LabelMap
from landmark.data.images import image_path
from landmark.utils.errors import InputError


def test_label_map(tmp_path):
    """Fails when class indices depend on the order of the table, or a damaged file is read."""
    labels = LabelMap([30, 10, 20, 10])
    assert [labels.to_index(i) for i in (10, 20, 30, 99)] == [0, 1, 2, -1] and labels.to_landmark(2) == 30
    labels.save(tmp_path / "labels.json")
    assert LabelMap.load(tmp_path / "labels.json").landmark_ids == [10, 20, 30]
    with pytest.raises(InputError, match="other.json: no such file: train again"):
        LabelMap.load(tmp_path / "other.json")
    (tmp_path / "labels.json").write_text('{"landmark_ids": 7')
    with pytest.raises(InputError, match="labels.json"):
        LabelMap.load(tmp_path / "labels.json")


def test_label_sets_that_differ():
    """Fails when two runs whose classes mean other landmarks are compared, or the message does not say which."""
    with pytest.raises(InputError, match=r"3 and 1 landmarks; only in the first: \[20, 30\], only in the second: \[\]"):
        LabelMap([10, 20, 30]).check_same(LabelMap([10]))
    LabelMap([20, 10]).check_same(LabelMap([10, 20]))


def test_missing_folder(tmp_path):
    """Fails when a folder that is not there gives an empty data set."""
    with pytest.raises(InputError, match="no such folder"):
        GoogleLandmarks(tmp_path / "none")
    with pytest.raises(InputError, match="train.csv"):
        _ = GoogleLandmarks(tmp_path).train


def test_images_without_a_landmark(tmp_path, world):
    """Fails when the world's are not found, a folder without them is refused, or a user's own photographs are lost."""
    table = GoogleLandmarks(world).nonlandmark
    assert len(table) == 4 and table.columns.tolist() == ["id", "url"]
    assert all(image_path(world, "nonlandmark", image_id).is_file() for image_id in table["id"])
    empty = GoogleLandmarks(tmp_path).nonlandmark
    assert empty.columns.tolist() == ["id", "url"] and len(empty) == 0
    (tmp_path / "nonlandmark").mkdir()
    (tmp_path / "nonlandmark" / "places_1.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="nonlandmark/a/b/c/"):
        _ = GoogleLandmarks(tmp_path).nonlandmark
    path = image_path(tmp_path, "nonlandmark", "places_1")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert GoogleLandmarks(tmp_path).nonlandmark.to_dict("list") == {"id": ["places_1"], "url": [""]}
    (tmp_path / "nonlandmark.csv").write_text("id,url\n")
    assert len(GoogleLandmarks(tmp_path).nonlandmark) == 0, "a table says which"


def test_images_of_two_splits_as_one(tmp_path, world):
    """Fails when the same id of both splits is one image, or TARs of both pass for one in the order of reading."""
    for split, colour in (("train", b"a"), ("nonlandmark", b"b")):
        (tmp_path / split).mkdir()
        for number, ids in enumerate((["aaa1", "aaa2"], ["aaa3"])):
            with tarfile.open(tmp_path / split / f"images_{number:03}.tar", "w") as tar:
                for image_id in ids:
                    source = tmp_path / f"{image_id}.jpg"
                    source.write_bytes(colour + image_id.encode())
                    tar.add(source, f"a/a/a/{image_id}.jpg")
    both = JoinedImages(tmp_path, "train", "nonlandmark")
    ids = ["nonlandmark/aaa1", "aaa1", "aaa3", "nonlandmark/aaa3", "aaa9", "nonlandmark/aaa9"]
    assert [both.read(image_id) for image_id in ids[:4]] == [b"baaa1", b"aaaa1", b"aaaa3", b"baaa3"]
    assert both.shards(ids).tolist() == [3, 1, 2, 4, -1, -1]
    before = both.fingerprint(ids)
    assert before == JoinedImages(tmp_path, "train", "nonlandmark").fingerprint(ids) != both.fingerprint(ids[1:])
    assert both.fingerprint(ids[1:3]) == open_images(tmp_path, "train").fingerprint(ids[1:3]), (
        "maps of these are shared"
    )
    own = open_images(world, "nonlandmark")
    assert np.array_equal(JoinedImages(world, "train", "nonlandmark").shards([f"nonlandmark/{own.ids()[0]}"]), [0])
