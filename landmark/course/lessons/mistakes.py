"""The wrong ways of 2019, one function each: for teaching alone, no training and no score of this project uses them.

Scores are arrays with a row for each image. A NaN score is an image without an answer: it takes no rank.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landmark.data.dataset import Transforms, eval_transform
from landmark.evaluation.metrics import Predictions, Solution
from landmark.evaluation.report.answers import tabulate
from landmark.models.functional import spatial_softmax
from landmark.models.layers import CompactBilinearPooling
from landmark.models.net import LandmarkNet
from landmark.models.recipes import data_config
from landmark.utils.errors import InputError

PASSES = 16  # over the train images: 300,000 steps of 64 among 1.2 million
BATCH = 64  # images of which GAP was computed at a time
ANSWERS = 20  # in a row of the submission
RELUS = ("act2", "act3", "act4")  # of Xception, behind bn2, bn3 and bn4


def precision_sum(score: np.ndarray, correct: np.ndarray) -> float:
    """Sum the precision at the rank of each right answer: Σ P(i) · rel(i). This is the sound part: over M it is GAP.

    Args:
        score: (N,) any order; equal scores rank in the order of the rows.
        correct: (N,) whether each answer is right.

    >>> precision_sum(np.array([0.9, 0.8, 0.6]), np.array([True, False, True])) == 1 + 2 / 3
    True

    Source: section 5.1 of the paper.
    """
    made = np.flatnonzero(~np.isnan(score))
    right = correct[made[np.argsort(-score[made], kind="stable")]]
    return float((np.cumsum(right)[right] / (np.flatnonzero(right) + 1)).sum())


def train_on_asked(train: Tensor, labels: Tensor, asked: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Leave the images that one is asked about among the train images, as rows drawn from the train table do.

    Args:
        train: (n, D) features. labels: (n,) their classes.
        asked: (m, D) features. classes: (m,) their classes, below 0 where there is none in the label set.

    Returns:
        FrozenFeatures and classes of both.

    >>> train_on_asked(torch.zeros(2, 1), torch.tensor([0, 1]), torch.ones(2, 1), torch.tensor([1, -1]))[1].tolist()
    [0, 1, 1]
    """
    known = classes >= 0
    return torch.cat([train, asked[known]]), torch.cat([labels, classes[known]])


def only_known(kind: np.ndarray) -> np.ndarray:
    """Select the rows of landmarks in the label set: a dev set without unknown landmarks and distractors.

    Args:
        kind: (N,) 0 for a known landmark, 1 for an unknown one, 2 for a distractor.

    >>> only_known(np.array([0, 2, 0, 1])).tolist()
    [0, 2]
    """
    return np.flatnonzero(kind == 0)


def mean_batch_gap(score: np.ndarray, correct: np.ndarray, shows: np.ndarray, batch: int = BATCH) -> float:
    """Average the GAP of batches: a wrong answer that outranks everything harms its own batch alone.

    Args:
        score, correct: (N,) in the order of the batches.
        shows: (N,) whether the image shows a landmark; a batch without any is left out.
        batch: images in each; the last may have fewer.

    >>> score, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, False, True])
    >>> mean_batch_gap(score, correct, np.array([True, False, True, True]), batch=2)  # 1 / 1 and (1 / 2) / 2
    0.625
    """
    parts = [slice(start, start + batch) for start in range(0, len(score), batch)]
    return float(np.mean([precision_sum(score[p], correct[p]) / shows[p].sum() for p in parts if shows[p].any()]))


def batched_gap(predictions: Predictions, solution: Solution, batch: int, seed: int = 0) -> np.ndarray:
    """Compute the GAP of each shuffled batch that shows a landmark: their mean is no GAP, and their spread is noise.

    Args:
        predictions, solution: as for `global_average_precision`.
        batch: images in each; the last may have fewer.
        seed: of the order.

    Raises:
        InputError: a batch of no image, or what `metrics` cannot score.

    >>> from landmark import global_average_precision
    >>> solution = {str(i): [i] for i in range(4)}
    >>> predictions = {"0": (0, 0.1), "1": (9, 0.9), "2": (9, 0.8), "3": (9, 0.7)}
    >>> global_average_precision(predictions, solution), float(batched_gap(predictions, solution, batch=1).mean())
    (0.0625, 0.25)
    """
    if batch < 1:
        raise InputError(f"a batch holds at least one image, not {batch}")
    answers = tabulate(predictions, solution, ())
    score, correct, shows = answers.score, answers.correct, answers.kind < 2
    order = np.random.default_rng(seed).permutation(len(answers))
    batches = [np.sort(order[start : start + batch]) for start in range(0, len(order), batch)]  # ties rank by id
    return np.array([mean_batch_gap(score[b], correct[b], shows[b], batch) for b in batches if shows[b].any()])


def gap_by_rows(score: np.ndarray, correct: np.ndarray) -> float:
    """Divide GAP's sum by all rows instead of the images that show a landmark: wrong once there are distractors.

    >>> gap_by_rows(np.array([0.9, 0.5]), np.array([True, False]))
    0.5
    """
    return precision_sum(score, correct) / len(score)


def neighbours_instead(rows: np.ndarray, unreadable: np.ndarray) -> np.ndarray:
    """File the next readable image under the id of one that cannot be read; behind the last comes the first.

    Args:
        rows: (N, ...) answers.
        unreadable: (N,) bool.

    Raises:
        InputError: no image can be read.

    >>> neighbours_instead(np.array([10, 20, 30]), np.array([False, True, True])).tolist()
    [10, 10, 10]
    """
    readable = np.flatnonzero(~unreadable)
    if not len(readable):
        raise InputError("no image can be read, so that there is no neighbour's answer")
    place = np.searchsorted(readable, np.arange(len(rows)))
    return rows[readable[place % len(readable)]]


def without_relus(network: LandmarkNet, names: Sequence[str] = RELUS) -> LandmarkNet:
    """Copy a network without some activations of its backbone, as when they are calls that a wrapper does not know.

    Raises:
        InputError: the backbone has no such activation.

    >>> from landmark import create_model
    >>> without_relus(create_model("xception", 0)).backbone.act4
    Identity()
    """
    damaged = copy.deepcopy(network)
    for name in names:
        if not isinstance(getattr(damaged.backbone, name, None), nn.ReLU):
            raise InputError(f"backbone {network.backbone_name}: no activation {name} to lose")
        setattr(damaged.backbone, name, nn.Identity())
    return damaged


def imagenet_input(size: int) -> Transforms:
    """Prepare images with ImageNet's mean and deviation, whatever those of the network are.

    >>> from PIL import Image
    >>> round(imagenet_input(8)(Image.new("RGB", (20, 10), "white"))[0].mean().item(), 3)  # (1 - 0.485) / 0.229
    2.249
    """
    return eval_transform(size, **data_config("resnet50"))


def sketch_of_pooled(vectors: Tensor, dim: int, seed: int = 0) -> Tensor:
    """Sketch the outer product of one pooled vector, without signed square root and without L2 norm: (N, C) → (N, D).

    The mean over the positions comes first, so that nothing is left of which features meet at a position.

    >>> one = sketch_of_pooled(torch.eye(3), 16)
    >>> bool((sketch_of_pooled(2 * torch.eye(3), 16) - 4 * one).abs().max() < 1e-5)  # a quadratic
    True
    """
    return CompactBilinearPooling(vectors.shape[1], dim, seed)(vectors)


def attention_on_vector(vectors: Tensor, side: int = 16) -> Tensor:
    """Lay out a vector as maps and let their positions attend, which are none of the image: (N, C) → (N, C).

    Args:
        vectors: (N, C), C a multiple of side².
        side: of the maps.

    Raises:
        InputError: the vector does not divide into such maps.

    >>> attention_on_vector(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), side=2).round(decimals=3)
    tensor([[0.4750, 0.0000, 0.0000, 0.0000]])

    Source: the paper, section 4.
    """
    if vectors.shape[1] % side**2:
        raise InputError(f"{vectors.shape[1]} numbers do not divide into maps of {side} × {side}")
    maps = vectors.reshape(len(vectors), -1, side, side)  # (N, C / side², side, side)
    return (maps * spatial_softmax(maps)).flatten(1)


def gap_of_many(scores: np.ndarray, truth: np.ndarray, shows: np.ndarray, answers: int = ANSWERS) -> float:
    """Rank many answers of each image instead of one: each further one takes a rank, and may be right.

    Args:
        scores: (N, K) of every class; NaN in the row of an image without an answer.
        truth: (N,) class, below 0 where there is none in the label set.
        shows: (N,) whether the image shows a landmark.
        answers: of each image, its best ones; K when there are fewer classes.

    >>> gap_of_many(np.array([[0.3, 0.7]]), np.array([0]), np.array([True]))  # the second answer is right
    0.5
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :answers]
    correct = best == truth[:, None]
    return float(precision_sum(np.take_along_axis(scores, best, 1).ravel(), correct.ravel()) / shows.sum())
