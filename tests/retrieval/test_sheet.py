"""Oracles: what the search found, read back from what was written."""

import json

import numpy as np
import pytest
from PIL import Image

from landmark.evaluation.submission import read_submission
from landmark.retrieval import sheet
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.gallery import open_photos
from landmark.retrieval.local.features import Sift
from landmark.utils.errors import InputError
from tests.retrieval.test_recognise import draw, search
from tests.retrieval.test_recognise import landmarks as landmarks
from tests.retrieval.test_recognise import photos as photos


@pytest.fixture
def found(landmarks, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    photos = open_photos([tmp_path / "bad.png", *(draw(tmp_path / f"q{i}.png", i, 0.3) for i in (1, 3, 9))])
    searcher = search(landmarks, SearchConfig(threshold=0.97, neighbours=1), Sift())
    return searcher, photos, searcher.search(photos)


def test_a_submission_has_an_answer_for_every_image(found, tmp_path):
    """Fails when the threshold drops an answer, an image has none, or one that cannot be read is not told of."""
    searcher, photos, findings = found
    rows = read_submission(sheet.write_answers(tmp_path / "s.csv", searcher, photos, findings))
    assert rows["id"].tolist() == photos.ids and rows["landmark_id"].isna().tolist() == [True, False, False, False]
    assert rows["landmark_id"][1:].tolist() == findings.landmark.tolist()
    assert rows["score"][1:].tolist() == findings.score.tolist() and (findings.score < 0.97).any()


def test_landmarks_without_ids_are_no_submission(landmarks, photos, tmp_path):
    """Fails when folders with names are counted through, and their numbers taken for landmark ids."""
    (landmarks / "30").rename(landmarks / "thirty")
    searcher = search(landmarks)
    with pytest.raises(InputError, match="its landmarks have names and no ids"):
        sheet.write_answers(tmp_path / "s.csv", searcher, photos, searcher.search(photos))
    assert not (tmp_path / "s.csv").exists()


def test_json_tells_two_kinds_of_no_threshold_apart(landmarks, photos):
    """Fails when "all are known" and "none is known" look alike."""
    told = {}
    for threshold in (-np.inf, np.inf, 0.5):
        searcher = search(landmarks)
        searcher.threshold = threshold
        report = json.loads(
            json.dumps(sheet.describe_findings(searcher, photos, searcher.search(photos)), allow_nan=False)
        )
        told[report["threshold_is"]] = report["threshold"], {query["known"] for query in report["queries"]}
    assert told["unknown"] == (None, {True}) and told["out of reach"] == (None, {False})
    assert told["measured"][0] == 0.5


def test_findings_as_json_and_lines(found):
    """Fails when a photograph is named by its hash, "none of these" is missing, or a number is none of JSON."""
    searcher, photos, findings = found
    report = json.loads(json.dumps(sheet.describe_findings(searcher, photos, findings), allow_nan=False))
    assert list(report["bad"]) == [photos.names[photos.ids[0]]] and report["threshold"] == 0.97
    assert report["threshold_is"] == "given"
    lines = sheet.summarise_findings(searcher, photos, findings)
    assert len(lines) == len(report["queries"]) == 3
    for i, (query, line) in enumerate(zip(report["queries"], lines, strict=True)):
        assert query["known"] == (findings.score[i] >= 0.97) == (sheet.NONE not in line)
        assert line.startswith(query["image"]) and query["image"] == photos.name(findings.ids[i])
        best = query["neighbours"][0]
        assert best["image"] in line and best["landmark"] == int(best["image"].split("/")[0])
        assert [n["inliers"] for n in query["neighbours"]] == findings.inliers[i].tolist()
    assert {query["known"] for query in report["queries"]} == {True, False}


def test_a_sheet_shows_queries_neighbours_and_matches(found, tmp_path, monkeypatch):
    """Fails when a query or a neighbour is missing, matches are of another pair, or a name that is no picture passes."""
    searcher, photos, findings = found
    drawn = {}
    ours = sheet.nearest_neighbours
    monkeypatch.setattr(sheet, "nearest_neighbours", lambda *a, **k: drawn.setdefault("figure", ours(*a, **k)))
    monkeypatch.setattr(searcher, "matches", lambda photos, i, row: np.tile([0.5, 0.5, 0.25, 0.75], (9, 1)))
    monkeypatch.setattr(sheet, "credit_lines", lambda root, ids: [f"{root.name} {i}" for i in ids])
    for name in ("s.png", "s.JPG"):
        with Image.open(sheet.draw_sheet(tmp_path / name, searcher, photos, findings)) as picture:
            assert picture.width > 400
    axes = drawn["figure"].axes[0]
    assert len(axes.images) == 3 * (1 + 5) and len(axes.collections) == 3
    order = [[i, *(searcher.index.ids[row] for row in rows)]
             for i, rows in zip(findings.ids, findings.neighbours.rows[:, :5], strict=True)]  # fmt: skip
    credited = " · ".join(f"{searcher.gallery.root.name} {i}" for i in sum(order, []))
    assert " ".join(drawn["figure"].get_supxlabel().split()) == credited
    (first, last) = axes.collections[0].get_segments()[0]
    (left, right, bottom, top) = axes.images[0].get_extent()
    assert first.tolist() == pytest.approx([(left + right) / 2, (top + bottom) / 2])
    (left, right, bottom, top) = axes.images[1].get_extent()
    assert last.tolist() == pytest.approx([left + (right - left) / 4, top + (bottom - top) * 3 / 4])
    assert len(axes.collections[0].get_segments()) == 9
    with pytest.raises(InputError, match="s.txt: give a sheet a name that ends in .png"):
        sheet.draw_sheet(tmp_path / "s.txt", searcher, photos, findings)
    assert not (tmp_path / "s.txt").exists()
