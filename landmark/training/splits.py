"""Train and dev rows that share no photograph, neither by id nor by likeness."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from landmark.data.archives import open_images
from landmark.prepare.duplicates import connected, duplicate_groups
from landmark.prepare.inspection import inspect_split
from landmark.utils.errors import InputError


@dataclass(frozen=True)
class Split:
    """Train and dev rows, disjoint by id and by likeness, and what was kept together or left out."""

    train: pd.DataFrame
    dev: pd.DataFrame
    duplicates: list[tuple[str, str]]  # pairs that a plain random split could have torn apart
    notes: list[str] = field(default_factory=list)


def split_dev(train: pd.DataFrame, root: str | Path, fraction: float = 0.1, seed: int = 0) -> Split:
    """Hold out `fraction` of every landmark's images; the same or nearly the same picture stays on one side.

    Images that cannot be read go to train, where they are quarantined. A landmark with one group of images goes to
    train whole. Of many images what is found is kept beside the data, so a second call reads none.

    Args:
        train: id, landmark_id rows.
        root: folder of the images.
        fraction: share of dev, of each landmark, at least one group.
        seed: of the choice.

    Raises:
        InputError: a side would be empty.
    """
    if not 0 < fraction < 1:
        raise InputError(f"dev fraction {fraction}: give a number between 0 and 1")
    ids = np.array(train["id"].tolist(), "S")
    seen = inspect_split(open_images(root, "train"), progress=len(ids) > 2_000, ids=ids)
    names = seen.ids.astype(str)
    readable = set(names[seen.facts["readable"]].tolist())
    pairs = [(str(names[group[0]]), str(names[other])) for groups in duplicate_groups(seen.facts) for group in groups
             for other in group[1:]]  # fmt: skip
    leader = _leaders(train["id"], pairs)
    leaders, in_order = train["id"].map(leader), train.sort_values("id")  # the order of the table must not matter
    landmark_of = dict(zip(in_order["id"].map(leader), in_order["landmark_id"], strict=True))
    random, dev, single = np.random.default_rng(seed), set(), 0
    by_landmark = pd.Series(list(landmark_of), dtype=str).groupby(pd.Series(list(landmark_of.values()))).agg(list)
    for candidates in by_landmark:
        candidates = sorted(name for name in candidates if name in readable)
        if len(candidates) < 2:
            single += 1
            continue
        count = min(max(1, round(fraction * len(candidates))), len(candidates) - 1)
        dev.update(random.choice(candidates, count, replace=False))
    chosen = leaders.isin(dev)
    if chosen.all() or not chosen.any():
        side = "train" if chosen.all() else "dev"
        raise InputError(f"0 images left for {side}: {len(train)} images of {len(by_landmark)} landmarks are too few")
    notes = [f"{single} landmarks with one group of images are in train only"] if single else []
    return Split(train[~chosen].reset_index(drop=True), train[chosen].reset_index(drop=True), pairs, notes)


def _leaders(ids: pd.Series, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Image id → the one that stands for its group, itself when it is alone."""
    position = {image_id: place for place, image_id in enumerate(ids)}
    places = np.array([[position[a], position[b]] for a, b in pairs], np.int64).reshape(-1, 2)
    group = connected(places, len(position)).tolist()
    first: dict[int, str] = {}
    best = {b: a for a, b in reversed(pairs)}  # an exact duplicate's first copy comes before one that is only alike
    for a, _ in pairs:
        first[group[position[a]]] = best.get(a, a)
    return {image_id: first.get(group[place], image_id) for image_id, place in position.items()}
