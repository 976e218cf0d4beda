"""Labels, splits, batches: the same for any number of workers, and nothing replaced in silence."""

import itertools
import json
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from landmark import data, health
from landmark.data import (
    Bad,
    CentreSquare,
    GoogleLandmarks,
    LabelMap,
    LandmarkDataset,
    Quarantine,
    Sample,
    _moved,
    check_coverage,
    collate,
    eval_transform,
    make_loader,
    split_dev,
    train_transform,
)  # fmt: skip
from landmark.images import image_path, perceptual_hash, read_image
from landmark.runtime import InputError

HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of three landmarks; two are the same picture saved twice, one is broken, one missing."""
    rng, rows = np.random.default_rng(0), []
    for i in range(12):
        image_id, path = f"{i:x}" * 16, image_path(tmp_path, "train", f"{i:x}" * 16)
        path.parent.mkdir(parents=True)
        rows.append((image_id, "https://example.org/x.jpg", i % 3))
        pixels = np.kron(
            np.random.default_rng(1 if i in (0, 3) else i + 10).integers(0, 256, (6, 6, 3)), np.ones((8, 8, 1))
        )
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90 if i else 70)
    image_path(tmp_path, "train", "b" * 16).unlink()
    image_path(tmp_path, "train", "a" * 16).write_bytes(b"<html>")
    pd.DataFrame(rows, columns=["id", "url", "landmark_id"]).sample(frac=1, random_state=int(rng.integers(9))).to_csv(
        tmp_path / "train.csv", index=False
    )
    return tmp_path


def test_label_map(tmp_path):
    """Fails when class indices depend on the order of the table, or a damaged file is read."""
    labels = LabelMap([30, 10, 20, 10])
    assert [labels.to_index(i) for i in (10, 20, 30, 99)] == [0, 1, 2, -1] and labels.to_landmark(2) == 30
    labels.save(tmp_path / "labels.json")
    assert LabelMap.load(tmp_path / "labels.json").landmark_ids == [10, 20, 30]
    (tmp_path / "labels.json").write_text('{"landmark_ids": 7')
    with pytest.raises(InputError, match="labels.json"):
        LabelMap.load(tmp_path / "labels.json")
    with pytest.raises(InputError, match="only in the first"):
        labels.check_same(LabelMap([10]))


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


def test_bad_images_are_named_not_replaced(folder):
    """Fails when a broken image becomes another one, a black one, or shortens the batch without a word."""
    data = GoogleLandmarks(folder)
    dataset = LandmarkDataset(data.train, folder, "train", LabelMap(range(3)), eval_transform(32, **HALF))
    items = [dataset[i] for i in range(12)]
    bad = {item.image_id[0]: item.reason for item in items if isinstance(item, Bad)}
    assert set(bad) == {"a", "b"} and "no such file" in bad["b"]
    batch = collate(items)
    assert len(batch.ids) == 10 == len(batch.images) == len(batch.labels) and len(batch.bad) == 2
    only_bad = collate([item for item in items if isinstance(item, Bad)])
    assert len(only_bad.images) == 0 and len(only_bad.bad) == 2
    room = Quarantine(limit=1)
    with pytest.raises(InputError, match="2 bad images, limit 1"):
        room.add(batch.bad)


def test_batches_do_not_depend_on_workers(folder):
    """Fails when augmentation uses a worker's own random numbers, or skipping batches changes the rest."""
    data = GoogleLandmarks(folder)
    dataset = LandmarkDataset(data.train, folder, "train", LabelMap(range(3)), train_transform(32, **HALF), seed=4)
    passes = [list(make_loader(dataset, 5, shuffle=True, workers=w, seed=4, epochs=range(2))) for w in (0, 2)]
    for a, b in zip(*passes, strict=True):
        assert a.ids == b.ids and torch.equal(a.images, b.images)
    skipped = list(make_loader(dataset, 5, shuffle=True, seed=4, epochs=range(2), skip=2))
    assert torch.equal(skipped[0].images, passes[0][2].images)
    epochs = [[b.ids for b in passes[0][:3]], [b.ids for b in passes[0][3:]]]
    assert epochs[0] != epochs[1] and sorted(sum(epochs[0], [])) == sorted(sum(epochs[1], []))


@pytest.mark.parametrize("size", [1, 7])
def test_shift_looks_places_up(monkeypatch, size):
    """Fails when the picture moves the wrong way, an edge is not repeated, or a shift is longer than the picture."""
    image = torch.randint(0, 255, (3, size, size + 2), dtype=torch.uint8)
    for dy, dx in itertools.product((-9, -2, 0, 3, 9), repeat=2):
        rows = [min(max(i + dy, 0), size - 1) for i in range(size)]
        columns = [min(max(i + dx, 0), size + 1) for i in range(size + 2)]
        assert torch.equal(_moved(_moved(image, dy, 1), dx, 2), image[:, rows][:, :, columns])


def test_threads_that_decode_leave_no_trace(folder):
    """Fails when a batch differs from its images one by one, or decoding in threads changes what Python warns of."""
    table, filters = GoogleLandmarks(folder).train, list(warnings.filters)
    dataset = LandmarkDataset(table, folder, "train", LabelMap(range(3)), train_transform(32, **HALF), seed=4)
    keys = [(1, i) for i in range(12)] * 4
    for found, key in zip(dataset.__getitems__(keys), keys, strict=True):
        single = dataset[key]
        assert type(found) is type(single) and found.image_id == single.image_id
        assert isinstance(found, Bad) or torch.equal(found.image, single.image)
    assert warnings.filters == filters


@pytest.mark.parametrize("what", ["check", "split", "batch", "read"])
def test_threads_leave_the_filters_of_warnings(folder, overlapping, what):
    """Fails when after a pass over images Python is silent for the rest of the process, or warns of other things."""
    table = GoogleLandmarks(folder).train
    if what == "check":
        health.check_data(folder, progress=False)
    elif what == "split":
        split_dev(table, folder, 0.3)
    elif what == "batch":
        LandmarkDataset(table, folder, "train").__getitems__(range(12))
    else:  # from a caller's own threads
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(data.read_image, [image_path(folder, "train", c * 16) for c in "0123"]))
    overlapping()


def test_kept_images_are_the_same_batches(folder):
    """Fails when keeping images in memory freezes their augmentation, changes it, or forgets the bad ones."""
    table = GoogleLandmarks(folder).train
    passes = []
    for keep in (False, True):
        dataset = LandmarkDataset(table, folder, "train", LabelMap(range(3)), train_transform(32, **HALF), 4, keep)
        passes.append(list(make_loader(dataset, 12, shuffle=True, seed=4, epochs=range(2))))
    for a, b in zip(*passes, strict=True):
        assert torch.equal(a.images, b.images) and a.ids == b.ids and len(b.bad) == 2
    first, second = (dict(zip(b.ids, b.images, strict=True)) for b in passes[1])
    assert any(not torch.equal(first[i], second[i]) for i in first)


def test_transforms_by_hand():
    """Fails when the crop is off centre, colours are scaled wrongly, or the shift leaves the picture."""
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    assert CentreSquare()(wide).getcolors() == [(900, (0, 0, 255))]
    x = eval_transform(30, **HALF)(wide)
    assert x.shape == (3, 30, 30) and torch.allclose(x[:, 15, 15], torch.tensor([-1.0, -1.0, 1.0]))
    torch.manual_seed(0)
    y = train_transform(30, **HALF)(Image.new("RGB", (40, 40), (255, 255, 255)))
    assert y.shape == (3, 30, 30) and y.min() == y.max() == 1


def test_coverage_says_where_the_images_are(folder):
    """Fails when a whole split without images trains on what is left."""
    table = GoogleLandmarks(folder).train
    check_coverage(table, folder, "train", 1)
    with pytest.raises(InputError, match="1 of 12"):
        check_coverage(table, folder, "train", 0)
    with pytest.raises(InputError, match="mixed up"):
        check_coverage(table, folder, "test", 3)


def test_missing_folder_and_sample_types(tmp_path):
    """Fails when a folder that is not there gives an empty data set."""
    with pytest.raises(InputError, match="no such folder"):
        GoogleLandmarks(tmp_path / "none")
    with pytest.raises(InputError, match="train.csv"):
        _ = GoogleLandmarks(tmp_path).train
    assert Sample(torch.zeros(1), 0, "a").label == 0


def test_health_report(folder):
    """Fails when a bad image is counted and not named, or a broken table is called a bad image."""
    report = health.check_data(folder, progress=False)
    assert report.exit_code == 1 and {b["id"][0] for b in report.bad} == {"a", "b"}
    assert json.loads(json.dumps(report.to_dict()))["exit_code"] == 1
    (folder / "test.csv").write_text("id\nxx\n")
    assert health.check_data(folder, progress=False).exit_code == 2
