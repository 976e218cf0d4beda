"""Plan a miniature world: every file of it before any is made, its faults and its test set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from landmark.utils.errors import InputError
from landmark.world import distractors
from landmark.world.config import WorldConfig
from landmark.world.landmarks import design

Rng = np.random.Generator
DRAWS = 10_000  # other test sets that a world has
_IDS = 200_000  # landmark ids of a world; each of its other test sets has so many of its own
_SEEDS = 2**31  # of geometries, likewise


@dataclass(frozen=True)
class Shot:
    """One row of a table, and all that its file depends on."""

    split: str
    image_id: str
    label: int | None  # as the table says
    subject: tuple[int, int] | str  # (geometry seed, family seed), or a kind of distractor
    truth: int | None  # landmark that is to be seen
    fault: str = ""  # wrong_label, rotated, grey, cmyk, exif, duplicate, unreadable
    rotation: int = 0
    source: str = ""  # id whose picture this one repeats
    size: int = 160
    seed: tuple[int, ...] = ()


def _sizes(config: WorldConfig, rng: Rng) -> np.ndarray:
    """Train images of each landmark of the label set: a long tail of the wanted mean above the filter."""
    share = 1 / np.arange(1, config.landmarks + 1) ** 0.6
    extra = config.landmarks * (config.images - config.min_images)
    sizes = config.min_images + np.floor(extra * share / share.sum()).astype(int)
    sizes[: config.landmarks * config.images - sizes.sum()] += 1
    return rng.permutation(sizes)


class _Cast(NamedTuple):
    """The landmarks of a world, one entry each."""

    ids: np.ndarray
    role: np.ndarray  # known, tail or unknown
    subject: dict[int, tuple[int, int]]  # by id: geometry seed, family seed
    families: np.ndarray  # seeds, each once


def _cast(config: WorldConfig, rng: Rng) -> _Cast:
    """Choose the landmarks of a world."""
    tail, others = max(2, config.landmarks // 3), max(2, config.landmarks // 4)
    count = config.landmarks + tail + others
    ids = np.sort(rng.choice(_IDS, count, replace=False)) + 1
    role = rng.permutation(["known"] * config.landmarks + ["tail"] * tail + ["unknown"] * others)
    families = rng.integers(2**30, size=max(1, round(count / config.siblings))) * 2 + config.pretraining
    family = rng.permutation(np.resize(families, count))  # as equal in size as can be
    subject = {int(i): (int(s) * 2 + config.pretraining, int(f))
               for i, s, f in zip(ids, rng.choice(2**30, count, replace=False), family, strict=True)}  # fmt: skip
    return _Cast(ids, role, subject, families)


def _distractor(rng: Rng) -> str:
    return str(rng.choice(list(distractors.KINDS)))


def _asked(config: WorldConfig, known: np.ndarray, rest: np.ndarray, rng: Rng) -> list[int | None]:
    """Choose what each test image shows: a landmark of the label set, another one, or none."""
    n_known, n_unknown = np.round(np.array([config.known, config.unknown]) * config.test).astype(int)
    asked: list[int | None] = [int(rng.choice(known)) for _ in range(n_known)]
    asked += [int(rng.choice(rest)) for _ in range(n_unknown)]
    return asked + [None] * (config.test - n_known - n_unknown)


def _table(cast: _Cast) -> pd.DataFrame:
    designs = [design(*cast.subject[i]) for i in cast.ids.tolist()]
    rows = [(i, x.name, x.kind, x.family, r)
            for i, x, r in zip(cast.ids.tolist(), designs, cast.role.tolist(), strict=True)]  # fmt: skip
    return pd.DataFrame(rows, columns=["landmark_id", "name", "kind", "family", "role"])


def plan(config: WorldConfig) -> tuple[list[Shot], pd.DataFrame]:
    """Every file of a world before any is made, and its landmarks (landmark_id, name, kind, family, role).

    >>> shots, landmarks = plan(WorldConfig(landmarks=4, images=6, test=10))
    >>> landmarks["role"].value_counts()["known"].item()
    4
    """
    rng = np.random.default_rng((config.seed, config.pretraining, 31))
    ids, role, subject, _ = cast = _cast(config, rng)
    known, rest = ids[role == "known"], ids[role != "known"]
    shots: list[Shot] = []

    def add(split: str, label: int | None, shown: int | str, **more: Any) -> None:
        truth, what = (None, shown) if isinstance(shown, str) else (shown, subject[shown])
        key = f"{config.seed}/{config.pretraining}/{split}/{len(shots)}"
        seed = more.pop("seed", (config.seed, int(config.pretraining), 32, len(shots)))
        shots.append(Shot(split, hashlib.sha256(key.encode()).hexdigest()[:16], label,
                           what, truth, size=config.size, seed=seed, **more))  # fmt: skip

    for landmark_id, size in zip(known.tolist(), _sizes(config, rng).tolist(), strict=True):
        for _ in range(size):
            add("train", landmark_id, landmark_id)
    at = rng.permutation(len(shots)).tolist()
    for fault, share in (("rotated", 0.02), ("grey", 0.02), ("cmyk", 0.01), ("exif", 0.01)):
        for _ in range(max(1, round(share * len(shots)))):
            if not at:
                break
            i = at.pop(0)
            turn = int(rng.choice([90, 180, 270])) if fault == "rotated" else 90 * (fault == "exif")
            shots[i] = replace(shots[i], fault=fault, rotation=turn)
    sound = [shot for shot in shots if not shot.fault]
    for landmark_id in ids[role == "tail"].tolist():
        for _ in range(int(rng.integers(1, config.min_images))):
            add("train", landmark_id, landmark_id)
    regular = len(shots)
    for _ in range(max(1, round(0.03 * regular))):  # half a picture of nothing, half one of another landmark
        label = int(rng.choice(known))
        other = int(rng.choice(known[known != label])) if rng.random() < 0.5 and len(known) > 1 else _distractor(rng)
        add("train", label, other, fault="wrong_label")
    for i in rng.choice(len(sound), round(0.02 * regular), replace=False).tolist():
        shot = sound[i]
        assert shot.truth
        add("train", shot.label, shot.truth, fault="duplicate", source=shot.image_id, seed=shot.seed)
    for i in range(max(3, round(0.003 * regular))):
        label = int(rng.choice(known))
        add("train", label, label, fault="unreadable", rotation=i % 3)
    for asked in _asked(config, known, rest, rng):
        add("test", asked, _distractor(rng) if asked is None else asked)
    apart = np.random.default_rng((config.seed, config.pretraining, 34))  # train and test are the same without them
    for i in range(config.nonlandmark_images):
        key = f"{config.seed}/{config.pretraining}/nonlandmark/{i}"
        kind, seed = _distractor(apart), (config.seed, int(config.pretraining), 35, i)
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        shots.append(Shot("nonlandmark", name, None, kind, None, size=config.size, seed=seed))
    return shots, _table(cast)


def plan_queries(config: WorldConfig, draw: int) -> tuple[list[Shot], pd.DataFrame]:
    """Plan another test set of a world: landmarks of its label set in other photographs, among other unknown ones.

    There are no train images. Photographs, unknown landmarks (their ids and geometries; they are siblings of the
    world's) and distractors are those of no other draw, nor of the world's own test set: what is chosen on one such
    set can be reported on another.

    Args:
        config: of the world; its shares and number of test images hold for the other set as well.
        draw: number of the other set, 1 to `DRAWS`.

    Raises:
        InputError: a draw out of range.

    >>> shots, landmarks = plan_queries(WorldConfig(landmarks=4, images=6, test=10), draw=1)
    >>> len(shots), landmarks["role"].value_counts()["known"].item()
    (10, 4)
    """
    if not 1 <= draw <= DRAWS:
        raise InputError(f"test set {draw} of a world: give a whole number from 1 to {DRAWS}")
    of = (config.seed, int(config.pretraining))
    world, rng = _cast(config, np.random.default_rng((*of, 31))), np.random.default_rng((*of, 36, draw))
    known, count = world.ids[world.role == "known"], int((world.role != "known").sum())
    others = np.sort(rng.choice(_IDS, count, replace=False)) + 1 + _IDS * draw
    geometry = rng.choice(2**30, count, replace=False) * 2 + config.pretraining + _SEEDS * draw
    subject = {i: world.subject[i] for i in known.tolist()}
    families = rng.choice(world.families, count)
    subject |= {int(i): (int(s), int(f)) for i, s, f in zip(others, geometry, families, strict=True)}
    shots = []
    for i, asked in enumerate(_asked(config, known, others, rng)):
        shown = _distractor(rng) if asked is None else subject[asked]
        name = hashlib.sha256(f"{config.seed}/{config.pretraining}/test {draw}/{i}".encode()).hexdigest()[:16]
        shots.append(Shot("test", name, asked, shown, asked, size=config.size, seed=(*of, 37, draw, i)))
    role = np.array(["known"] * len(known) + ["unknown"] * count)
    return shots, _table(_Cast(np.concatenate([known, others]), role, subject, world.families))
