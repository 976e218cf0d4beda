"""Train and dev rows share no photograph."""

from dataclasses import replace

import pandas as pd
import pytest

from landmark.data.folder import GoogleLandmarks
from landmark.data.images import image_path, read_image
from landmark.prepare.duplicates import perceptual_hash
from landmark.training.config import TrainConfig
from landmark.training.splits import Split, _leaders, learnt_images, nonlandmark_ids, split_dev
from landmark.utils.errors import InputError


def test_split_is_disjoint_by_id_and_by_picture(folder):
    """Fails when one copy of a picture lands in dev and the other in train, for any seed."""
    table = GoogleLandmarks(folder).train
    for seed in range(8):
        split = split_dev(table, folder, 0.3, seed)
        assert set(split.train["id"]) | set(split.dev["id"]) == set(table["id"])
        assert not set(split.train["id"]) & set(split.dev["id"])
        sides = [("0" * 16 in set(s["id"])) == ("3" * 16 in set(s["id"])) for s in (split.train, split.dev)]
        assert all(sides) and len(split.dev)
        hashes = [{perceptual_hash(read_image(image_path(folder, "train", i))) for i in s["id"] if i[0] not in "ab"}
                  for s in (split.train, split.dev)]  # fmt: skip
        assert not hashes[0] & hashes[1]
        assert not {"a" * 16, "b" * 16} & set(split.dev["id"]), "what cannot be read is not held out"
    first, again = split_dev(table, folder, 0.3, 1), split_dev(table.sample(frac=1, random_state=3), folder, 0.3, 1)
    assert set(first.dev["id"]) == set(again.dev["id"]), "the order of the table must not matter"


def test_one_image_stands_for_all_that_pairs_join():
    """Fails when exact and near pairs of one picture make two groups, or another image stands for it than in older runs."""
    pairs = [("a", "b"), ("d", "e"), ("c", "b"), ("c", "f")]  # a = b, d = e byte for byte; c is like b and f
    assert _leaders(pd.Series(list("gfedcba")), pairs) == dict.fromkeys("abcf", "c") | dict.fromkeys("de", "d") | {
        "g": "g"
    }
    assert set(_leaders(pd.Series(list("abc")), [("a", "b"), ("b", "c")]).values()) == {"a"}


def test_what_a_random_split_would_have_torn_apart(folder):
    """Fails when a pair that is kept together counts as torn, or one that is torn apart does not."""
    split = split_dev(GoogleLandmarks(folder).train, folder, 0.3, 0)
    n, h = len(split.train) + len(split.dev), len(split.dev)
    assert split.duplicates and split.torn() == (0, len(split.duplicates) * 2 * h * (n - h) / (n * (n - 1)))
    a, b = split.train["id"][0], split.dev["id"][0]
    assert replace(split, duplicates=[(a, b), (a, b), (b, a), (a, a)]).torn()[0] == 3


def test_the_size_of_each_class():
    """Fails when sizes stand in another order than the classes, as numbers are told or as often as they are there."""
    train = pd.DataFrame({"id": list("abcdef"), "landmark_id": [9, 100, 20, 100, 20, 100]})
    assert Split(train, train[:1], []).sizes == [1, 2, 3]
    assert Split(train[::-1], train[:1], []).sizes == [1, 2, 3]
    assert Split(train[:5].replace(9, 200), train[:1], []).sizes == [2, 2, 1]


def test_images_without_a_landmark_join(world, tmp_path):
    """Fails when they join unasked, all are taken where a share is asked for, or the labels of the others move."""
    table = GoogleLandmarks(world).train
    there = sorted(GoogleLandmarks(world).nonlandmark["id"])
    assert learnt_images(TrainConfig(), table, world)[0] is table and nonlandmark_ids(TrainConfig(), world) == []
    config = TrainConfig(loss="bce", nonlandmarks=2 / len(table))
    rows, images = learnt_images(config, table, world)
    assert rows[: len(table)].equals(table[["id", "landmark_id"]].reset_index(drop=True))
    more = rows[len(table) :]
    assert len(more) == 2 and set(more["landmark_id"]) == {-1} and nonlandmark_ids(config, world) == there
    assert [images.read(i) for i in more["id"]] == [
        image_path(world, "nonlandmark", i.removeprefix("nonlandmark/")).read_bytes() for i in more["id"]
    ]
    assert learnt_images(config, table, world)[0].equals(rows)
    chosen = {tuple(learnt_images(replace(config, seed=s), table, world)[0]["id"][len(table) :]) for s in range(9)}
    assert len(chosen) > 1, "another seed takes others"
    assert len(learnt_images(replace(config, nonlandmarks=9.0), table, world)[0]) == len(table) + len(there)
    with pytest.raises(InputError, match=r"no images in nonlandmark/, of which loss=bce learns"):
        learnt_images(config, table, tmp_path)
