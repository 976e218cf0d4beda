"""The mistakes of 2019 measured: each alone, and all that flatter together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from landmark.course.lessons import mistakes
from landmark.course.lessons.heads import FrozenFeatures, frozen_features, logits_of, train_head
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.resamples import draw_counts, interval, over_seeds, rows_by_kind
from landmark.models.layers import CompactBilinearPooling, Normalise
from landmark.training.run import Run

DIM = 4096  # of the sketches: a head on 8192 numbers takes twice the time
UNREADABLE = 0.05  # of the test images, at random, for the mistake that is about them
TOGETHER = "all that flatter, together"

Measure = Callable[[np.ndarray], float]  # rows of the test set, some of them several times → a score


class _Pair(NamedTuple):
    """The right way and a wrong one: a measure of each seed."""

    sound: list[Measure]
    wrong: list[Measure]
    where: str  # what it touches


def _open(answers: Answers, among: Callable[[np.ndarray], np.ndarray] | None = None) -> Measure:
    """GAP as the organisers compute it, of some rows; `among` leaves out some of them by their kind."""

    def measure(rows: np.ndarray) -> float:
        rows = rows[among(answers.kind[rows])] if among else rows
        return mistakes.precision_sum(answers.score[rows], answers.correct[rows]) / (answers.kind[rows] < 2).sum()

    return measure


def _batched(answers: Answers, among: Callable[[np.ndarray], np.ndarray] | None = None) -> Measure:
    def measure(rows: np.ndarray) -> float:
        rows = rows[among(answers.kind[rows])] if among else rows
        rows = np.random.default_rng(0).permutation(rows)
        return mistakes.mean_batch_gap(answers.score[rows], answers.correct[rows], answers.kind[rows] < 2)

    return measure


def _by_rows(answers: Answers) -> Measure:
    return lambda rows: mistakes.gap_by_rows(answers.score[rows], answers.correct[rows])


def _many(scores: np.ndarray, features: FrozenFeatures) -> Measure:
    return lambda rows: mistakes.gap_of_many(scores[rows], features.truth[rows], features.shows[rows])


def _by(features: FrozenFeatures, layer: Callable[[Tensor], Tensor]) -> FrozenFeatures:
    """The features behind one more layer."""
    return replace(features, train=layer(features.train), test=layer(features.test))


def _heads(
    features: FrozenFeatures, run: Run, seeds: Sequence[int], passes: int, leak: bool = False
) -> list[nn.Module]:
    """Train a head for each seed, with the settings of the run."""
    x, y = features.train, features.labels
    if leak:
        readable = ~torch.isnan(features.test).any(1)
        classes = torch.where(readable, torch.from_numpy(features.truth), -1)
        x, y = mistakes.train_on_asked(x, y, features.test, classes)
    lr, batch = run.config.lr, run.config.batch_size
    return [train_head(x, y, features.classes, passes, lr=lr, batch=batch, seed=seed) for seed in seeds]


def _asked(heads: Iterable[nn.Module], features: FrozenFeatures) -> list[Tensor]:
    return [logits_of(head, features.test) for head in heads]


def _plain(logits: Iterable[Tensor], features: FrozenFeatures, score: str = "softmax") -> list[Measure]:
    return [_open(features.answers(one, score)) for one in logits]


def mistakes_table(
    light: Run, deep: Run, data: GoogleLandmarks, *, seeds: Sequence[int] = (0, 1, 2), passes: int = mistakes.PASSES,
    n: int = 300,
) -> pd.DataFrame:  # fmt: skip
    """Switch on each mistake alone, and measure what becomes of the open GAP of a sound head on frozen features.

    Args:
        light: the course's run whose features most heads learn on, of a small backbone.
        deep: a run of Xception, whose activations can be lost.
        data: of both.
        seeds: of the heads.
        passes: of a head over its features.
        n: resamples of the test set, within each kind of image; seeds are resampled as well.

    Returns:
        A row for each mistake: `where` it sits, GAP of the sound and of the wrong way, their `difference` and the ends
        `low` and `high` of its 95 % interval. The last row is what the wrong measures show when they come together.

    Raises:
        InputError: as of `frozen_features`, or `deep` has no activations to lose.
    """
    features = frozen_features(light, data)
    heads = _heads(features, light, seeds, passes)
    sound = _plain(_asked(heads, features), features)
    pairs = _of_measure(features, light, heads, sound, seeds, passes)
    pairs |= _of_features(features, light, heads, sound, data, seeds, passes) | _of_relus(deep, data, seeds, passes)
    pairs[TOGETHER] = pairs.pop(TOGETHER)
    rows = [np.repeat(np.arange(len(features.truth)), count) for count in
            draw_counts(rows_by_kind(features.kind), 0, n)]  # fmt: skip
    rows.append(np.arange(len(features.truth)))  # the test set as it is
    known: dict[int, np.ndarray] = {}

    def values(measures: list[Measure]) -> np.ndarray:
        """(n + 1, S), the last of the test set as it is."""
        if id(measures) not in known:
            known[id(measures)] = np.array([[measure(some) for measure in measures] for some in rows])
        return known[id(measures)]

    table = {}
    for name, (right, wrong, where) in pairs.items():
        good, bad = values(right), values(wrong)
        change = interval(float((bad - good)[-1].mean()), over_seeds((bad - good)[:-1]))
        table[name] = [where, good[-1].mean(), bad[-1].mean(), *change]
    columns = ["where", "sound", "wrong", "difference", "low", "high"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns)


def _of_measure(
    features: FrozenFeatures, run: Run, heads: list[nn.Module], sound: list[Measure], seeds: Sequence[int], passes: int
) -> dict[str, _Pair]:
    """Mistakes that need no other features."""
    logits = _asked(heads, features)
    leaked = _asked(_heads(features, run, seeds, passes, leak=True), features)
    answers = [features.answers(one) for one in logits]
    unread = [np.random.default_rng(seed).random(len(features.truth)) < UNREADABLE for seed in seeds]
    empty = [torch.where(torch.from_numpy(gone)[:, None], torch.nan, one)
             for one, gone in zip(logits, unread, strict=True)]  # fmt: skip
    swapped = [torch.from_numpy(mistakes.neighbours_instead(one.numpy(), gone))
               for one, gone in zip(logits, unread, strict=True)]  # fmt: skip
    flattering = [features.answers(one, "logit") for one in leaked]
    return {
        f"dev images in train, {passes} passes": _Pair(sound, _plain(leaked, features), "training"),
        "no unknown landmarks, no distractors": _Pair(
            sound, [_open(one, mistakes.only_known) for one in answers], "measure"),
        f"GAP per batch of {mistakes.BATCH}, averaged": _Pair(sound, [_batched(one) for one in answers], "measure"),
        "GAP divided by all rows": _Pair(sound, [_by_rows(one) for one in answers], "measure"),
        "largest logit in place of softmax": _Pair(sound, _plain(logits, features, "logit"), "measure"),
        f"unreadable, {UNREADABLE:.0%}: the neighbour's answer": _Pair(
            _plain(empty, features), _plain(swapped, features), "submission"),
        f"{mistakes.ANSWERS} answers a row": _Pair(
            sound, [_many(torch.softmax(one, 1).numpy(), features) for one in logits], "submission"),
        TOGETHER: _Pair(sound, [_batched(one, mistakes.only_known) for one in flattering], "measure"),
    }  # fmt: skip


def _of_features(
    features: FrozenFeatures, run: Run, heads: list[nn.Module], sound: list[Measure], data: GoogleLandmarks,
    seeds: Sequence[int], passes: int,
) -> dict[str, _Pair]:  # fmt: skip
    """Mistakes in the network: other features of the same images."""

    def trained(other: FrozenFeatures) -> list[Measure]:
        return _plain(_asked(_heads(other, run, seeds, passes), other), other)

    shifted = frozen_features(run, data, transforms=mistakes.imagenet_input(run.config.size))
    pool = nn.Sequential(CompactBilinearPooling(features.train.shape[1], DIM), Normalise())
    of_map = frozen_features(run, data, pool=pool)
    pooled = _by(features, lambda x: mistakes.sketch_of_pooled(x, DIM))
    attended = _by(features, mistakes.attention_on_vector)
    return {
        "ImageNet's mean and std, at prediction alone": _Pair(
            sound, _plain(_asked(heads, shifted), shifted), "prediction"),
        "ImageNet's mean and std, from the start": _Pair(sound, trained(shifted), "network"),
        "CBP of one pooled vector, no square root": _Pair(trained(of_map), trained(pooled), "network"),
        "attention over a reshaped vector": _Pair(sound, trained(attended), "network"),
    }  # fmt: skip


def _of_relus(run: Run, data: GoogleLandmarks, seeds: Sequence[int], passes: int) -> dict[str, _Pair]:
    """The activations that a wrapper loses."""
    features = frozen_features(run, data)
    damaged = frozen_features(run, data, mistakes.without_relus(run.model()))
    heads = _heads(features, run, seeds, passes)
    sound = _plain(_asked(heads, features), features)
    anew = _asked(_heads(damaged, run, seeds, passes), damaged)
    return {
        "three ReLUs lost, at prediction alone": _Pair(sound, _plain(_asked(heads, damaged), damaged), "prediction"),
        "three ReLUs lost, head trained anew": _Pair(sound, _plain(anew, damaged), "network"),
    }


def leak_table(
    run: Run, data: GoogleLandmarks, passes: Sequence[int] = (1, 2, 4, 8, 16), seed: int = 0
) -> pd.DataFrame:
    """Closed GAP on the known test images, never seen and among the train images, by passes over the train images.

    Args:
        run: whose features the heads learn on. data: its data.
        passes: of each pair of heads.
        seed: of the heads.
    """
    features = frozen_features(run, data)
    rows, table = mistakes.only_known(features.kind), {}
    for count in passes:
        table[count] = [
            _plain(_asked(_heads(features, run, [seed], count, leak), features), features)[0](rows)
            for leak in (False, True)
        ]
    table_columns = ["never seen", "in train"]
    return pd.DataFrame.from_dict(table, orient="index", columns=table_columns).rename_axis("passes")
