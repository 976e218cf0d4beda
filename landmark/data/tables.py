"""Strict readers and writers of the Google Landmarks v2 tables: an id is a string, always.

Every table goes through one strict reader that names the line of a fault. Only `train.csv`, 4.1 million rows in the
real data set, is parsed by `bigtable` where that is safe.
"""

from __future__ import annotations

import contextlib
import csv
import math
import re
import threading
import unicodedata
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from landmark import bigtable
from landmark.runtime import InputError, atomic_path, compression

_ID = re.compile(r"[0-9A-Za-z_-]{3,64}")  # paths are built from ids: no separators, no dots
_WHOLE = re.compile(r"[0-9]{1,19}")
_LARGEST = 2**63 - 1
_CELL_LIMIT, _cell_limit_lock = 2**31 - 1, threading.Lock()
CACHED_FROM = 1 << 20  # bytes of a train.csv from which a Parquet cache is worth its file
USAGES = ("Public", "Private", "Ignored")
PACKED = (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z")  # endings of what a table may still lie in


class TableError(InputError):
    """A table that cannot be trusted: the message names the file, the line and what was expected."""


def _strict(path: str | Path, columns: Sequence[str]) -> tuple[list[int], dict[str, list[str]]]:
    """Line numbers and cells by column, or an error: nothing is guessed, shifted or dropped."""
    path = Path(path)
    if not path.is_file():
        packed = [p.name for p in sorted(path.parent.glob(f"{path.name}.*")) if p.suffix in PACKED]
        hint = f"unpack {packed[0]}" if packed else f"a CSV with the columns {','.join(columns)} is needed"
        raise TableError(f"{path}: no such table ({hint})")
    with path.open("rb") as file:
        kind = compression(file.read(8))
    if kind:
        raise TableError(f"{path}: compressed ({kind}): unpack it")
    raw = path.read_bytes()
    try:
        raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: not UTF-8 at byte {error.start}: save it again with encoding='utf-8' (is it UTF-16 or latin-1?)"
        ) from None
    if b"\0" in raw:
        raise TableError(f"{path}: a NUL at byte {raw.index(0)}: not a UTF-8 table, or a damaged one")
    del raw
    lines: list[int] = []
    cells: list[list[str]] = [[] for _ in columns]
    with path.open(newline="", encoding="utf-8-sig") as file, _cell_limit_lock:  # the limit is the whole process's
        limit = csv.field_size_limit(_CELL_LIMIT)  # a landmark of 10,000 clean images has a cell of 170,000 characters
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, None)
            if header is None or sorted(header) != sorted(columns):
                found = ",".join(header) if header else "nothing"
                raise TableError(f"{path}: found the columns {found}; required: {','.join(columns)}")
            targets = [cells[columns.index(name)] for name in header]
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise TableError(f"{path}: line {reader.line_num}: {len(row)} fields, expected {len(header)}")
                lines.append(reader.line_num)
                for target, cell in zip(targets, row, strict=True):
                    target.append(cell)
        except csv.Error as error:
            raise TableError(f"{path}: line {reader.line_num}: {error}: repair the quotes") from None
        finally:
            csv.field_size_limit(limit)
    return lines, dict(zip(columns, cells, strict=True))


def _checked_ids(path: str | Path, lines: list[int], ids: list[str]) -> list[str]:
    """The ids, refused when malformed or repeated."""
    seen: dict[str, int] = {}
    for line, image_id in zip(lines, ids, strict=True):
        if not _ID.fullmatch(image_id):
            raise TableError(f"{path}: line {line}: id {image_id!r} is not an image id (16 hex characters)")
        if image_id in seen:
            raise TableError(f"{path}: line {line}: id {image_id} again (first on line {seen[image_id]})")
        seen[image_id] = line
    return ids


def _landmark_id(path: str | Path, line: int, cell: str) -> int:
    if not _WHOLE.fullmatch(cell) or int(cell) > _LARGEST:
        raise TableError(f"{path}: line {line}: landmark_id {cell!r} is not a whole number of 0 or more")
    return int(cell)


def _need_rows(path: str | Path, lines: list[int]) -> None:
    if not lines:
        raise TableError(f"{path}: a header and no rows")


def _strict_train(path: Path) -> pa.Table:
    """`train.csv` by the strict reader."""
    lines, cells = _strict(path, bigtable.SCHEMA.names)
    _need_rows(path, lines)
    landmarks = [_landmark_id(path, line, cell) for line, cell in zip(lines, cells["landmark_id"], strict=True)]
    return pa.table(
        cells | {"id": _checked_ids(path, lines, cells["id"]), "landmark_id": landmarks}, schema=bigtable.SCHEMA
    )


def _parsed_train(path: Path) -> pa.Table:
    """`train.csv` in memory."""
    try:
        return pa.concat_tables(list(bigtable.parse(path)))
    except bigtable.Unsure:
        return _strict_train(path)


def _fill(cache: bigtable.Cache, path: Path) -> None:
    """`train.csv` in its cache, never whole in memory."""
    try:
        cache.write(lambda: bigtable.parse(path))
    except bigtable.Unsure:
        table = _strict_train(path)
        cache.write(lambda: [table])


def _sizes(landmarks: np.ndarray | pd.Series) -> np.ndarray:
    """For each row the number of rows of its landmark."""
    codes = np.asarray(landmarks)
    if codes.min() < 0 or codes.max() > 4 * len(codes):
        codes, _ = pd.factorize(codes)  # numbers with gaps; without, as published, they can be counted as they are
    return np.bincount(codes)[codes]


def _frequent(landmarks: np.ndarray | pd.Series, min_images: int) -> np.ndarray:
    """The rows of landmarks with at least `min_images` of them; an error when there are none."""
    sizes = _sizes(landmarks) if len(landmarks) else np.zeros(0, int)
    kept = sizes >= min_images
    if not kept.any():
        largest = f"the largest landmark has {sizes.max()}" if len(sizes) else "the table is empty"
        raise InputError(f"0 images left after filter min_images={min_images}: {largest}; lower it")
    return kept


def _clean_rows(path: Path, clean: str | Path, ids: pa.ChunkedArray, landmarks: np.ndarray) -> np.ndarray:
    """The rows that the clean list names, or an error where the two tables disagree."""
    listed = read_clean(clean)
    place = pc.index_in(ids, value_set=pa.array(listed["id"], pa.string())).fill_null(-1).to_numpy()  # (rows,)
    kept = place >= 0
    if kept.sum() < len(listed):
        unknown = listed["id"].drop(place[kept])
        raise TableError(
            f"{clean}: {len(unknown)} ids are not in {path}, such as {', '.join(unknown[:3])}: "
            "take both tables from the same release"
        )
    differ = np.flatnonzero(listed["landmark_id"].to_numpy()[place[kept]] != landmarks[kept])
    if len(differ):
        row = np.flatnonzero(kept)[differ[0]]
        raise TableError(
            f"{clean}: {len(differ)} ids have another landmark than in {path}, such as {ids[row]}: "
            f"{listed['landmark_id'][place[row]]}, not {landmarks[row]}"
        )
    return kept


def _select(
    pieces: Callable[[list[str]], Iterable[pa.Table]],
    path: Path,
    min_images: int,
    clean: str | Path | None,
    landmarks: Collection[int] | None,
    columns: Sequence[str],
) -> pd.DataFrame:
    """The rows and columns asked for, from pieces of the table given column by column."""
    label = pa.concat_tables(list(pieces(["landmark_id"])))["landmark_id"].to_numpy()
    kept = np.ones(len(label), bool)
    if clean is not None:
        kept &= _clean_rows(path, clean, pa.concat_tables(list(pieces(["id"])))["id"], label)
    if landmarks is not None:
        kept &= np.isin(label, list(landmarks))
        if not kept.any():
            raise InputError(f"{path}: 0 images left of the {len(landmarks)} landmarks asked for")
    kept[kept] = _frequent(label[kept], min_images)
    others, parts, start = [name for name in columns if name != "landmark_id"], [], 0
    for piece in pieces(others) if others else ():
        parts.append(piece.filter(pa.array(kept[start : start + len(piece)])))
        start += len(piece)
    table = pa.concat_tables(parts).to_pandas() if parts else pd.DataFrame()
    return table.assign(landmark_id=label[kept])[list(columns)]


def read_train(
    path: str | Path,
    *,
    min_images: int = 1,
    clean: str | Path | None = None,
    landmarks: Collection[int] | None = None,
    columns: Sequence[str] = ("id", "url", "landmark_id"),
) -> pd.DataFrame:
    """Read `train.csv`, in its order: id (str), url (str), landmark_id (int64), or what is asked of it.

    A large table is checked and parsed once, into a Parquet cache bound to its size and times, and read from there.

    Args:
        path: of the table.
        min_images: keep the landmarks with at least so many images, counted after `clean`.
        clean: `train_clean.csv`: keep the images it lists.
        landmarks: keep these landmark ids.
        columns: to load; without url less than half the time and memory.

    Raises:
        TableError: names the file, the line, and what is wrong.
        InputError: nothing is left.
    """
    path = Path(path)
    wanted = (path, min_images, clean, landmarks, columns)
    if path.is_file() and path.stat().st_size >= CACHED_FROM:
        cache = bigtable.Cache(path)
        with contextlib.suppress(bigtable.Stale):
            return _select(cache.pieces, *wanted)
        with contextlib.suppress(bigtable.Stale):  # no place for a cache, or another one came between
            _fill(cache, path)
            return _select(cache.pieces, *wanted)
    table = _parsed_train(path)
    return _select(lambda names: [table.select(names)], *wanted)


def read_test(path: str | Path) -> pd.DataFrame:
    """Read `test.csv`: column id (str).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    lines, cells = _strict(path, ("id",))
    _need_rows(path, lines)
    return pd.DataFrame({"id": _checked_ids(path, lines, cells["id"])})


def _unique_landmarks(path: str | Path, lines: list[int], cells: list[str]) -> list[int]:
    seen: dict[int, int] = {}
    for line, cell in zip(lines, cells, strict=True):
        landmark_id = _landmark_id(path, line, cell)
        if landmark_id in seen:
            raise TableError(f"{path}: line {line}: landmark_id {cell} again (first on line {seen[landmark_id]})")
        seen[landmark_id] = line
    return list(seen)


def read_clean(path: str | Path) -> pd.DataFrame:
    """Read `train_clean.csv`, a line for each landmark, as a row for each image: id (str), landmark_id (int64).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    lines, cells = _strict(path, ("landmark_id", "images"))
    _need_rows(path, lines)
    landmarks = _unique_landmarks(path, lines, cells["landmark_id"])
    images = [cell.split() for cell in cells["images"]]
    counts = [len(found) for found in images]
    if 0 in counts:
        at = counts.index(0)
        raise TableError(f"{path}: line {lines[at]}: landmark_id {landmarks[at]} has no images: was the line cut?")
    ids = _checked_ids(path, np.repeat(lines, counts).tolist(), [image_id for found in images for image_id in found])
    return pd.DataFrame({"id": ids, "landmark_id": np.repeat(np.array(landmarks, np.int64), counts)})


def _labels(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    lines, cells = _strict(path, columns)
    landmarks = _unique_landmarks(path, lines, cells["landmark_id"])
    text = {name: pd.Series(cells[name], dtype=str) for name in columns[1:]}
    return pd.DataFrame({"landmark_id": pd.Series(landmarks, dtype="int64"), **text})


def read_categories(path: str | Path) -> pd.DataFrame:
    """Read `train_label_to_category.csv`: landmark_id (int64), category (str).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    return _labels(path, ("landmark_id", "category"))


def read_hierarchy(path: str | Path) -> pd.DataFrame:
    """Read `train_label_to_hierarchical.csv`: landmark_id (int64) and four columns of text.

    These are category, supercategory, hierarchical_label and natural_or_human_made, "" where nothing is known.

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    names = ("landmark_id", "category", "supercategory", "hierarchical_label", "natural_or_human_made")
    return _labels(path, names)


def category_name(category: str) -> str:
    """The name in the address of a category, in its own script, on one line.

    >>> category_name("http://commons.wikimedia.org/wiki/Category:K%C3%B6lner_Dom")
    'Kölner Dom'
    """
    name = urllib.parse.unquote(category.rpartition("/Category:")[2]).replace("_", " ")
    return " ".join("".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in name).split())


def label_names(root: str | Path) -> pd.DataFrame:
    """What a folder's tables call its landmarks, by landmark_id: name, natural_or_human_made, supercategory.

    Untrusted text: whoever renders it escapes it. A column is there when its table is, and "" where a row is not.

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    readers = {
        Path(root, "train_label_to_category.csv"): read_categories,
        Path(root, "train_label_to_hierarchical.csv"): read_hierarchy,
    }
    tables = [read(path).set_index("landmark_id") for path, read in readers.items() if path.exists()]
    joined = pd.concat(tables) if tables else pd.DataFrame(index=pd.Index([], dtype="int64", name="landmark_id"))
    names = joined.groupby(level=0).first()
    if "category" in names:
        names.insert(0, "name", names["category"].map(category_name))
    return names[[x for x in ("name", "natural_or_human_made", "supercategory") if x in names]].fillna("")


def read_solution(path: str | Path) -> pd.DataFrame:
    """Read a recognition solution: id (str), landmarks (tuple of int, empty for a distractor), Usage.

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    lines, cells = _strict(path, ("id", "landmarks", "Usage"))
    _need_rows(path, lines)
    landmarks = []
    for line, listed, usage in zip(lines, cells["landmarks"], cells["Usage"], strict=True):
        if usage not in USAGES:
            raise TableError(f"{path}: line {line}: Usage {usage!r}, expected one of {', '.join(USAGES)}")
        landmarks.append(tuple(_landmark_id(path, line, cell) for cell in listed.split()))
    ids = _checked_ids(path, lines, cells["id"])
    return pd.DataFrame({"id": ids, "landmarks": landmarks, "Usage": cells["Usage"]})


def scored(solution: pd.DataFrame, split: str = "all", name: object = "the solution") -> dict[str, tuple[int, ...]]:
    """image_id → landmark ids of the images that count, as `metrics` wants it; images marked Ignored never do.

    Args:
        solution: of `read_solution`.
        split: "public", "private", or "all" for both.
        name: of the table, for the error.

    Raises:
        InputError: no such split, or one without an image.
    """
    usages = {"public": ("Public",), "private": ("Private",), "all": ("Public", "Private")}
    if split not in usages:
        raise InputError(f"split {split!r}: choose {', '.join(usages)}")
    rows = solution[solution["Usage"].isin(usages[split])]
    if rows.empty:
        there = ", ".join(sorted(set(solution["Usage"])))
        raise InputError(f"{name}: no {' or '.join(usages[split])} rows, only {there}: choose another split or table")
    return dict(zip(rows["id"], rows["landmarks"], strict=True))


def read_submission(path: str | Path) -> pd.DataFrame:
    """Read a submission: id (str), landmark_id (Int64, missing = no prediction), score (float64).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    lines, cells = _strict(path, ("id", "landmarks"))
    ids = _checked_ids(path, lines, cells["id"])
    landmarks, scores = [], []
    for line, image_id, cell in zip(lines, ids, cells["landmarks"], strict=True):
        if not cell:
            landmarks.append(pd.NA)
            scores.append(math.nan)
            continue
        parts = cell.removesuffix(" ").split(" ")
        if len(parts) != 2:
            raise TableError(f'{path}: line {line}: {cell!r} is neither empty nor "landmark_id score"')
        landmarks.append(_landmark_id(path, line, parts[0]))
        scores.append(_score(parts[1], f"{path}: line {line}: id {image_id}"))
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
    return train[_frequent(train["landmark_id"], min_images)].reset_index(drop=True)
