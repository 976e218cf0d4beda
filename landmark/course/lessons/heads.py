"""Heads on the features of a frozen network: trained in seconds, asked about the course's test set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landmark.course.answers import test_predictions, truth_of
from landmark.course.lessons.mistakes import PASSES
from landmark.data.dataset import LandmarkDataset, Transforms, eval_transform
from landmark.data.folder import GoogleLandmarks
from landmark.data.loader import make_loader
from landmark.evaluation.prediction import Predictions, predict
from landmark.evaluation.report.answers import Answers
from landmark.models.heads.classifier import build_head
from landmark.models.net import LandmarkNet
from landmark.models.recipes import data_config
from landmark.training.predict_run import predict_dataset, predict_table
from landmark.training.run import Run
from landmark.utils.device import float32_by_default, own_random_numbers, reseed
from landmark.utils.errors import InputError

KEEP = ("embedding", "logits")  # as the rules of confidence want the records, so that they are made once
CPU = torch.device("cpu")


@dataclass(frozen=True)
class FrozenFeatures:
    """What a head learns from, and what it is asked about; N test images are scored.

    Args:
        train: (n, D). labels: (n,) their classes.
        test: (N, D), NaN where the image cannot be read.
        truth: (N,) classes, -1 for an unknown landmark, -2 for a distractor.
        classes: K of the label set.
    """

    train: Tensor
    labels: Tensor
    test: Tensor
    truth: np.ndarray
    classes: int

    @property
    def kind(self) -> np.ndarray:
        """(N,) 0 for a known landmark, 1 for an unknown one, 2 for a distractor, as of `Answers`."""
        return np.maximum(-self.truth, 0)

    @property
    def shows(self) -> np.ndarray:
        """(N,) whether the image shows a landmark."""
        return self.truth > -2

    def answers(self, logits: Tensor, score: str = "softmax") -> Answers:
        """Lay the answers of a head beside the truth: the class of the largest logit, scored by softmax or by "logit".

        Args:
            logits: (N, K).
            score: name of a rule that reads the logits alone.
        """
        rows = torch.nan_to_num(logits)
        scores = Predictions.of([""] * len(rows), rows).score(score)
        scores[torch.isnan(logits).any(1).numpy()] = np.nan
        right = (rows.argmax(1).numpy() == self.truth) & ~np.isnan(scores)
        return Answers(scores, right, self.kind)


def frozen_features(
    run: Run, data: GoogleLandmarks, network: LandmarkNet | None = None, transforms: Transforms | None = None,
    pool: nn.Sequential | None = None,
) -> FrozenFeatures:  # fmt: skip
    """Embed the train images of a run and the test set, once: the run's records are kept.

    Args:
        run: a finished run, which says what it learnt from.
        data: with its train images and the test set.
        network: in place of the run's; what it makes is not kept.
        transforms: in place of the run's; the same.
        pool: layers in place of the run's pooling; the same, but for the maps in front of them.

    Raises:
        InputError: the run does not say what it learnt from, or it was trained on other data.
    """
    sides, truth, labels = run.sides, truth_of(data), run.labels
    table = data.labelled()
    rows = table[table["id"].isin(sides["id"][sides["side"] == "train"])] if sides is not None else table[:0]
    if not len(rows):
        raise InputError(f"{run.path}: none of its train images is known in {data.root}: train it anew on this data")
    if pool is not None:
        learnt, asked = (
            predict_dataset(run, run.dataset(part, data.root, split), pool=pool, keep=["embedding"])
            for part, split in ((rows, "train"), (data.test, "test"))
        )
    elif network is None and transforms is None:
        learnt = predict_table(run, rows, data.root, "train", keep=["embedding"])
        asked = test_predictions(run, data, KEEP)
    else:
        prepared = transforms or eval_transform(run.config.size, **data_config(run.config.model))
        learnt, asked = (
            predict(network or run.model(),
                    make_loader(LandmarkDataset(part, data.root, split, None, *prepared), run.config.batch_size),
                    keep=["embedding"])
            for part, split in ((rows, "train"), (data.test, "test"))
        )  # fmt: skip
    class_of = {i: labels.to_index(x) for i, x in zip(rows["id"], rows["landmark_id"], strict=True)}
    embedding = dict(zip(asked.ids, _embedding(asked), strict=True))
    unread = torch.full((_embedding(learnt).shape[1],), torch.nan)
    ids = sorted(truth)
    known = {i: max((labels.to_index(x) for x in truth[i]), default=-2) for i in ids}
    return FrozenFeatures(
        train=_embedding(learnt), labels=torch.tensor([class_of[i] for i in learnt.ids]),
        test=torch.stack([embedding.get(i, unread) for i in ids]),
        truth=np.array([known[i] for i in ids]), classes=len(labels),
    )  # fmt: skip


def _embedding(record: Predictions) -> Tensor:
    assert record.embedding is not None  # asked for with `keep`
    return torch.from_numpy(record.embedding).float()


def train_head(
    x: Tensor, y: Tensor, classes: int, passes: int = PASSES, *, lr: float = 1e-3, batch: int = 32, seed: int = 0
) -> nn.Module:
    """Train the head that `LandmarkNet` has when nothing else is asked for, on features that do not change.

    Args:
        x: (n, D). y: (n,) classes.
        classes: K.
        passes: over the features.
        lr: of Adam, constant as in 2019.
        batch: features in a step.
        seed: of weights, order and dropout.

    Returns:
        (N, D) → (N, K), in evaluation mode.

    >>> x, y = torch.eye(4).repeat(8, 1), torch.arange(4).repeat(8)
    >>> train_head(x, y, 4, passes=60)(torch.eye(4)).argmax(1)
    tensor([0, 1, 2, 3])
    """
    with own_random_numbers(CPU), float32_by_default():
        reseed(seed, CPU)
        head = build_head("mlp", x.shape[1], classes)[1]
        optimizer = torch.optim.Adam(head.parameters(), lr=lr, fused=True)
        for _ in range(passes):
            for rows in torch.randperm(len(x)).split(batch):
                optimizer.zero_grad()
                F.cross_entropy(head(x[rows]), y[rows]).backward()
                optimizer.step()
    return head.eval()


@torch.no_grad()
def logits_of(head: nn.Module, x: Tensor) -> Tensor:
    """Ask a head: (N, D) → (N, K); NaN where the features are."""
    return head(x)
