"""Strict readers and writers of the Google Landmarks v2 tables: an id is a string, always."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from landmark.runtime import InputError, atomic_path

_ID = re.compile(r"[0-9A-Za-z_-]{3,64}")  # paths are built from ids: no separators, no dots
_WHOLE = re.compile(r"[0-9]{1,19}")
_LARGEST = 2**63 - 1
USAGES = ("Public", "Private", "Ignored")


class TableError(InputError):
    """A table that cannot be trusted: the message names the file, the line and what was expected."""


def _rows(path: str | Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """All rows as (line number, cells by column), or an error: nothing is guessed, shifted or dropped."""
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: no such table (a CSV with the columns {','.join(columns)} is needed)")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: not UTF-8 at byte {error.start}: save it again with encoding='utf-8' (is it UTF-16 or latin-1?)"
        ) from None
    if "\0" in text:
        raise TableError(f"{path}: a NUL at byte {raw.index(0)}: not a UTF-8 table, or a damaged one")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        header = next(reader, None)
        if header is None or sorted(header) != sorted(columns):
            found = ",".join(header) if header else "nothing"
            raise TableError(f"{path}: found the columns {found}; required: {','.join(columns)}")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise TableError(f"{path}: line {reader.line_num}: {len(cells)} fields, expected {len(header)}")
            rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise TableError(f"{path}: line {reader.line_num}: {error}: repair the quotes") from None
    return rows


def _image_ids(path: str | Path, rows: list[tuple[int, dict[str, str]]]) -> list[str]:
    """The id column, refused when malformed or repeated."""
    seen: dict[str, int] = {}
    for line, row in rows:
        image_id = row["id"]
        if not _ID.fullmatch(image_id):
            raise TableError(f"{path}: line {line}: id {image_id!r} is not an image id (16 hex characters)")
        if image_id in seen:
            raise TableError(f"{path}: line {line}: id {image_id} again (first on line {seen[image_id]})")
        seen[image_id] = line
    return list(seen)


def _landmark_id(path: str | Path, line: int, cell: str) -> int:
    if not _WHOLE.fullmatch(cell) or int(cell) > _LARGEST:
        raise TableError(f"{path}: line {line}: landmark_id {cell!r} is not a whole number of 0 or more")
    return int(cell)


def _need_rows(path: str | Path, rows: list) -> None:
    if not rows:
        raise TableError(f"{path}: a header and no rows")


def read_train(path: str | Path) -> pd.DataFrame:
    """Read `train.csv`: columns id (str), url (str), landmark_id (int64).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    rows = _rows(path, ("id", "url", "landmark_id"))
    _need_rows(path, rows)
    landmarks = [_landmark_id(path, line, row["landmark_id"]) for line, row in rows]
    urls = [row["url"] for _, row in rows]
    return pd.DataFrame({"id": _image_ids(path, rows), "url": urls, "landmark_id": landmarks})


def read_test(path: str | Path) -> pd.DataFrame:
    """Read `test.csv`: column id (str).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    rows = _rows(path, ("id",))
    _need_rows(path, rows)
    return pd.DataFrame({"id": _image_ids(path, rows)})


def read_categories(path: str | Path) -> pd.DataFrame:
    """Read `train_label_to_category.csv`: landmark_id (int64), category (str).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    rows = _rows(path, ("landmark_id", "category"))
    landmarks = [_landmark_id(path, line, row["landmark_id"]) for line, row in rows]
    return pd.DataFrame({"landmark_id": landmarks, "category": [row["category"] for _, row in rows]})


def read_solution(path: str | Path) -> pd.DataFrame:
    """Read a recognition solution: id (str), landmarks (tuple of int, empty for a distractor), Usage.

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    rows = _rows(path, ("id", "landmarks", "Usage"))
    _need_rows(path, rows)
    landmarks = []
    for line, row in rows:
        if row["Usage"] not in USAGES:
            raise TableError(f"{path}: line {line}: Usage {row['Usage']!r}, expected one of {', '.join(USAGES)}")
        landmarks.append(tuple(_landmark_id(path, line, cell) for cell in row["landmarks"].split()))
    usage = [row["Usage"] for _, row in rows]
    return pd.DataFrame({"id": _image_ids(path, rows), "landmarks": landmarks, "Usage": usage})


def read_submission(path: str | Path) -> pd.DataFrame:
    """Read a submission: id (str), landmark_id (Int64, missing = no prediction), score (float64).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    rows = _rows(path, ("id", "landmarks"))
    ids = _image_ids(path, rows)
    landmarks, scores = [], []
    for line, row in rows:
        cell = row["landmarks"]
        if not cell:
            landmarks.append(pd.NA)
            scores.append(math.nan)
            continue
        parts = cell.removesuffix(" ").split(" ")
        if len(parts) != 2:
            raise TableError(f'{path}: line {line}: {cell!r} is neither empty nor "landmark_id score"')
        landmarks.append(_landmark_id(path, line, parts[0]))
        scores.append(_score(parts[1], f"{path}: line {line}: id {row['id']}"))
    return pd.DataFrame({"id": ids, "landmark_id": pd.array(landmarks, "Int64"), "score": scores})


def _score(value: object, where: str) -> float:
    try:
        score = float(value) if not isinstance(value, str) or re.fullmatch(r"[-+.0-9a-zA-Z]+", value) else None
    except ValueError:
        score = None
    if score is None or not math.isfinite(score):
        raise TableError(f"{where}: score {value} is not a finite number")
    return score


def write_submission(
    path: str | Path, ids: Iterable[str], landmark_ids: Iterable[int | None], scores: Iterable[float]
) -> Path:
    """Write `id,landmarks` rows, "landmark_id score" or empty, all or nothing; the scores survive a round trip.

    Raises:
        TableError: a score that is not finite, or an id given twice.
    """
    path, seen = Path(path), set()
    with atomic_path(path) as part:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("id", "landmarks"))
            for image_id, landmark_id, score in zip(ids, landmark_ids, scores, strict=True):
                if image_id in seen:
                    raise TableError(f"{path}: id {image_id} twice")
                seen.add(image_id)
                empty = landmark_id is None or landmark_id is pd.NA
                cell = "" if empty else f"{int(landmark_id)} {_score(score, f'{path}: id {image_id}')!r}"
                writer.writerow((image_id, cell))
    return path


def filter_min_images(train: pd.DataFrame, min_images: int) -> pd.DataFrame:
    """Keep the landmarks with at least `min_images` images, as the paper does with 100.

    Raises:
        InputError: nothing is left.

    >>> table = pd.DataFrame({"id": list("abc"), "landmark_id": [7, 7, 9]})
    >>> filter_min_images(table, 2)["id"].tolist()
    ['a', 'b']
    """
    sizes = train.groupby("landmark_id")["id"].transform("size")
    kept = train[sizes >= min_images].reset_index(drop=True)
    if kept.empty:
        largest = f"the largest landmark has {sizes.max()}" if len(sizes) else "the table is empty"
        raise InputError(f"0 images left after filter min_images={min_images}: {largest}; lower it")
    return kept


def by_image(table: pd.DataFrame, column: str, convert: Callable = lambda value: value) -> dict:
    """One column of a table as a dictionary by image id."""
    return {image_id: convert(value) for image_id, value in zip(table["id"], table[column], strict=True)}
