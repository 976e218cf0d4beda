"""Plan a miniature world: every file of it before any is made, its faults and its test set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from landmark.world import distractors
from landmark.world.config import WorldConfig
from landmark.world.landmarks import design

Rng = np.random.Generator


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


def plan(config: WorldConfig) -> tuple[list[Shot], pd.DataFrame]:
    """Every file of a world before any is made, and its landmarks (landmark_id, name, kind, family, role).

    >>> shots, landmarks = plan(WorldConfig(landmarks=4, images=6, test=10))
    >>> landmarks["role"].value_counts()["known"].item()
    4
    """
    rng = np.random.default_rng((config.seed, config.pretraining, 31))
    tail, others = max(2, config.landmarks // 3), max(2, config.landmarks // 4)
    count = config.landmarks + tail + others
    ids = np.sort(rng.choice(200_000, count, replace=False)) + 1
    role = rng.permutation(["known"] * config.landmarks + ["tail"] * tail + ["unknown"] * others)
    families = rng.integers(2**30, size=max(1, round(count / config.siblings))) * 2 + config.pretraining
    family = rng.permutation(np.resize(families, count))  # as equal in size as can be
    subject = {int(i): (int(s) * 2 + config.pretraining, int(f))
               for i, s, f in zip(ids, rng.choice(2**30, count, replace=False), family, strict=True)}  # fmt: skip
    known, rest = ids[role == "known"], ids[role != "known"]
    shots: list[Shot] = []

    def add(split: str, label: int | None, shown: int | str, **more: Any) -> None:
        truth, what = (None, shown) if isinstance(shown, str) else (shown, subject[shown])
        key = f"{config.seed}/{config.pretraining}/{split}/{len(shots)}"
        seed = more.pop("seed", (config.seed, int(config.pretraining), 32, len(shots)))
        shots.append(Shot(split, hashlib.sha256(key.encode()).hexdigest()[:16], label,
                           what, truth, size=config.size, seed=seed, **more))  # fmt: skip

    def any_distractor() -> str:
        return str(rng.choice(list(distractors.KINDS)))

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
        other = int(rng.choice(known[known != label])) if rng.random() < 0.5 and len(known) > 1 else any_distractor()
        add("train", label, other, fault="wrong_label")
    for i in rng.choice(len(sound), round(0.02 * regular), replace=False).tolist():
        shot = sound[i]
        assert shot.truth
        add("train", shot.label, shot.truth, fault="duplicate", source=shot.image_id, seed=shot.seed)
    for i in range(max(3, round(0.003 * regular))):
        label = int(rng.choice(known))
        add("train", label, label, fault="unreadable", rotation=i % 3)
    shares = np.array([config.known, config.unknown])
    n_known, n_unknown = np.round(shares * config.test).astype(int)
    for _ in range(n_known):
        landmark_id = int(rng.choice(known))
        add("test", landmark_id, landmark_id)
    for _ in range(n_unknown):
        landmark_id = int(rng.choice(rest))
        add("test", landmark_id, landmark_id)
    for _ in range(config.test - n_known - n_unknown):
        add("test", None, any_distractor())
    apart = np.random.default_rng((config.seed, config.pretraining, 34))  # train and test are the same without them
    for i in range(config.nonlandmark_images):
        key = f"{config.seed}/{config.pretraining}/nonlandmark/{i}"
        kind, seed = str(apart.choice(list(distractors.KINDS))), (config.seed, int(config.pretraining), 35, i)
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        shots.append(Shot("nonlandmark", name, None, kind, None, size=config.size, seed=seed))
    designs = [design(*subject[i]) for i in ids.tolist()]
    rows = [(i, x.name, x.kind, x.family, r) for i, x, r in zip(ids.tolist(), designs, role.tolist(), strict=True)]
    return shots, pd.DataFrame(rows, columns=["landmark_id", "name", "kind", "family", "role"])
