"""What a run answers: a record kept beside it, or a submission."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import pandas as pd

from landmark.data.dataset import LandmarkDataset
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.prediction import COLUMNS, Predictions, predict
from landmark.evaluation.write import write_predictions
from landmark.training.run import Run
from landmark.utils import distributed


def predict_table(
    run: Run, table: pd.DataFrame, root: str | Path, split: str = "test", *, keep: Collection[str] = (),
    workers: int | None = None, progress: bool = False,
) -> Predictions:  # fmt: skip
    """Predict the images of a table; the record is kept beside the run, and made again when what it rests on changes.

    Args:
        run: a finished run.
        table: rows with id and, for the loss, landmark_id.
        root: GLDv2 folder of the images.
        split: "train", "test" or "index".
        keep: "embedding" to keep the embeddings (N, D), "logits" to keep the logits (N, K), or both.
        workers: processes that decode images, see `make_loader`.
        progress: show a bar.
    """
    of = run.basis(table, root, split) | {"columns": [*COLUMNS, *sorted(keep)]}
    name = hashlib.sha256(json.dumps(of).encode()).hexdigest()[:16]
    path = run.path / "predictions" / f"{name}.npz"
    record = Predictions.load(path, of)
    if record is None:
        loader = run.loader(table, root, split, workers=workers)
        record = predict(run.model(), loader, progress=progress, keep=keep)
        with contextlib.suppress(OSError):  # no room or no right to keep it: it is as good
            record.save(path, of)
    return record


def submit(run: Run, data: GoogleLandmarks, out: str | Path, **settings: Any) -> dict:
    """Write a run's submission for the test images; settings, result and errors as of `write_predictions`."""
    with distributed.group():  # before the network is put on a device, which is each rank's own
        dataset = cast(LandmarkDataset, run.loader(data.test, data.root).dataset)
        return write_predictions(run.model(), dataset, run.labels, out, batch_size=run.config.batch_size, **settings)
