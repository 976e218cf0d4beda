"""Measure what cheaper arithmetic does to a network's answers and to what it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from landmark.course.answers import truth_of
from landmark.course.runs import course_run
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


def training_table(seeds: Sequence[int], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """Compare top-1 of the course's Xception trained as in 2019, with 85 tensors frozen, and in cheaper ways.

    On the test images of the label set, for each seed of the training and on average. The stages up to block7 are
    computed in 8-bit integers where the chip has them, once for every epoch or once for each of two views. `low` and
    `high`: 95 % interval of the mean's difference to that of 2019 over the choice of images, resampled `n` times in
    pairs.
    """
    stages = {"freeze": "block7", "int8": has_int8(device())}
    name = "stages, int8" if stages["int8"] else "stages"
    ways = {
        "85 tensors": ("", {}),
        name: ("-stages", stages),
        f"{name}, 2 views": ("-views", stages | {"views": 2}),
    }
    judged = []
    for suffix, changes in ways.values():
        for seed in seeds:
            folder = f"xception{suffix}-seed{seed}" if suffix or seed else None  # None: the course's own run
            run = course_run("xception", name=folder, seed=seed, **changes)
            closed, table = _asked(run, data)
            judged.append(_judged(predict(run.model(), run.loader(table, data.root)).mapping(run.labels), closed)[1])
    right = np.array(judged, float).reshape(len(ways), len(seeds), -1)  # (ways, seeds, images)
    mean = right.mean(1)
    draws = np.random.default_rng(0).integers(right.shape[2], size=(n, right.shape[2]))
    rows = pd.DataFrame(right.mean(2), index=list(ways), columns=[f"seed {seed}" for seed in seeds])
    ends = [np.percentile((way - mean[0])[draws].mean(1), [2.5, 97.5]) for way in mean]
    rows["mean"] = mean.mean(1)
    rows["difference"] = rows["mean"] - rows["mean"].iloc[0]
    rows["low"], rows["high"] = np.transpose(ends)
    rows.iloc[0, -3:] = np.nan  # to itself
    return rows


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
