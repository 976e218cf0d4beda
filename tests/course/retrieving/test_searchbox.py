"""The box beside the command, photographs handed over as a browser does: by the state of the widget."""

import base64
import datetime
import html
import io
import json
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from landmark.cli.command import main
from landmark.course.retrieving import searchbox
from landmark.course.retrieving.searchbox import SearchBox
from landmark.retrieval import embed, gallery
from landmark.utils.errors import InputError
from tests.retrieval.local.test_features import texture
from tests.retrieval.test_recognise import Thumb

ipywidgets = pytest.importorskip("ipywidgets")
WIDGET = "application/vnd.jupyter.widget-view+json"


def draw(path, seed, by=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.roll(texture(seed), (by, 2 * by), (0, 1))[:240, :320]).save(path)
    return path


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Three landmarks with two photographs each, a network that is a thumbnail, and its own folder for what is temporary."""
    for module in (searchbox, embed):
        monkeypatch.setattr(module, "search_embedder", lambda name: Thumb())
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for seed in range(3):
        for by in (0, 7):
            draw(tmp_path / f"album/Tower {seed}/{by}.png", seed, by)
    return tmp_path / "album"


@pytest.fixture
def photos(tmp_path):
    """Two photographs of the index's landmarks and one of none."""
    return [draw(tmp_path / f"q{seed}.png", seed, 4) for seed in (0, 2, 8)]


def upload(box, *files):
    """Hand over (name, content), as the front end does: all of them as one new value."""
    now = datetime.datetime.now(tz=datetime.UTC)
    box.box.children[0].value = [
        {"name": name, "type": "", "size": len(content), "last_modified": now, "content": memoryview(content)}
        for name, content in files
    ]


def asked(*paths):
    return [(path.name, path.read_bytes()) for path in paths]


def shown(box):
    """Lines and picture as they stand below the button; no picture where it is hidden."""
    _, text, picture = box.box.children
    inside = text.value.removeprefix('<pre style="white-space: pre-wrap">').removesuffix("</pre>")
    return html.unescape(inside).split("\n"), picture.value if picture.layout.display != "none" else None


def by_name(text, folder):
    return text.replace(f"{folder}/", "")


@pytest.mark.parametrize("local", ["sift", "none"])
def test_it_answers_as_the_command_does(album, photos, tmp_path, capsys, local):
    """Fails when the box has other settings, neighbours, inliers, scores, threshold or another sheet than the command."""
    command = ["search", str(album), *map(str, photos), "--sheet", str(tmp_path / "sheet.jpg"), "--local", local]
    assert main([*command, "--json"]) == 0
    report = json.loads(by_name(capsys.readouterr().out, tmp_path))
    assert main(command) == 0
    lines = by_name(capsys.readouterr().out, tmp_path).splitlines()
    box = SearchBox(album, photos[1], local=local)
    upload(box, *asked(*photos))
    assert box.report == report and [query["name"] for query in report["queries"][:2]] == ["Tower 0", "Tower 2"]
    inliers = report["queries"][0]["neighbours"][0]["inliers"]
    assert inliers is None if local == "none" else inliers > 20
    assert shown(box) == (lines, box.sheet)
    with Image.open(io.BytesIO(box.sheet)) as ours, Image.open(tmp_path / "sheet.jpg") as theirs:
        assert ours.format == "JPEG" and np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_what_cannot_be_read_has_a_line_and_stops_nothing(album, photos, tmp_path, capsys, monkeypatch):
    """Fails when one bad upload costs the others their answer, or is told of otherwise than the command tells."""
    monkeypatch.setattr(gallery, "MAX_BYTES", 1_000_000)
    whole = photos[0].read_bytes()
    bad = {"empty.jpg": b"", "page.jpg": b"<html>", "half.png": whole[: len(whole) // 2], "huge.jpg": bytes(1_000_001)}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    paths = [*(tmp_path / name for name in bad), photos[0]]
    assert main(["search", str(album), *map(str, paths)]) == 0
    out, err = capsys.readouterr()
    told = by_name(err + out, tmp_path).splitlines()
    box = SearchBox(album, photos[1])
    upload(box, *bad.items(), *asked(photos[0]))
    lines, picture = shown(box)
    assert [line.split(": ")[0] for line in lines] == [*bad, photos[0].name]
    assert set(lines) <= set(told)
    assert picture and len(box.report["queries"]) == 1
    upload(box, *bad.items())
    assert shown(box) == (lines[:-1], None) and box.report == {}
    upload(box, *asked(photos[1]))
    assert "Tower 2" in shown(box)[0][0] and shown(box)[1]


def test_the_same_name_twice(album, photos):
    """Fails when one of two photographs of the same name is lost, or a photograph given twice is answered twice."""
    (_, first), (_, second) = asked(*photos[:2])
    box = SearchBox(album, photos[1])
    upload(box, ("a.png", first), ("a.png", second), ("a.png", first))
    assert [line.split(", score")[0] for line in box.lines] == ["a.png: Tower 0", "a.png (2): Tower 2"]


def test_nothing_is_left_behind(album, photos, tmp_path):
    """Fails when an upload, or anything computed from it, stays in the index, a temporary folder or a saved page."""
    box = SearchBox(album, photos[1])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    upload(box, *asked(*photos), ("bad.jpg", b"x"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not list((tmp_path / "temporary").iterdir())
    assert not box.box.children[0].value


def test_any_name_is_only_a_name(album, photos):
    """Fails when an upload's name is taken for a path or for a piece of the page."""
    name = "../../<img src=x onerror=alert(1)>.png"
    box = SearchBox(album, photos[1])
    upload(box, (name, photos[0].read_bytes()))
    assert box.report["queries"][0]["image"] == name
    assert "<img" not in box.box.children[1].value and "&lt;img" in box.box.children[1].value


def test_a_full_disk_is_a_line(album, photos, full_disk):
    """Fails when uploads that find no room below the button vanish without a word."""
    box = SearchBox(album, photos[1])
    with full_disk(1000):
        upload(box, *asked(photos[0]))
    (line,), picture = shown(box)
    assert "File too large" in line and picture is None


def test_a_page_without_kernel_shows_the_example(album, photos):
    """Fails when a rendered page is empty where the button stands, or its picture is not described."""
    box = SearchBox(album, photos[1])
    bundle, metadata = box._repr_mimebundle_()
    assert base64.b64decode(bundle["image/jpeg"]) == box.sheet and bundle[WIDGET]["model_id"] == box.box.model_id
    assert bundle["text/plain"] == box.lines[0] and box.lines[0].startswith("q2.png: Tower 2, score")
    assert metadata["image/jpeg"]["alt"].endswith(box.lines[0])
    (hint,), picture = shown(box)
    assert hint.endswith("The picture answers q2.png.") and picture == box.sheet
    assert "Output" not in {type(child).__name__ for child in box.box.children}, "headless runners wait for it"


def test_without_ipywidgets_one_line_and_the_example(album, photos, monkeypatch, capsys):
    """Fails when a notebook stops, or says nothing, because an optional package is missing."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bundle, _ = SearchBox(album, photos[1])._repr_mimebundle_()
    assert capsys.readouterr().out == "photographs cannot be uploaded without ipywidgets: pip install ipywidgets\n"
    assert WIDGET not in bundle and bundle["image/jpeg"]


def test_a_value_of_ipywidgets_7(photos):
    """Fails when uploads on Colab, where the value is a dictionary, are read as names without content."""
    (name, content) = asked(photos[0])[0]
    value = {name: {"metadata": {"name": name, "size": len(content)}, "content": content}}
    assert searchbox._uploaded(value) == [(name, content)]


def test_an_example_that_cannot_be_read(album, tmp_path):
    """Fails when a page is made without its picture, or the line does not name the file."""
    with pytest.raises(InputError, match=r"nowhere\.jpg: no such file"):
        SearchBox(album, tmp_path / "nowhere.jpg")
