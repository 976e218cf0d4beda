"""Make the miniature world: photographs of invented landmarks in the layout of Google Landmarks v2.

Like the real set it has a long tail, wrong labels, rotated, grey, CMYK and broken files, near-duplicates, and a test
set that is mostly distractors. Unlike the real one it also says which is which, in `planted.csv`.
"""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import atomic_path, claimed, write_json
from landmark.utils.locks import LOCK, alone
from landmark.utils.process import settle_sockets, usable_cpus
from landmark.world.config import WorldConfig
from landmark.world.photographs import _shoot
from landmark.world.plan import DRAWS, Shot, plan, plan_queries
from landmark.world.worship import SACRED

VERSION = 3  # raise it when the same settings give other tables or pixels


def _write_tables(
    root: Path, config: WorldConfig, shots: list[Shot], landmarks: pd.DataFrame, queries: int, solution: bool
) -> None:
    rng = np.random.default_rng((config.seed, config.pretraining, 33, *([queries] if queries else [])))
    train = [s for s in shots if s.split == "train"]
    test = [s for s in shots if s.split == "test"]
    train, test = [train[i] for i in rng.permutation(len(train))], [test[i] for i in rng.permutation(len(test))]
    public = set(rng.permutation(len(test))[: len(test) // 3].tolist())
    sacred = landmarks["kind"].isin(list(SACRED))
    category = "https://example.org/Category:" + landmarks["name"].str.replace(" ", "_")
    planted = [
        (s.split, s.image_id, s.fault, s.truth, 0 if s.fault == "unreadable" else s.rotation) for s in shots if s.fault
    ]
    tables = {
        "train.csv": pd.DataFrame(
            [(s.image_id, f"https://example.org/{s.image_id}.jpg", s.label) for s in train],
            columns=["id", "url", "landmark_id"],
        ),
        "test.csv": pd.DataFrame({"id": [s.image_id for s in test]}),
        "nonlandmark.csv": pd.DataFrame(
            [(s.image_id, f"https://example.org/{s.image_id}.jpg") for s in shots if s.split == "nonlandmark"],
            columns=["id", "url"],
        ),
        "recognition_solution_v2.1.csv": pd.DataFrame(
            [(s.image_id, "" if s.label is None else str(s.label), "Public" if i in public else "Private")
             for i, s in enumerate(test)], columns=["id", "landmarks", "Usage"],
        ),
        "train_label_to_category.csv": pd.DataFrame({"landmark_id": landmarks["landmark_id"], "category": category}),
        "train_label_to_hierarchical.csv": pd.DataFrame(
            {"landmark_id": landmarks["landmark_id"], "category": category, "supercategory": landmarks["kind"],
             "hierarchical_label": np.where(sacred, "religious building", "secular building"),
             "natural_or_human_made": "human-made"}
        ),
        "landmarks.csv": landmarks,
        "planted.csv": pd.DataFrame(
            planted, columns=["split", "id", "fault", "true_landmark_id", "rotation"]
        ).astype({"true_landmark_id": "Int64"}),
    }  # fmt: skip
    absent = {"train.csv", "nonlandmark.csv", "planted.csv"} if queries else set()
    absent |= set() if solution else {"recognition_solution_v2.1.csv"}
    for name, table in tables.items():
        if name in absent:
            continue
        with atomic_path(root / name) as part:
            table.to_csv(part, index=False, lineterminator="\n")


@file_errors()
def make_world(
    out: str | Path,
    config: WorldConfig | None = None,
    *,
    queries: int = 0,
    solution: bool = True,
    workers: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> Path:
    """Make a miniature world, or return it when it is there already.

    Writes train.csv, test.csv, recognition_solution_v2.1.csv, the two tables of names, the images under
    train/a/b/c and test/a/b/c, nonlandmark.csv and nonlandmark/a/b/c (images without a landmark, for training and
    calibration), and beside them what the real set does not tell: planted.csv (every fault), landmarks.csv (names,
    families, roles) and, last of all, world.json. Stopped, it goes on where it was.

    Args:
        out: folder to write to: new, empty, or a world of the same settings.
        config: settings; the defaults when left out.
        queries: 0 for the world; else the number of another test set of it, without train images, see `plan_queries`.
        solution: write what the test images show.
        workers: processes; as many as there are cores when left out. The pixels do not depend on it.
        progress: show a bar.
        settings: fields of `WorldConfig` to change.

    Returns:
        `out`.

    Raises:
        InputError: the folder holds something else, or a setting is out of range.
    """
    root = Path(out)
    try:
        config = replace(config or WorldConfig(), **settings)
    except TypeError as error:
        raise InputError(f"no such setting of a world: {error}") from None
    if not 0 <= queries <= DRAWS:
        raise InputError(f"queries={queries}: give a whole number from 0 to {DRAWS}")
    wanted = {"version": VERSION, **asdict(config), "nonlandmarks": config.nonlandmark_images}
    wanted |= ({"queries": queries} if queries else {}) | ({} if solution else {"solution": False})
    if claimed(root / "world.json", wanted, "world"):
        return root
    with alone(root / LOCK, waiting=f"{root}: another process makes this world: waiting for it"):
        if not claimed(root / "world.json", wanted, "world"):  # again: another one may have made it by now
            begun = claimed(root / "world.part.json", wanted, "world")
            if not begun and any(not p.name.startswith(".") for p in root.iterdir()):
                raise InputError(f"{root}: exists and is not a miniature world: choose a new folder")
            _make(root, config, wanted, workers, progress)
    return root


def _make(root: Path, config: WorldConfig, wanted: dict, workers: int | None, progress: bool) -> None:
    queries = wanted.get("queries", 0)
    shots, landmarks = plan_queries(config, queries) if queries else plan(config)
    for leftover in root.glob("*/?/?/?/.*.part"):  # of a killed process
        leftover.unlink(missing_ok=True)
    write_json(root / "world.part.json", wanted)
    workers = workers or usable_cpus()
    # Neighbours in the plan show the same landmark: chunks keep its mesh and textures in one process
    chunks = [shots[i : i + 16] for i in range(0, len(shots), 16)]
    if len(shots) < 300:  # starting processes would take longer
        done = (_shoot(chunk, root) for chunk in chunks)
    else:
        settle_sockets()
        pool = joblib.Parallel(workers, return_as="generator", pre_dispatch="4 * n_jobs")
        done = pool(joblib.delayed(_shoot)(chunk, root) for chunk in chunks)
    with tqdm(total=len(shots), unit="image", desc=f"world {root.name}", disable=not progress) as bar:
        for count in done:
            bar.update(count)
    _write_tables(root, config, shots, landmarks, queries, wanted.get("solution", True))
    os.replace(root / "world.part.json", root / "world.json")
