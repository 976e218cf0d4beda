"""What a search found, for people: lines of text, JSON, a submission, a sheet of pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from landmark.data.csv.attribution import credit_lines
from landmark.evaluation.submission import write_submission
from landmark.figures.pictures import nearest_neighbours
from landmark.figures.style import credit
from landmark.retrieval.gallery import Gallery, Photos
from landmark.retrieval.recognise import Findings, Searcher
from landmark.utils.errors import ImageError, InputError
from landmark.utils.files import atomic_path

FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
ROWS, COLUMNS = 40, 5  # of a sheet: queries, and neighbours of each
LINES = 60  # between a query and its nearest image, of all their matches
_THUMB = 320  # pixels of a picture on a sheet
NONE = "none of these"


def describe_findings(searcher: Searcher, photos: Photos, findings: Findings) -> dict[str, Any]:
    """Describe the findings as JSON can hold them: threshold, queries with answer and neighbours, images not read.

    `threshold_is` tells where the threshold comes from: "given", "measured", "unknown" (it cannot be measured, so that
    all queries are known) or "out of reach" (of the wanted precision: none is known). The last two have None for it.
    """
    queries = []
    for i, image_id in enumerate(findings.ids):
        landmark, near = int(findings.landmark[i]), []
        for j, row in enumerate(findings.neighbours.rows[i].tolist()):
            if row < 0:
                continue
            inliers = int(findings.inliers[i, j])
            near.append({
                "image": searcher.gallery.name(searcher.index.ids[row]), "landmark": int(searcher.landmark[row]),
                "name": landmark_name(searcher, int(searcher.landmark[row])), "cosine": _plain(findings.cosine[i, j]),
                "inliers": inliers if inliers >= 0 else None, "score": _plain(findings.neighbours.similarity[i, j]),
            })  # fmt: skip
        queries.append({
            "image": photos.name(image_id), "landmark": landmark, "name": landmark_name(searcher, landmark),
            "score": _plain(findings.score[i]), "known": bool(findings.score[i] >= searcher.threshold),
            "neighbours": near,
        })  # fmt: skip
    bad = {photos.name(image_id): reason for image_id, reason in findings.bad.items()}
    threshold: float | None = searcher.threshold
    what = "given" if searcher.config.threshold is not None else "measured"
    if math.isinf(searcher.threshold):
        threshold, what = None, "unknown" if searcher.threshold < 0 else "out of reach"
    return {"threshold": threshold, "threshold_is": what, "queries": queries, "bad": bad}


def landmark_name(searcher: Searcher, landmark: int) -> str:
    """Name a landmark for people: by its label, else by its number."""
    return searcher.gallery.landmarks.get(landmark) or str(landmark)


def summarise_findings(searcher: Searcher, photos: Photos, findings: Findings) -> list[str]:
    """Summarise the findings, a line for each query: its answer, how sure it is, and the nearest image."""
    lines = []
    for query in describe_findings(searcher, photos, findings)["queries"]:
        best = query["neighbours"][0]
        compared = "" if best["inliers"] is None else f", {best['inliers']} inliers"
        near = f"nearest {best['image']}: {best['name']}, cosine {best['cosine']:.2f}{compared}"
        answer = query["name"] if query["known"] else f"{NONE} (at best {query['name']})"
        lines.append(f"{query['image']}: {answer}, score {query['score']:.3f}; {near}")
    return lines


def check_numbered(gallery: Gallery) -> None:
    """Refuse landmarks that are folders with names, which no solution knows."""
    if not gallery.numbered:
        raise InputError(
            f"{gallery.root}: its landmarks have names and no ids: a submission needs folders that are named by "
            "landmark_id, or the GLDv2 layout"
        )


def check_sheet(path: str | Path) -> None:
    """Refuse a name that tells no format of pictures."""
    if Path(path).suffix.lower() not in FORMATS:
        raise InputError(f"{path}: give a sheet a name that ends in {', '.join(FORMATS)}")


def write_answers(path: str | Path, searcher: Searcher, photos: Photos, findings: Findings) -> Path:
    """Write a submission with a row for every photograph: the best answer whatever its score; GAP needs no threshold.

    A photograph that cannot be read has an empty cell.

    Raises:
        InputError: the landmarks have no ids, see `check_numbered`.
    """
    check_numbered(searcher.gallery)
    answers = dict(
        zip(findings.ids, zip(findings.landmark.tolist(), findings.score.tolist(), strict=True), strict=True)
    )
    rows = [answers.get(image_id, (None, None)) for image_id in photos.ids]
    return write_submission(path, photos.ids, [row[0] for row in rows], [row[1] for row in rows])


def draw_sheet(path: str | Path, searcher: Searcher, photos: Photos, findings: Findings) -> Path:
    """Draw the queries with their nearest images, and the matches with the nearest one, into a file.

    Of more than `ROWS` queries the first ones are drawn.

    Raises:
        InputError: the file's name tells no format of pictures, or it cannot be written.
    """
    check_sheet(path)
    queries, neighbours, titles, captions, matches = [], [], [], [], []
    drawn: list[str] = []
    shown = findings.ids[:ROWS]
    for i, image_id in enumerate(shown):
        rows = [row for row in findings.neighbours.rows[i, :COLUMNS].tolist() if row >= 0]
        drawn += [image_id, *(searcher.index.ids[row] for row in rows)]
        queries.append(_thumb(photos, image_id))
        neighbours.append([_thumb(searcher.gallery, searcher.index.ids[row]) for row in rows])
        known = findings.score[i] >= searcher.threshold
        titles.append(landmark_name(searcher, int(findings.landmark[i])) if known else NONE)
        captions.append([landmark_name(searcher, int(searcher.landmark[row])) for row in rows])
        pairs = searcher.matches(photos, image_id, rows[0])
        matches.append(pairs[:: -(-len(pairs) // LINES) or 1])
    more = f" (the first {len(shown)} of {len(findings.ids)} queries)" if len(shown) < len(findings.ids) else ""
    blank: list[list[bool | None]] = [[None] * len(row) for row in neighbours]
    figure = nearest_neighbours(
        queries, neighbours, blank, titles, captions, matches, tile=1.6,
        title=f"Queries, their nearest images, and matches with the nearest{more}",
    )  # fmt: skip
    credit(figure, credit_lines(searcher.gallery.root, drawn))
    with atomic_path(path) as part:
        figure.savefig(part, format=Path(path).suffix[1:].lower(), dpi=120, facecolor="white")
    return Path(path)


def _thumb(photos: Photos, image_id: str) -> np.ndarray:
    """Load a small picture (H, W, 3); a grey one where the file is gone by now."""
    try:
        picture = photos.picture(image_id)
    except ImageError:
        return np.full((8, 8, 3), 128, np.uint8)
    picture.thumbnail((_THUMB, _THUMB), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _plain(value: float) -> float:
    return round(float(value), 6)
