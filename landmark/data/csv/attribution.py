"""Who took the photographs: the table of authors and licences, and the lines that credit them under a figure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from landmark.utils.errors import TableError, file_errors

ATTRIBUTION = "train_attribution.csv"  # of GLDv2: its train images need credit, its index and test images are CC0
COLUMNS = ["id", "url", "author", "license", "title"]
_CC = re.compile(r"creativecommons\.org/licenses/([a-z-]+)/([0-9.]+)(?:/([a-z]{2})\b)?", re.IGNORECASE)


@file_errors(kind=TableError)
def read_attribution(path: str | Path, ids: Iterable[str]) -> pd.DataFrame:
    """Read the rows of some images of `train_attribution.csv`: id, url, author, license, title, all text as it stands.

    The table has a row for each of 4.1 million images, written by their authors: it is read line by line and never
    whole, and a line that is not of five fields is passed over.

    Args:
        path: of the table.
        ids: of the images that are looked for; those without a row are left out.

    Raises:
        TableError: it cannot be read, or is another table.
    """
    wanted, rows = set(ids), []
    with Path(path).open(newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = csv.reader(file)
        try:
            if (header := next(lines, [])) != COLUMNS:
                raise TableError(f"{path}: found the columns {','.join(header)}; required: {','.join(COLUMNS)}")
            rows = [row for row in lines if row and row[0] in wanted and len(row) == len(COLUMNS)]
        except csv.Error as error:
            raise TableError(f"{path}: line {lines.line_num}: {error}: fetch it again") from None
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str).drop_duplicates("id", ignore_index=True)


def credit_lines(root: str | Path, ids: Sequence[str]) -> list[str]:
    """Write who took some photographs of a folder and under which licence, one line for each, by its number from 1.

    No line for an image without a row in `train_attribution.csv`, such as GLDv2's index and test images, which are CC0
    or in the public domain; none at all where the folder has no such table, as a miniature world.

    Args:
        root: folder in the GLDv2 layout.
        ids: of the images, in the order of the figure.

    Raises:
        TableError: as of `read_attribution`.

    >>> credit_lines("no/such/folder", ["0123456789abcdef"])
    []
    """
    path = Path(root, ATTRIBUTION)
    listed = read_attribution(path, ids).set_index("id").to_dict("index") if path.exists() else {}
    return [f"{number}. {_credit(listed[image_id])}" for number, image_id in enumerate(ids, 1) if image_id in listed]


def _credit(row: dict[str, str]) -> str:
    title, author = (" ".join(row[name].split()) for name in ("title", "author"))
    title = re.sub(r"^File:|\.[A-Za-z]{3,4}$", "", title)
    return f"{title or row['url']}: {author or 'author not named'}, {licence_name(row['license'])}"


def licence_name(licence: str) -> str:
    """Shorten the address of a Creative Commons licence to its name; other text stays, on one line.

    >>> licence_name("https://creativecommons.org/licenses/by-sa/3.0/"), licence_name("")
    ('CC BY-SA 3.0', 'licence not named')
    """
    match = _CC.search(licence)
    if match:
        return " ".join(["CC", match[1].upper(), match[2], *([match[3].upper()] if match[3] else [])])
    return " ".join(licence.split()) or "licence not named"
