"""What cheaper arithmetic does to a network's answers and to what it learns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from landmark import metrics
from landmark.data import GoogleLandmarks
from landmark.experiments import batch_of, course_run, truth_of
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
    closed, table = _asked(run, data)
    model = run.model()
    networks = {"float32": _Exact(model).eval(), str(fast_dtype(device())).removeprefix("torch."): model}
    if has_int8(device()):
        networks["int8"] = fast_model(model, batch_of(run, table[:SAMPLE], data.root).images)
    rows, exact = {}, None
    for name, network in networks.items():
        found = predict(network, run.loader(table, data.root)).mapping(run.labels)
        answers, right = _judged(found, closed)
        exact = answers if exact is None else exact
        gap = metrics.global_average_precision(found, closed)
        rows[name] = {"images": len(right), "top-1": np.mean(right), "GAP": gap,
                      "same answers": (answers == exact).mean()}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def training_table(seeds: Sequence[int], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """Top-1 of the course's Xception with 85 tensors frozen as in 2019, and with frozen stages computed apart.

    On the test images of the label set, for each seed of the training and on average. The stages up to block7 are
    computed in 8-bit integers where the chip has them. `low` and `high`: 95 % interval of the difference over the
    choice of images, resampled `n` times in pairs.
    """
    int8 = has_int8(device())
    names = "85 tensors", "stages" + ", int8" * int8, "difference", "low", "high"
    rows, generator = [], np.random.default_rng(0)
    for seed in seeds:
        plain = course_run("xception", name=f"xception-seed{seed}" if seed else None, seed=seed)  # 0: the course's own
        fast = course_run("xception", name=f"xception-stages-seed{seed}", seed=seed, freeze="block7", int8=int8)
        closed, table = _asked(plain, data)
        found = (predict(r.model(), r.loader(table, data.root)).mapping(r.labels) for r in (plain, fast))
        rows.append([_judged(answers, closed)[1] for answers in found])
    right = np.array(rows, float)  # (seeds, 2, images)
    draws = generator.integers(right.shape[2], size=(n, right.shape[2]))
    told = []
    for pair in [*right, right.mean(0)]:
        difference = pair[1] - pair[0]
        told.append([*pair.mean(1), difference.mean(), *np.percentile(difference[draws].mean(1), [2.5, 97.5])])
    return pd.DataFrame(told, columns=names, index=pd.Index([*map(str, seeds), "mean"], name="seed"))


def _asked(run: Run, data: GoogleLandmarks) -> tuple[dict, pd.DataFrame]:
    """Truth and rows of the test images that show a landmark of the run's label set."""
    closed = metrics.closed_set(truth_of(data), run.labels.landmark_ids)
    return closed, data.test[data.test["id"].isin(closed)]


def _judged(found: dict, closed: dict) -> tuple[pd.Series, list[bool]]:
    """Answers by image id, in the order of the ids, and whether each is right."""
    answers = pd.Series({image_id: found[image_id][0] for image_id in sorted(found)})
    return answers, [landmark_id in closed[image_id] for image_id, landmark_id in answers.items()]


class _Exact(nn.Module):
    """A network in float32 whatever the chip would rather have."""

    def __init__(self, model: LandmarkNet):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.model(x.float())
