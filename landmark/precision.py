"""What the precision of its arithmetic does to a network's answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from landmark import metrics
from landmark.data import GoogleLandmarks
from landmark.experiments import batch_of, truth_of
from landmark.inference import SAMPLE, fast_model
from landmark.int8 import has_int8
from landmark.models import LandmarkNet
from landmark.prediction import predict
from landmark.runs import Run
from landmark.runtime import device, fast_dtype


def precision_table(run: Run, data: GoogleLandmarks) -> pd.DataFrame:
    """Top-1 and GAP of a run's network in float32, as it predicts, and in 8-bit integers where the chip has them.

    On the test images of the label set. `same answers` is the share of images named as in float32.
    """
    closed = metrics.closed_set(truth_of(data), run.labels.landmark_ids)
    table, model = data.test[data.test["id"].isin(closed)], run.model()
    networks = {"float32": _Exact(model).eval(), str(fast_dtype(device())).removeprefix("torch."): model}
    if has_int8(device()):
        networks["int8"] = fast_model(model, batch_of(run, table[:SAMPLE], data.root).images)
    rows, exact = {}, None
    for name, network in networks.items():
        found = predict(network, run.loader(table, data.root)).mapping(run.labels)
        answers = pd.Series({image_id: found[image_id][0] for image_id in sorted(found)})
        exact = answers if exact is None else exact
        right = [landmark_id in closed[image_id] for image_id, landmark_id in answers.items()]
        gap = metrics.global_average_precision(found, closed)
        rows[name] = {"images": len(right), "top-1": np.mean(right), "GAP": gap,
                      "same answers": (answers == exact).mean()}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


class _Exact(nn.Module):
    """A network in float32 whatever the chip would rather have."""

    def __init__(self, model: LandmarkNet):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.model(x.float())
