"""Tables of what cheaper arithmetic costs, against counts by hand."""

import pytest
import torch
from test_inference import _awake

from landmark import create_model, experiments, int8, metrics, precision
from landmark.data import GoogleLandmarks, LabelMap
from landmark.runs import Run, TrainConfig
from landmark.runtime import device, fast_dtype


def test_precisions_are_compared_on_the_same_queries(tmp_path, world, monkeypatch):
    """Fails when a precision leaves images out, or float32 is not what it is called."""
    data = GoogleLandmarks(world)
    labels = LabelMap(data.train["landmark_id"])
    model = _awake(create_model("resnet50", len(labels)))
    monkeypatch.setattr(Run, "model", lambda self: model)
    run = Run(tmp_path, TrainConfig(model="resnet50", size=64, batch_size=4), labels, {})
    table = precision.precision_table(run, data)
    closed = metrics.closed_set(experiments.truth_of(data), labels.landmark_ids)
    assert set(table["images"]) == {len(closed)}
    fast, whole = str(fast_dtype(device())).removeprefix("torch."), ["int8"] * int8.has_int8(device())
    assert list(table.index) == list(dict.fromkeys(["float32", fast, *whole]))
    assert table.loc["float32", "same answers"] == 1
    right = []
    for batch in run.loader(data.test[data.test["id"].isin(closed)], world):
        answers = model(batch.images).argmax(1).tolist()
        right += [labels.to_landmark(k) in closed[i] for i, k in zip(batch.ids, answers, strict=True)]
    assert table.loc["float32", "top-1"] == pytest.approx(sum(right) / len(right))


def test_two_ways_to_train_are_judged_on_the_same_images(tmp_path, world, monkeypatch):
    """Fails when the sides are exchanged, an image counts twice, or the interval is not that of the difference."""
    data = GoogleLandmarks(world)
    labels = LabelMap(data.train["landmark_id"])
    closed = metrics.closed_set(experiments.truth_of(data), labels.landmark_ids)
    asked = []

    def course_run(model, *, name, seed, freeze=85, int8=False):
        asked.append((seed, freeze, int8))
        return Run(tmp_path, TrainConfig(model="resnet50", size=32, batch_size=4, seed=len(asked)), labels, {})

    def predict(model, loader):
        number, answers = len(judged), {}
        for k, image_id in enumerate(sorted(closed)):
            truth = next(iter(closed[image_id]))
            wrong = next(i for i in labels.landmark_ids if i not in closed[image_id])
            answers[image_id] = (truth if k < (1, 2, 3, 3)[number] else wrong, 0.5)
        judged.append(answers)
        return type("Predictions", (), {"mapping": lambda self, labels: answers})()

    judged = []
    monkeypatch.setattr(precision, "course_run", course_run)
    monkeypatch.setattr(precision, "predict", predict)
    monkeypatch.setattr(Run, "model", lambda self: None)
    table = precision.training_table([0, 1], data, n=50)
    some = int8.has_int8(torch.device("cpu"))
    assert asked == [(0, 85, False), (0, "block7", some), (1, 85, False), (1, "block7", some)]
    count = len(closed)
    assert table.iloc[:, 0].tolist() == pytest.approx([1 / count, 3 / count, 2 / count])
    assert table["difference"].tolist() == pytest.approx([1 / count, 0, 0.5 / count])
    assert table.loc["1", ["low", "high"]].tolist() == [0, 0] and (table["low"] <= table["difference"]).all()
