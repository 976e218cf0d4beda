"""From a model and images to one scored prediction for each image."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from landmark.data.dataset import Bad, Batch
from landmark.data.folder import LabelMap
from landmark.data.loader import Quarantine
from landmark.evaluation.submission import write_submission
from landmark.models.folding import fast_model
from landmark.models.net import LandmarkNet
from landmark.utils import distributed
from landmark.utils.device import autocast
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path

RULE = "largest softmax probability"  # what a score is; answers that were kept are bound to it
_NUMBERS = ("class_index", "score", "loss")


@dataclass(frozen=True)
class Predictions:
    """One row for every image that could be read; the score is as `RULE` says."""

    ids: list[str]
    class_index: np.ndarray  # (N,) int
    score: np.ndarray  # (N,) float in (0, 1]
    loss: np.ndarray  # (N,) cross-entropy in nats, NaN where the label is unknown
    bad: list[Bad]

    def mapping(self, labels: LabelMap) -> dict[str, tuple[int, float]]:
        """image_id → (landmark_id, score), as `metrics` wants it."""
        return {
            image_id: (labels.to_landmark(int(k)), float(s))
            for image_id, k, s in zip(self.ids, self.class_index, self.score, strict=True)
        }

    def save(self, path: str | Path, of: dict) -> None:
        """Keep all of it, to the last bit, bound to `of`: what it depends on, as JSON can hold it."""
        told = {"of": json.dumps(of), "ids": self.ids, "bad": [(item.image_id, item.reason) for item in self.bad]}
        texts = {name: np.array(value, "U") for name, value in told.items()}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez(file, **texts, **numbers)

    @classmethod
    def load(cls, path: str | Path, of: dict) -> Predictions | None:
        """What `save` kept of the same `of`; None when there is nothing, or it is damaged or of something else."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                if str(kept["of"]) != json.dumps(of):
                    return None
                bad = [Bad(*pair) for pair in kept["bad"].reshape(-1, 2).tolist()]
                return cls(kept["ids"].tolist(), *(kept[name] for name in _NUMBERS), bad=bad)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, path: str | Path, labels: LabelMap, ids: Sequence[str]) -> None:
        """Write a submission with a row for every id of `ids`; one without a prediction has an empty cell."""
        found = self.mapping(labels)
        answers = [found.get(image_id, (None, None)) for image_id in ids]
        write_submission(path, list(ids), [a[0] for a in answers], [a[1] for a in answers])


def merged(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of several ranks as one, each image once."""
    if len(parts) == 1:
        return parts[0]
    ids = np.array([image_id for part in parts for image_id in part.ids], dtype=object)
    _, first = np.unique(ids.astype(str), return_index=True)
    columns = (np.concatenate([getattr(p, name) for p in parts])[first] for name in _NUMBERS)
    bad = {item.image_id: item for part in parts for item in part.bad}
    return Predictions(ids[first].tolist(), *columns, bad=list(bad.values()))


@torch.inference_mode()
def predictions(model: nn.Module, loader: Iterable[Batch]) -> Iterator[Predictions]:
    """Predictions batch by batch, in evaluation mode; the model's own mode is restored afterwards.

    Args:
        model: images (B, 3, S, S) → logits (B, K).
        loader: batches of `loader.make_loader`, not shuffled.

    Raises:
        InputError: logits that are not finite.
    """
    was_training, where = model.training, next(model.parameters()).device
    model.eval()
    fast = fast_model(model) if isinstance(model, LandmarkNet) else model
    try:
        for batch in loader:
            if not batch.ids:
                yield Predictions([], np.zeros(0, int), np.zeros(0), np.zeros(0), batch.bad)
                continue
            images = batch.images.to(where, memory_format=torch.channels_last, non_blocking=True)
            with autocast(where):
                logits = fast(images)
            logits = logits.float().cpu()  # softmax and loss in float32
            wrong = ~torch.isfinite(logits).all(1)
            if wrong.any():
                raise InputError(f"the logits of image {batch.ids[int(wrong.nonzero()[0])]} are not finite")
            score, index = logits.softmax(1).max(1)
            known = batch.labels >= 0
            loss = torch.full_like(logits[:, 0], float("nan"))
            loss[known] = F.cross_entropy(logits[known], batch.labels[known], reduction="none")
            yield Predictions(batch.ids, index.numpy(), score.double().numpy(), loss.double().numpy(), batch.bad)
    finally:
        model.train(was_training)


def predict(
    model: nn.Module, loader: DataLoader, *, quarantine: Quarantine | None = None, progress: bool = False
) -> Predictions:
    """Predict every image of a loader.

    Args:
        model: images (B, 3, S, S) → logits (B, K).
        loader: batches of `loader.make_loader`, not shuffled.
        quarantine: collects bad images and refuses too many.
        progress: show a bar.

    Raises:
        InputError: logits that are not finite, or more bad images than `quarantine` allows.

    Source: section 5.1 of the paper scores the same way.
    """
    parts = [Predictions([], np.zeros(0, int), np.zeros(0), np.zeros(0), [])]
    for part in predictions(model, tqdm(loader, desc="predict", unit="batch", disable=not progress, leave=False)):
        if quarantine is not None:
            quarantine.add(part.bad)
        parts.append(part)
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in _NUMBERS)
    bad = [item for part in parts for item in part.bad]
    return Predictions([image_id for part in parts for image_id in part.ids], *columns, bad=bad)


@torch.inference_mode()
def embed(model: LandmarkNet, loader: DataLoader) -> tuple[list[str], np.ndarray]:
    """Ids and embeddings (N, D) of the images of a loader that can be read, in evaluation mode.

    Of a loader that is `shared` among ranks, each rank embeds its part and all get the whole, sorted by id.
    """
    fast, where = fast_model(model), next(model.parameters()).device
    ids, rows = [], [np.zeros((0, model.num_features), np.float32)]
    for batch in loader:
        if batch.ids:
            images = batch.images.to(where, memory_format=torch.channels_last)
            with autocast(where):
                rows.append(fast.forward_head(fast.forward_features(images), pre_logits=True).float().cpu().numpy())
            ids.extend(batch.ids)
    parts = distributed.gather((ids, np.concatenate(rows)))
    if len(parts) == 1:
        return parts[0]
    everything = np.array([image_id for part in parts for image_id in part[0]])
    names, first = np.unique(everything, return_index=True)
    return names.tolist(), np.concatenate([part[1] for part in parts])[first]
