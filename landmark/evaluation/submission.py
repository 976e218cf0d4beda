"""Read and write submissions: `id,landmarks` with at most one "landmark_id score" a row."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from landmark.data.csv.strict import check_ids, parse_landmark_id, read_strict
from landmark.utils.errors import TableError
from landmark.utils.files import atomic_path


def read_submission(path: str | Path) -> pd.DataFrame:
    """Read a submission: id (str), landmark_id (Int64, missing = no prediction), score (float64).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    lines, cells = read_strict(path, ("id", "landmarks"))
    ids = check_ids(path, lines, cells["id"])
    landmarks, scores = [], []
    for line, image_id, cell in zip(lines, ids, cells["landmarks"], strict=True):
        if not cell:
            landmarks.append(pd.NA)
            scores.append(math.nan)
            continue
        parts = cell.removesuffix(" ").split(" ")
        if len(parts) != 2:
            raise TableError(f'{path}: line {line}: {cell!r} is neither empty nor "landmark_id score"')
        landmarks.append(parse_landmark_id(path, line, parts[0]))
        scores.append(_score(parts[1], f"{path}: line {line}: id {image_id}"))
    return pd.DataFrame({"id": ids, "landmark_id": pd.array(landmarks, "Int64"), "score": scores})


def _score(value: str | float | None, where: str) -> float:
    try:
        score = float(value) if value is not None and _is_number(value) else None
    except ValueError:
        score = None
    if score is None or not math.isfinite(score):
        raise TableError(f"{where}: score {value} is not a finite number")
    return score


def _is_number(value: str | float) -> bool:
    """Check whether a value can be a number; 1_0, or one with a blank before it, only Python takes for one."""
    return not isinstance(value, str) or re.fullmatch(r"[-+.0-9a-zA-Z]+", value) is not None


def write_submission(
    path: str | Path, ids: Iterable[str], landmark_ids: Iterable[int | None], scores: Iterable[float | None]
) -> Path:
    """Write `id,landmarks` rows, "landmark_id score" or empty, all or nothing; the scores survive a round trip.

    Raises:
        TableError: a score that is not finite, or an id given twice.
    """
    path, written = Path(path), set()
    with atomic_path(path) as part:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("id", "landmarks"))
            for image_id, landmark_id, score in zip(ids, landmark_ids, scores, strict=True):
                if image_id in written:
                    raise TableError(f"{path}: id {image_id} twice")
                written.add(image_id)
                cell = ""
                if landmark_id is not None and landmark_id is not pd.NA:
                    cell = f"{int(landmark_id)} {_score(score, f'{path}: id {image_id}')!r}"
                writer.writerow((image_id, cell))
    return path
