"""Measure what cheaper arithmetic does to a network's answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from landmark.course.answers import truth_of
from landmark.course.samples import batch_of
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation import metrics, open_world
from landmark.evaluation.prediction import predict
from landmark.models.folding import SAMPLE, fast_model
from landmark.models.int8 import has_int8
from landmark.models.net import LandmarkNet
from landmark.training.run import Run
from landmark.utils.device import device, fast_dtype


def precision_table(run: Run, data: GoogleLandmarks, more: Mapping[str, nn.Module] | None = None) -> pd.DataFrame:
    """Compare a run's network in float32, as it predicts, and in 8-bit integers where the chip has them: top-1, GAP.

    On the test images of the label set. `same answers` is the share of images named as in float32.

    Args:
        more: the same network in other forms, by name, such as `integers.Converted`.
    """
    closed, table = _asked(run, data)
    model = run.model()
    networks = {"float32": _Exact(model).eval(), str(fast_dtype(device())).removeprefix("torch."): model}
    if has_int8(device()):
        networks["int8"] = fast_model(model, batch_of(run, table[:SAMPLE], data.root).images)
    networks |= more or {}
    rows, exact = {}, None
    for name, network in networks.items():
        predictions = predict(network, run.loader(table, data.root)).mapping(run.labels)
        answers, right = _judged(predictions, closed)
        exact = answers if exact is None else exact
        gap = metrics.global_average_precision(predictions, closed)
        rows[name] = {"images": len(right), "top-1": np.mean(right), "GAP": gap,
                      "same answers": (answers == exact).mean()}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def _asked(run: Run, data: GoogleLandmarks) -> tuple[dict, pd.DataFrame]:
    """Select truth and rows of the test images that show a landmark of the run's label set."""
    closed = open_world.closed_set(truth_of(data), run.labels.landmark_ids)
    return closed, data.test[data.test["id"].isin(closed)]


def _judged(predictions: dict, closed: dict) -> tuple[pd.Series, list[bool]]:
    """List the answers by image id, in the order of the ids, and whether each is right."""
    answers = pd.Series({image_id: predictions[image_id][0] for image_id in sorted(predictions)})
    return answers, [landmark_id in closed[image_id] for image_id, landmark_id in answers.items()]


class _Exact(nn.Module):
    """A network in float32, whichever arithmetic is fastest on the chip."""

    def __init__(self, model: LandmarkNet):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.model(x.float())
