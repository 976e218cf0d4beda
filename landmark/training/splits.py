"""Train and dev rows that share no photograph, neither by id nor by likeness."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from landmark.data.archives import open_images
from landmark.data.dataset import Images
from landmark.data.folder import NONLANDMARK, GoogleLandmarks, JoinedImages, LabelMap
from landmark.evaluation.metrics import global_average_precision, top1_accuracy
from landmark.evaluation.prediction import Predictions
from landmark.models.heads.losses import NONE
from landmark.prepare.duplicates import connected, duplicate_groups, torn_at_random
from landmark.prepare.inspection import inspect_split
from landmark.training.config import TrainConfig
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path

SIDES = "split.csv"  # in a run's folder


@dataclass(frozen=True)
class Split:
    """Train and dev rows, disjoint by id and by likeness, with the pairs that stay on one side, and notes."""

    train: pd.DataFrame
    dev: pd.DataFrame
    duplicates: list[tuple[str, str]]  # pairs that a plain random split could have torn apart
    notes: list[str] = field(default_factory=list)

    def save(self, folder: str | Path) -> None:
        """Write the rows of both sides into a run's folder, see `read_sides`."""
        sides = pd.concat([self.train.assign(side="train"), self.dev.assign(side="dev")])
        with atomic_path(Path(folder) / SIDES) as part:
            sides[["id", "landmark_id", "side"]].to_csv(part, index=False, lineterminator="\n")

    @property
    def sizes(self) -> list[int]:
        """Train images of each class, in the order of `LabelMap`."""
        return self.train["landmark_id"].value_counts().sort_index().tolist()

    def torn(self) -> tuple[int, float]:
        """Count the pairs of duplicates with one image on each side: here, and as expected of a plain random split."""
        dev = set(self.dev["id"])
        here = sum((a in dev) != (b in dev) for a, b in self.duplicates)
        return here, torn_at_random(len(self.duplicates), len(self.train) + len(self.dev), len(self.dev))

    @cached_property
    def packed(self) -> dict:
        """The split as tensors and text, by the places of images in the order of their ids."""
        ids = np.sort(np.array([*self.train["id"], *self.dev["id"]], "S"))
        pairs = np.searchsorted(ids, np.array(self.duplicates, "S").reshape(-1, 2))
        return {"dev": torch.from_numpy(np.isin(ids, np.array([*self.dev["id"]], "S"))),
                "duplicates": torch.from_numpy(pairs), "notes": self.notes}  # fmt: skip

    @classmethod
    def of(cls, table: pd.DataFrame, saved: dict) -> Split:
        """Divide a table as it was divided before.

        Args:
            table: the rows that `split_dev` divided, in their order.
            saved: its `packed`.
        """
        order = table["id"].argsort(kind="stable").to_numpy()
        chosen = np.zeros(len(table), bool)
        chosen[order] = saved["dev"].numpy()
        ids = table["id"].to_numpy(object)[order]
        pairs = [(a, b) for a, b in ids[saved["duplicates"].numpy()].tolist()]
        return cls(*_divided(table, chosen), pairs, list(saved["notes"]))


def read_sides(folder: str | Path, counts: dict[str, int]) -> pd.DataFrame:
    """Read what `Split.save` wrote: id, landmark_id, side ("train" or "dev").

    Args:
        folder: of a run.
        counts: rows of each side.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(folder) / SIDES
    try:
        sides = pd.read_csv(path, dtype={"id": "str", "landmark_id": "int64", "side": "str"})
        rows = sides["side"].value_counts().to_dict()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: damaged ({error}): delete the run's folder and train again") from None
    if rows != counts:
        raise InputError(f"{path}: damaged ({rows} rows, not {counts}): delete the run's folder and train again")
    return sides


def _divided(table: pd.DataFrame, dev: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    return table[~dev].reset_index(drop=True), table[dev].reset_index(drop=True)


def split_dev(train: pd.DataFrame, root: str | Path, fraction: float = 0.1, seed: int = 0) -> Split:
    """Hold out `fraction` of every landmark's images; the same or nearly the same picture stays on one side.

    Images that cannot be read go to train, where they are quarantined. A landmark with one group of images goes to
    train whole. Of many images the inspection is stored beside the data, so a second call reads none.

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
    inspection = inspect_split(open_images(root, "train"), progress=len(ids) > 2_000, ids=ids)
    names = inspection.ids.astype(str)
    readable = set(names[inspection.records["readable"]].tolist())
    pairs = [(str(names[group[0]]), str(names[other])) for groups in duplicate_groups(inspection.records)
             for group in groups for other in group[1:]]  # fmt: skip
    leader = _leaders(train["id"], pairs)
    leaders, in_order = train["id"].map(leader), train.sort_values("id")  # the order of the table must not matter
    landmark_of = dict(zip(in_order["id"].map(leader), in_order["landmark_id"], strict=True))
    dev: set[str] = set()
    random, single = np.random.default_rng(seed), 0
    by_landmark = pd.Series(list(landmark_of), dtype=str).groupby(pd.Series(list(landmark_of.values()))).agg(list)
    for candidates in by_landmark:
        candidates = sorted(name for name in candidates if name in readable)
        if len(candidates) < 2:
            single += 1
            continue
        count = min(max(1, round(fraction * len(candidates))), len(candidates) - 1)
        dev.update(random.choice(candidates, count, replace=False))
    chosen = leaders.isin(dev).to_numpy()
    if chosen.all() or not chosen.any():
        side = "train" if chosen.all() else "dev"
        raise InputError(f"0 images left for {side}: {len(train)} images of {len(by_landmark)} landmarks are too few")
    notes = [f"{single} landmarks with one group of images are in train only"] if single else []
    return Split(*_divided(train, chosen), pairs, notes)


def _leaders(ids: pd.Series, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Map each image id to the one that stands for its group, itself when it is alone."""
    position = {image_id: place for place, image_id in enumerate(ids)}
    places = np.array([[position[a], position[b]] for a, b in pairs], np.int64).reshape(-1, 2)
    group = connected(places, len(position)).tolist()
    first: dict[int, str] = {}
    best = {b: a for a, b in reversed(pairs)}  # an exact duplicate's first copy comes before one that is only alike
    for a, _ in pairs:
        first[group[position[a]]] = best.get(a, a)
    return {image_id: first.get(group[place], image_id) for image_id, place in position.items()}


def nonlandmark_ids(config: TrainConfig, root: str | Path) -> list[str]:
    """List the images without a landmark that a run may learn from; none where its settings do not ask for them.

    Args:
        config: the settings.
        root: folder in the GLDv2 layout.

    Raises:
        InputError: they are asked for, and there are none.
    """
    if not config.without:
        return []
    ids = sorted(GoogleLandmarks(root).nonlandmark["id"])
    if not ids:
        raise InputError(f"{root}: no images in nonlandmark/, of which loss={config.loss} learns: add some, or choose "
                         "nonlandmarks=0")  # fmt: skip
    return ids


def learnt_images(config: TrainConfig, table: pd.DataFrame, root: str | Path) -> tuple[pd.DataFrame, Images | None]:
    """Let images without a landmark join the train images, as many as the settings ask for and there are.

    Args:
        config: the settings.
        table: the train images, id and landmark_id.
        root: folder in the GLDv2 layout.

    Returns:
        The table, rows of the landmark -1 behind it, and what reads the images; None: as they lie in train/.

    Raises:
        InputError: as `nonlandmark_ids`.
    """
    ids = nonlandmark_ids(config, root)
    if not ids:
        return table, None
    count = min(len(ids), max(1, round(config.without * len(table))))
    chosen = sorted(np.random.default_rng(config.seed).choice(ids, count, replace=False).tolist())
    more = pd.DataFrame({"id": [f"{NONLANDMARK}/{image_id}" for image_id in chosen], "landmark_id": NONE})
    return pd.concat([table[["id", "landmark_id"]], more], ignore_index=True), JoinedImages(root, "train", NONLANDMARK)


def dev_scores(predictions: Predictions, labels: LabelMap, table: pd.DataFrame) -> dict[str, float]:
    """Compute loss, GAP and top-1 accuracy of a whole set of labelled images.

    Args:
        predictions: of every image of `table` that could be read.
        labels: the run's label set.
        table: id and landmark_id of the set; an unreadable image counts as one without a prediction.
    """
    truth = {i: [int(landmark)] for i, landmark in zip(table["id"], table["landmark_id"], strict=True)}
    answers = predictions.mapping(labels)
    return {
        "dev_loss": float(np.mean(predictions.loss)) if len(predictions.ids) else float("nan"),
        "dev_gap": global_average_precision(answers, truth),
        "dev_top1": top1_accuracy(answers, truth),
    }
