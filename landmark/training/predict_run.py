"""What a run answers: a record kept beside it, or a submission."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import pandas as pd
from torch import nn

from landmark.data.dataset import LandmarkDataset, Samples
from landmark.data.folder import GoogleLandmarks
from landmark.data.loader import make_loader
from landmark.evaluation.prediction import COLUMNS, Crops, Predictions, predict
from landmark.evaluation.write import write_predictions
from landmark.models.frozen import Prefix, fast_halves
from landmark.training.frozen.uses import answering
from landmark.training.run import Run
from landmark.utils import distributed


def predict_table(
    run: Run, table: pd.DataFrame, root: str | Path, split: str = "test", *, keep: Collection[str] = (),
    crops: bool = False, workers: int | None = None, progress: bool = False,
) -> Predictions:  # fmt: skip
    """Predict the images of a table; the record is kept beside the run, and made again when what it rests on changes.

    Args:
        run: a finished run.
        table: rows with id and, for the loss, landmark_id.
        root: GLDv2 folder of the images.
        split: "train", "test" or "index".
        keep: "embedding" to keep the embeddings (N, D), "logits" to keep the logits (N, K), or both.
        crops: vote over views of each image, see `Crops`; such a record has no embeddings.
        workers: processes that decode images, see `make_loader`.
        progress: show a bar.
    """
    of = run.basis(table, root, split) | {"columns": [*COLUMNS, *sorted(keep)]} | ({"crops": True} if crops else {})
    name = hashlib.sha256(json.dumps(of).encode()).hexdigest()[:16]
    path = run.path / "predictions" / f"{name}.npz"
    record = Predictions.load(path, of)
    if record is None:
        dataset = run.dataset(table, root, split)
        if crops:
            loader = make_loader(dataset, run.config.batch_size, workers=workers)
            record = predict(Crops(run.model()), loader, progress=progress, keep=keep)
        else:
            record = predict_dataset(run, dataset, keep=keep, workers=workers, progress=progress)
        with contextlib.suppress(OSError):  # no room or no right to keep it: it is as good
            record.save(path, of)
    return record


def predict_dataset(
    run: Run, dataset: LandmarkDataset, *, pool: nn.Sequential | None = None, keep: Collection[str] = (),
    workers: int | None = None, progress: bool = False,
) -> Predictions:  # fmt: skip
    """Predict a dataset, from the maps of frozen stages where the run keeps them; the record is not kept.

    Args:
        run: a finished run.
        dataset: of `run.dataset`.
        pool: layers in place of the run's pooling and head.
        keep, workers, progress: as of `predict_table`.
    """
    model, data = run.model(), cast(Samples, dataset)
    if pool is not None:
        model.pool, model.head = pool.to(next(model.parameters()).device), nn.Identity()
    with contextlib.ExitStack() as own:
        if run.config.stage:
            more: dict[str, Any] = {"keep": run.config.views > 0, "workers": workers, "progress": progress}
            data, network = own.enter_context(answering(model, run.config.stage, dataset, **more))
            model = network()
        loader = make_loader(data, run.config.batch_size, workers=workers)
        return predict(model, loader, progress=progress, keep=keep)


def submit(run: Run, data: GoogleLandmarks, out: str | Path, **settings: Any) -> dict:
    """Write a run's submission for the test images; settings, result and errors as of `write_predictions`."""
    with distributed.group():  # before the network is put on a device, which is each rank's own
        model, dataset, stage = run.model(), run.dataset(data.test, data.root), run.config.stage
        if stage and not settings.get("int8"):  # as `predict_table` does
            model = fast_halves(model, stage, Prefix(model, stage))
        return write_predictions(model, dataset, run.labels, out, batch_size=run.config.batch_size, **settings)
