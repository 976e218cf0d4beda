"""What subsets share: tables in the GLDv2 layout that are never written over another data set's, and their credits."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from landmark.data.csv.attribution import ATTRIBUTION, read_attribution
from landmark.data.tables import read_test, read_train
from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import atomic_path

LABELS = ("train_label_to_category.csv", "train_label_to_hierarchical.csv")  # names of landmarks
PARTS = "gldv2-parts"  # in the folder of a subset: files of GLDv2 of which only a part stays


def table_text(columns: Iterable[str], rows: Iterable[tuple]) -> str:
    """Write rows as the text of a CSV.

    >>> table_text(["id", "landmarks"], [("a", 7)])
    'id,landmarks\\na,7\\n'
    """
    return pd.DataFrame(list(rows), columns=list(columns)).to_csv(index=False, lineterminator="\n")


def check_tables(data: Path, tables: Mapping[str, str]) -> None:
    """Refuse a folder that holds tables of another data set, or another version of these."""
    for name, text in tables.items():
        path = data / name
        if path.exists() and path.read_bytes() != text.encode():
            raise InputError(f"{path}: a table of another data set: choose another folder")


def sweep(data: Path) -> None:
    """Remove what a killed process has left of tables and images."""
    for leftover in [*data.glob(".*.csv.*.part"), *data.glob("t*/?/?/?/.*.part")]:
        leftover.unlink()


def write_tables(data: Path, tables: Mapping[str, str]) -> None:
    """Write tables by name, each whole or not at all, in their order: where the last one is, the others are."""
    for name, text in tables.items():
        with atomic_path(data / name) as part:
            part.write_text(text, encoding="utf-8", newline="")


@file_errors()
def keep_attribution(path: str | Path, data: str | Path, progress: bool = True) -> str:
    """Copy the rows of a folder's images out of GLDv2's table of authors, and delete that table.

    Args:
        path: of the table, in a folder `PARTS`.
        data: folder in the GLDv2 layout.
        progress: is there for `fetch_data`, and shows nothing.

    Returns:
        One line: of how many images the author is known.

    Raises:
        TableError: a table that cannot be trusted.
    """
    path, data = Path(path), Path(data)
    ids = [i for read, name in ((read_train, "train.csv"), (read_test, "test.csv")) for i in read(data / name)["id"]]
    rows = read_attribution(path, ids)
    write_tables(data, {ATTRIBUTION: rows.to_csv(index=False, lineterminator="\n")})
    shutil.rmtree(path.parent)
    return f"{data / ATTRIBUTION}: authors and licences of {len(rows)} of {len(ids)} images"
