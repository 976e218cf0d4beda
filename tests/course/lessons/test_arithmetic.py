"""Tables of what cheaper arithmetic costs, against counts by hand."""

import pytest

from landmark.course.answers import truth_of
from landmark.course.lessons import arithmetic
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
    closed = open_world.closed_set(truth_of(data), labels.landmark_ids)
    assert set(table["images"]) == {len(closed)}
    fast, whole = str(fast_dtype(device())).removeprefix("torch."), ["int8"] * has_int8(device())
    assert list(table.index) == list(dict.fromkeys(["float32", fast, *whole, "again"]))
    assert table.loc["float32", "same answers"] == table.loc["again", "same answers"] == 1
    right = []
    for batch in run.loader(data.test[data.test["id"].isin(closed)], world):
        answers = model(batch.images).argmax(1).tolist()
        right += [labels.to_landmark(k) in closed[i] for i, k in zip(batch.ids, answers, strict=True)]
    assert table.loc["float32", "top-1"] == pytest.approx(sum(right) / len(right))
