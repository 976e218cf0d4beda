"""Tables of what cheaper arithmetic costs, against counts by hand."""

import numpy as np
import pytest
import torch

from landmark.course import arithmetic, tables
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.evaluation import open_world
from landmark.models.int8 import has_int8
from landmark.models.net import create_model
from landmark.training.config import TrainConfig
from landmark.training.run import Run
from landmark.utils.device import device, fast_dtype
from tests.helpers import _awake

pytestmark = pytest.mark.arithmetic


def test_precisions_are_compared_on_the_same_queries(tmp_path, world, monkeypatch):
    """Fails when a precision leaves images out, or float32 is not what it is called."""
    data = GoogleLandmarks(world)
    labels = LabelMap(data.train["landmark_id"])
    model = _awake(create_model("resnet50", len(labels)))
    monkeypatch.setattr(Run, "model", lambda self: model)
    run = Run(tmp_path, TrainConfig(model="resnet50", size=64, batch_size=4), labels, {})
    table = arithmetic.precision_table(run, data, {"again": arithmetic._Exact(model).eval()})
    closed = open_world.closed_set(tables.truth_of(data), labels.landmark_ids)
    assert set(table["images"]) == {len(closed)}
    fast, whole = str(fast_dtype(device())).removeprefix("torch."), ["int8"] * has_int8(device())
    assert list(table.index) == list(dict.fromkeys(["float32", fast, *whole, "again"]))
    assert table.loc["float32", "same answers"] == table.loc["again", "same answers"] == 1
    right = []
    for batch in run.loader(data.test[data.test["id"].isin(closed)], world):
        answers = model(batch.images).argmax(1).tolist()
        right += [labels.to_landmark(k) in closed[i] for i, k in zip(batch.ids, answers, strict=True)]
    assert table.loc["float32", "top-1"] == pytest.approx(sum(right) / len(right))


def test_ways_to_train_are_judged_on_the_same_images(tmp_path, world, monkeypatch):
    """Fails when ways or seeds are exchanged, an image counts twice, or the interval is not that of the difference."""
    data = GoogleLandmarks(world)
    labels = LabelMap(data.train["landmark_id"])
    closed = open_world.closed_set(tables.truth_of(data), labels.landmark_ids)
    asked, names = [], []

    def course_run(model, *, name, seed, freeze=85, int8=False, views=0):
        asked.append((seed, freeze, int8, views))
        names.append(name)
        return Run(tmp_path, TrainConfig(model="resnet50", size=32, batch_size=4, seed=len(asked)), labels, {})

    def predict(model, loader):
        number, answers = len(judged), {}
        for k, image_id in enumerate(sorted(closed)):
            truth = next(iter(closed[image_id]))
            wrong = next(i for i in labels.landmark_ids if i not in closed[image_id])
            answers[image_id] = (truth if k < (1, 2, 2, 3, 3, 2)[number] else wrong, 0.5)
        judged.append(answers)
        return type("Predictions", (), {"mapping": lambda self, labels: answers})()

    judged = []
    monkeypatch.setattr(arithmetic, "course_run", course_run)
    monkeypatch.setattr(arithmetic, "predict", predict)
    monkeypatch.setattr(Run, "model", lambda self: None)
    table = arithmetic.training_table([0, 1], data, n=50)
    some = has_int8(torch.device("cpu"))
    ways = (85, False, 0), ("block7", some, 0), ("block7", some, 2)
    assert asked == [(seed, *way) for way in ways for seed in (0, 1)]
    assert names[0] is None and len(set(names)) == len(names), "a folder for each run"
    count = len(closed)
    assert (table[["seed 0", "seed 1"]] * count).to_numpy() == pytest.approx(np.array([[1, 2], [2, 3], [3, 2]]))
    assert (table["mean"] * count).tolist() == pytest.approx([1.5, 2.5, 2.5])
    assert (table["difference"].iloc[1:] * count).tolist() == pytest.approx([1, 1])
    assert table.iloc[0, -3:].isna().all() and (table["low"] <= table["high"]).iloc[1:].all()
    # Right were images 0 and then 0-1, with seed 1 0-1 and then 0-2: half an image more at 1, and at 2
    draws = np.random.default_rng(0).integers(count, size=(50, count))
    gains = np.zeros(count)
    gains[1:3] = 0.5
    expected = np.percentile([gains[draw].mean() for draw in draws], [2.5, 97.5])
    assert table[["low", "high"]].iloc[1].tolist() == pytest.approx(expected.tolist())
