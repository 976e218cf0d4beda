"""From a model and images to a record of its answers, one for each image."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from landmark.data.dataset import Bad, Batch
from landmark.data.folder import LabelMap
from landmark.data.loader import Quarantine
from landmark.evaluation.confidence import DEFAULT, Evidence
from landmark.evaluation.submission import write_submission
from landmark.models.folding import fast_model
from landmark.models.net import LandmarkNet
from landmark.utils.device import autocast
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path

COLUMNS = ("class_index", "logit", "second", "logsumexp", "norm", "loss")  # of every record
KEPT = ("embedding", "logits")  # of one that was made with `keep`


@dataclass(frozen=True, kw_only=True)
class Predictions(Evidence):
    """The prediction record: for each image that could be read the answer, what rules of confidence read, the loss."""

    ids: list[str]
    class_index: np.ndarray  # (N,) int, of the largest logit; the first one in a tie
    loss: np.ndarray  # (N,) cross-entropy in nats, NaN where the label is unknown
    bad: list[Bad]

    @classmethod
    def of(
        cls, ids: list[str], logits: Tensor, labels: Tensor | None = None, embedding: Tensor | None = None,
        bad: Sequence[Bad] = (), keep: Collection[str] = (),
    ) -> Predictions:  # fmt: skip
        """Make the record of a batch.

        Args:
            ids: N image ids.
            logits: (N, K), K at least 1.
            labels: (N,) class indices, -1 where unknown; all unknown when left out.
            embedding: (N, D), of a network that shows it.
            bad: images that could not be read.
            keep: which of `KEPT` to keep whole.

        >>> answers = Predictions.of(["a"], torch.tensor([[0.0, 3.0, 1.0]]))
        >>> answers.class_index.item(), answers.score("margin").item()
        (1, 2.0)
        """
        logit, index = logits.max(1)
        others = logits.scatter(1, index[:, None], -torch.inf)
        logsumexp = logits.double().logsumexp(1)  # in float32 its difference to the logit would lose its digits
        unknown = torch.full_like(logsumexp, torch.nan)
        loss, norm = unknown.clone(), unknown
        if labels is not None:
            known = labels >= 0
            loss[known] = logsumexp[known] - logits[known, labels[known]].double()
        if embedding is not None:
            norm = torch.linalg.vector_norm(embedding, dim=1, dtype=torch.float64)
        numbers = {"logit": logit, "second": others.amax(1), "logsumexp": logsumexp, "norm": norm, "loss": loss}
        whole = {name: rows for name, rows in (("embedding", embedding), ("logits", logits)) if name in keep}
        return cls(
            ids=ids, class_index=index.numpy(), bad=list(bad),
            **{name: column.double().numpy() for name, column in numbers.items()},
            **{name: rows.numpy() for name, rows in whole.items() if rows is not None},
        )  # fmt: skip

    def columns(self) -> dict[str, np.ndarray]:
        """Its arrays by name, N rows each."""
        named = {name: getattr(self, name) for name in (*COLUMNS, *KEPT)}
        return {name: column for name, column in named.items() if column is not None}

    def mapping(self, labels: LabelMap, score: str | np.ndarray = DEFAULT) -> dict[str, tuple[int, float]]:
        """image_id → (landmark_id, score), as `metrics` wants it.

        Args:
            labels: the run's.
            score: name of a rule, see `confidence.RULES`, or (N,) scores that were worked out elsewhere.
        """
        scores = self.score(score) if isinstance(score, str) else score
        return {
            image_id: (labels.to_landmark(int(k)), float(s))
            for image_id, k, s in zip(self.ids, self.class_index, scores, strict=True)
        }

    def write(self, path: str | Path, labels: LabelMap, ids: Sequence[str], score: str | np.ndarray = DEFAULT) -> None:
        """Write a submission with a row for every id of `ids`; one without a prediction has an empty cell."""
        answers = self.mapping(labels, score)
        rows = [answers.get(image_id, (None, None)) for image_id in ids]
        write_submission(path, list(ids), [row[0] for row in rows], [row[1] for row in rows])

    def save(self, path: str | Path, of: dict) -> None:
        """Keep all of it, to the last bit, bound to `of`: what it depends on, as JSON can hold it."""
        texts = {"of": json.dumps(of), "ids": self.ids, "bad": [(item.image_id, item.reason) for item in self.bad]}
        arrays: dict[str, Any] = {name: np.array(value, "U") for name, value in texts.items()} | self.columns()
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | Path, of: dict) -> Predictions | None:
        """What `save` kept of the same `of`; None when there is nothing, or it is damaged or of something else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                if str(file["of"]) != json.dumps(of):
                    return None
                bad = [Bad(*pair) for pair in file["bad"].reshape(-1, 2).tolist()]
                columns = {name: file[name] for name in (*COLUMNS, *(name for name in KEPT if name in file))}
                return cls(ids=file["ids"].tolist(), bad=bad, **columns)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Predictions one after the other as one."""
    full = [part for part in parts if part.ids] or parts[:1] or [Predictions.of([], torch.zeros(0, 1))]
    columns = {name: np.concatenate([getattr(part, name) for part in full]) for name in full[0].columns()}
    bad = [item for part in parts for item in part.bad]
    return Predictions(ids=[image_id for part in parts for image_id in part.ids], bad=bad, **columns)


def merged(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of several ranks as one, each image once, sorted by id."""
    if len(parts) == 1:
        return parts[0]
    whole = joined(parts)
    ids, first = np.unique(np.array(whole.ids, str), return_index=True)
    columns = {name: column[first] for name, column in whole.columns().items()}
    return Predictions(ids=ids.tolist(), bad=list({item.image_id: item for item in whole.bad}.values()), **columns)


@torch.inference_mode()
def predictions(model: nn.Module, loader: Iterable[Batch], keep: Collection[str] = ()) -> Iterator[Predictions]:
    """Predict batch by batch, in evaluation mode; the model's own mode is restored afterwards.

    Args:
        model: images (B, 3, S, S) → logits (B, K); a `LandmarkNet` shows its embeddings as well.
        loader: batches of `loader.make_loader`, not shuffled.
        keep: "embedding" to keep the embeddings (N, D), "logits" to keep the logits (N, K), or both.

    Raises:
        InputError: logits that are not finite, or embeddings are asked of a network that shows none.
    """
    was_training, where = model.training, next(chain(model.parameters(), model.buffers())).device
    if unknown := set(keep) - set(KEPT):
        raise InputError(f"nothing to keep by the name of {', '.join(sorted(unknown))}: choose of {', '.join(KEPT)}")
    if "embedding" in keep and not isinstance(model, LandmarkNet):
        raise InputError(f"{type(model).__name__} shows no embeddings: ask for them of a LandmarkNet")
    model.eval()
    fast = fast_model(model) if isinstance(model, LandmarkNet) else model
    try:
        for batch in loader:
            if not batch.ids:
                yield Predictions.of([], torch.zeros(0, 1), bad=batch.bad)
                continue
            images = batch.images.to(where, memory_format=torch.channels_last, non_blocking=True)
            with autocast(where):
                logits, embedding = _answers(fast, images)
            logits = logits.float().cpu()
            wrong = ~torch.isfinite(logits).all(1)
            if wrong.any():
                raise InputError(f"the logits of image {batch.ids[int(wrong.nonzero()[0])]} are not finite")
            embedding = None if embedding is None else embedding.float().cpu()
            yield Predictions.of(batch.ids, logits, batch.labels, embedding, batch.bad, keep)
    finally:
        model.train(was_training)


class Crops(nn.Module):
    """Let a network vote over views of an image: `log (1/V Σ_v softmax(z_v))`, (B, 3, S, S) → (B, K).

    The views are the image, its four corners and its centre at 7/8 of its sides, and the mirror images of these six.
    The softmax of what is returned is the vote, so that every rule of confidence reads it as it reads logits.

    Args:
        model: images (B, 3, S, S) → logits (B, K).

    >>> Crops(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)))(torch.zeros(2, 3, 8, 8)).exp().sum(1).round(decimals=4)
    tensor([1., 1.], grad_fn=<RoundBackward1>)

    Source: the 2018 entry "Xception + GeM" voted over 22 crops.
    """

    SHARE = 7 / 8

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = fast_model(model) if isinstance(model, LandmarkNet) else model

    def views(self, images: Tensor) -> Iterator[Tensor]:
        """Give the views (B, 3, S, S) of images, one after another."""
        size = images.shape[-1]
        side = round(self.SHARE * size)
        rest = size - side
        for y, x in ((0, 0), (0, rest), (rest, 0), (rest, rest), (rest // 2, rest // 2)):
            crop = images[:, :, y : y + side, x : x + side]
            view = F.interpolate(crop, (size, size), mode="bilinear", align_corners=False)
            yield from (view, view.flip(3))
        yield from (images, images.flip(3))

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logarithm of the vote."""
        votes = torch.stack([self.model(view).float().log_softmax(1) for view in self.views(images)])  # (V, B, K)
        return votes.logsumexp(0) - math.log(len(votes))


def _answers(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits (B, K) and, of a `LandmarkNet`, the embedding (B, D) that its head made them of."""
    if not isinstance(model, LandmarkNet):
        return model(images), None
    embedding = model.forward_head(model.forward_features(images), pre_logits=True)
    return model.head(embedding), embedding


def predict(
    model: nn.Module,
    loader: DataLoader,
    *,
    quarantine: Quarantine | None = None,
    progress: bool = False,
    keep: Collection[str] = (),
) -> Predictions:
    """Predict every image of a loader.

    Args:
        model: images (B, 3, S, S) → logits (B, K); a `LandmarkNet` shows its embeddings as well.
        loader: batches of `loader.make_loader`, not shuffled.
        quarantine: collects bad images and refuses too many.
        progress: show a bar.
        keep: "embedding" to keep the embeddings (N, D), "logits" to keep the logits (N, K), or both.

    Raises:
        InputError: logits that are not finite, embeddings are asked of a network that shows none, or more bad images
            than `quarantine` allows.

    Source: section 5.1 of the paper scores by the largest softmax probability.
    """
    parts = []
    bar = tqdm(loader, desc="predict", unit="batch", disable=not progress, leave=False)
    for part in predictions(model, bar, keep):
        if quarantine is not None:
            quarantine.add(part.bad)
        parts.append(part)
    return joined(parts)
