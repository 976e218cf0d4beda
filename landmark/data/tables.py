"""Read the Google Landmarks v2 tables: an id is a string, always.

Every table goes through `csv.strict`, which names the line of a fault. Only `train.csv`, 4.1 million rows in the
real data set, is parsed by `csv.train` where that is safe.
"""

from __future__ import annotations

import contextlib
import unicodedata
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from landmark.data.csv import train as train_csv
from landmark.data.csv.strict import check_ids, check_rows, parse_landmark_id, parse_unique_landmarks, read_strict
from landmark.utils.errors import InputError, TableError, file_errors

CACHED_FROM = 1 << 20  # bytes of a train.csv from which a Parquet cache is worth its file
USAGES = ("Public", "Private", "Ignored")


def _strict_train(path: Path) -> pa.Table:
    """Read `train.csv` by the strict reader."""
    lines, cells = read_strict(path, train_csv.SCHEMA.names)
    check_rows(path, lines)
    landmarks = [parse_landmark_id(path, line, cell) for line, cell in zip(lines, cells["landmark_id"], strict=True)]
    return pa.table(
        cells | {"id": check_ids(path, lines, cells["id"]), "landmark_id": landmarks}, schema=train_csv.SCHEMA
    )


def _parsed_train(path: Path) -> pa.Table:
    """Read `train.csv` into memory."""
    try:
        return pa.concat_tables(list(train_csv.parse(path)))
    except train_csv.UnsureError:
        return _strict_train(path)


def _fill(cache: train_csv.Cache, path: Path) -> None:
    """Write `train.csv` into its cache, never whole in memory."""
    try:
        cache.write(lambda: train_csv.parse(path))
    except train_csv.UnsureError:
        table = _strict_train(path)
        cache.write(lambda: [table])


def _sizes(landmarks: np.ndarray | pd.Series) -> np.ndarray:
    """Count for each row the rows of its landmark."""
    codes = np.asarray(landmarks)
    if codes.min() < 0 or codes.max() > 4 * len(codes):
        codes, _ = pd.factorize(codes)  # numbers with gaps; without, as published, they can be counted as they are
    return np.bincount(codes)[codes]


def _frequent(landmarks: np.ndarray | pd.Series, min_images: int) -> np.ndarray:
    """Select the rows of landmarks with at least `min_images` of them; an error when there are none."""
    sizes = _sizes(landmarks) if len(landmarks) else np.zeros(0, int)
    frequent = sizes >= min_images
    if not frequent.any():
        largest = f"the largest landmark has {sizes.max()}" if len(sizes) else "the table is empty"
        raise InputError(f"0 images left after filter min_images={min_images}: {largest}; lower it")
    return frequent


def _clean_rows(path: Path, clean: str | Path, ids: pa.ChunkedArray, landmarks: np.ndarray) -> np.ndarray:
    """Select the rows that the clean list names; an error where the two tables disagree."""
    listed = read_clean(clean)
    place = pc.index_in(ids, value_set=pa.array(listed["id"], pa.string())).fill_null(-1).to_numpy()  # (rows,)
    named = place >= 0
    if named.sum() < len(listed):
        unknown = listed["id"].drop(place[named])
        raise TableError(
            f"{clean}: {len(unknown)} ids are not in {path}, such as {', '.join(unknown[:3])}: "
            "take both tables from the same release"
        )
    differ = np.flatnonzero(listed["landmark_id"].to_numpy()[place[named]] != landmarks[named])
    if len(differ):
        row = np.flatnonzero(named)[differ[0]]
        raise TableError(
            f"{clean}: {len(differ)} ids have another landmark than in {path}, such as {ids[row]}: "
            f"{listed['landmark_id'][place[row]]}, not {landmarks[row]}"
        )
    return named


def _select(
    pieces: Callable[[list[str]], Iterable[pa.Table]],
    path: Path,
    min_images: int,
    clean: str | Path | None,
    landmarks: Collection[int] | None,
    columns: Sequence[str],
) -> pd.DataFrame:
    """Load the rows and columns asked for, from pieces of the table given column by column."""
    label = pa.concat_tables(list(pieces(["landmark_id"])))["landmark_id"].to_numpy()
    chosen = np.ones(len(label), bool)
    if clean is not None:
        chosen &= _clean_rows(path, clean, pa.concat_tables(list(pieces(["id"])))["id"], label)
    if landmarks is not None:
        chosen &= np.isin(label, list(landmarks))
        if not chosen.any():
            raise InputError(f"{path}: 0 images left of the {len(landmarks)} landmarks asked for")
    chosen[chosen] = _frequent(label[chosen], min_images)
    others, parts, start = [name for name in columns if name != "landmark_id"], [], 0
    for piece in pieces(others) if others else ():
        parts.append(piece.filter(pa.array(chosen[start : start + len(piece)])))
        start += len(piece)
    table = pa.concat_tables(parts).to_pandas() if parts else pd.DataFrame()
    return table.assign(landmark_id=label[chosen])[list(columns)]


@file_errors(kind=TableError)
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
        cache = train_csv.Cache(path)
        with contextlib.suppress(train_csv.StaleError):
            return _select(cache.pieces, *wanted)
        with contextlib.suppress(train_csv.StaleError):  # no place for a cache, or another one came between
            _fill(cache, path)
            return _select(cache.pieces, *wanted)
    table = _parsed_train(path)
    return _select(lambda names: [table.select(names)], *wanted)


def read_test(path: str | Path) -> pd.DataFrame:
    """Read `test.csv`: column id (str).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    lines, cells = read_strict(path, ("id",))
    check_rows(path, lines)
    return pd.DataFrame({"id": check_ids(path, lines, cells["id"])})


def read_nonlandmark(path: str | Path) -> pd.DataFrame:
    """Read `nonlandmark.csv`: columns id and url (str), maybe no rows; TableError names the file and the line."""
    lines, cells = read_strict(path, ("id", "url"))
    return pd.DataFrame(cells | {"id": check_ids(path, lines, cells["id"])}, dtype=str)


def read_clean(path: str | Path) -> pd.DataFrame:
    """Read `train_clean.csv`, a line for each landmark, as a row for each image: id (str), landmark_id (int64).

    Raises:
        TableError: names the file, the line, and what is wrong.
    """
    lines, cells = read_strict(path, ("landmark_id", "images"))
    check_rows(path, lines)
    landmarks = parse_unique_landmarks(path, lines, cells["landmark_id"])
    images = [cell.split() for cell in cells["images"]]
    counts = [len(row) for row in images]
    if 0 in counts:
        at = counts.index(0)
        raise TableError(f"{path}: line {lines[at]}: landmark_id {landmarks[at]} has no images: was the line cut?")
    ids = check_ids(path, np.repeat(lines, counts).tolist(), [image_id for row in images for image_id in row])
    return pd.DataFrame({"id": ids, "landmark_id": np.repeat(np.array(landmarks, np.int64), counts)})


def _labels(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    lines, cells = read_strict(path, columns)
    landmarks = parse_unique_landmarks(path, lines, cells["landmark_id"])
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
    """Take the name from the address of a category, in its own script, on one line.

    >>> category_name("http://commons.wikimedia.org/wiki/Category:K%C3%B6lner_Dom")
    'Kölner Dom'
    """
    name = urllib.parse.unquote(category.rpartition("/Category:")[2]).replace("_", " ")
    return " ".join("".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in name).split())


def label_names(root: str | Path) -> pd.DataFrame:
    """Read what a folder's tables call its landmarks, by landmark_id: name, natural_or_human_made, supercategory.

    The text is untrusted: escape it before rendering. A column is there when its table is, and "" where a row is not.

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
    lines, cells = read_strict(path, ("id", "landmarks", "Usage"))
    check_rows(path, lines)
    landmarks = []
    for line, listed, usage in zip(lines, cells["landmarks"], cells["Usage"], strict=True):
        if usage not in USAGES:
            raise TableError(f"{path}: line {line}: Usage {usage!r}, expected one of {', '.join(USAGES)}")
        landmarks.append(tuple(parse_landmark_id(path, line, cell) for cell in listed.split()))
    return pd.DataFrame(cells | {"id": check_ids(path, lines, cells["id"]), "landmarks": landmarks})


def scored(solution: pd.DataFrame, split: str = "all", name: object = "the solution") -> dict[str, tuple[int, ...]]:
    """Map image_id to landmark ids as `metrics` wants it, of the images that count; those marked Ignored never do.

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


def filter_min_images(train: pd.DataFrame, min_images: int) -> pd.DataFrame:
    """Keep the landmarks with at least `min_images` images, as the paper does with 100.

    Raises:
        InputError: nothing is left.

    >>> table = pd.DataFrame({"id": list("abc"), "landmark_id": [7, 7, 9]})
    >>> filter_min_images(table, 2)["id"].tolist()
    ['a', 'b']
    """
    return train[_frequent(train["landmark_id"], min_images)].reset_index(drop=True)
