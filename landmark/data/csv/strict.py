"""Read a CSV strictly: nothing is guessed, shifted or dropped, and a fault is reported with its line."""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from landmark.utils.errors import TableError, file_errors
from landmark.utils.files import compression

# Paths are built from image ids: no separators, no dots. Published ones have 16 hexadecimal characters
ID_LETTERS, ID_LENGTHS = "0-9A-Za-z_-", (3, 64)
ID = f"[{ID_LETTERS}]{{{ID_LENGTHS[0]},{ID_LENGTHS[1]}}}"
_WHOLE = re.compile(r"[0-9]{1,19}")
_LARGEST = 2**63 - 1
_CELL_LIMIT, _cell_limit_lock = 2**31 - 1, threading.Lock()

PACKED = (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z")  # endings of what a table may still lie in


def is_image_id(text: str) -> bool:
    """Check whether a text can be the id of an image.

    >>> is_image_id("0123456789abcdef"), is_image_id("../etc"), is_image_id("ab")
    (True, False, False)
    """
    return re.fullmatch(ID, text) is not None


@file_errors(kind=TableError)
def read_strict(path: str | Path, columns: Sequence[str]) -> tuple[list[int], dict[str, list[str]]]:
    """Read line numbers and cells by column, or raise a TableError: nothing is guessed, shifted or dropped."""
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
                given = ",".join(header) if header else "nothing"
                raise TableError(f"{path}: found the columns {given}; required: {','.join(columns)}")
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


def check_ids(path: str | Path, lines: list[int], ids: list[str]) -> list[str]:
    """Return the ids, or raise a TableError of one that is malformed or repeated."""
    first: dict[str, int] = {}
    for line, image_id in zip(lines, ids, strict=True):
        if not is_image_id(image_id):
            raise TableError(f"{path}: line {line}: id {image_id!r} is not an image id (16 hex characters)")
        if image_id in first:
            raise TableError(f"{path}: line {line}: id {image_id} again (first on line {first[image_id]})")
        first[image_id] = line
    return ids


def parse_landmark_id(path: str | Path, line: int, cell: str) -> int:
    """Read a landmark_id, or raise a TableError of the cell that is none."""
    if not _WHOLE.fullmatch(cell) or int(cell) > _LARGEST:
        raise TableError(f"{path}: line {line}: landmark_id {cell!r} is not a whole number of 0 or more")
    return int(cell)


def check_rows(path: str | Path, lines: list[int]) -> None:
    """Raise a TableError for a table of no rows."""
    if not lines:
        raise TableError(f"{path}: a header and no rows")


def parse_unique_landmarks(path: str | Path, lines: list[int], cells: list[str]) -> list[int]:
    """Read landmark_ids, or raise a TableError of one that is malformed or repeated."""
    first: dict[int, int] = {}
    for line, cell in zip(lines, cells, strict=True):
        landmark_id = parse_landmark_id(path, line, cell)
        if landmark_id in first:
            raise TableError(f"{path}: line {line}: landmark_id {cell} again (first on line {first[landmark_id]})")
        first[landmark_id] = line
    return list(first)
