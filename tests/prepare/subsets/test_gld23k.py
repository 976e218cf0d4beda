"""gld23k from a mirror and from a folder, stopped in every way, against the world that the mirror was made of."""

import hashlib
import json
import random
import shutil
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from landmark.data import tables
from landmark.data.csv.attribution import credit_lines
from landmark.data.folder import GoogleLandmarks
from landmark.data.images import image_path
from landmark.prepare import sources
from landmark.prepare.check import check_data
from landmark.prepare.subsets import gld23k
from landmark.prepare.subsets.gld23k import fetch_gld23k
from landmark.utils.errors import DownloadError, HaltError, InputError, TableError
from landmark.utils.http import web
from tests.server import BLOCK, Fault
from tests.serving import child, tree

PUBLISHED = ("mini_gld_train_split.csv", "mini_gld_test.csv")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Attempts follow each other at once."""
    monkeypatch.setattr(web, "WAIT", 0.0)


def fetch(mirror, data, shards="0-2", **options):
    fetch_gld23k(data, shards=shards, mirror=mirror.url, yes=True, progress=False, **options)


def note(data):
    return json.loads((data / gld23k.NOTE).read_text())


def split_of(mirror):
    """The published tables, read without the package: id → (split, class)."""
    rows = {}
    for name, side in zip(PUBLISHED, ("train", "test"), strict=True):
        table = pd.read_csv(mirror.folder / name, dtype={"image_id": "str"})
        rows |= {i: (side, number) for i, number in zip(table["image_id"], table["class"], strict=True)}
    return rows


def got(mirror):
    return {name for method, name, _ in mirror.log if method == "GET"}


def test_a_folder_that_the_project_reads(mirror, world, tmp_path, log_lines):
    """Fails when an image is another one, lies in another split, bears its class for a landmark, or a TAR stays."""
    data, truth = tmp_path / "d", split_of(mirror)
    fetch(mirror, data)
    whole, made = tables.read_train(world / "train.csv").set_index("id"), GoogleLandmarks(data)
    assert len(made.train) > len(made.test) > 0 and made.train.equals(
        whole[[i in truth and truth[i][0] == "train" for i in whole.index]].reset_index()
    )
    assert dict(zip(made.solution["id"], made.solution["landmarks"], strict=True)) == {
        i: (whole.loc[i, "landmark_id"],) for i, (side, _) in truth.items() if side == "test"
    }
    assert set(made.solution["Usage"]) == {"Public"} and made.test["id"].tolist() == made.solution["id"].tolist()
    for image_id, (side, _) in truth.items():
        assert image_path(data, side, image_id).read_bytes() == image_path(world, "train", image_id).read_bytes()
    assert len(list(data.rglob("*.jpg"))) == len(truth)
    names = tables.read_categories(data / "train_label_to_category.csv")
    assert set(names["landmark_id"]) == set(made.train["landmark_id"]) < set(whole["landmark_id"])
    assert "landmark, a package that draws, MIT" in credit_lines(data, made.test["id"].tolist())[0]
    assert not (data / gld23k.PARTS).exists() and not list(data.rglob("*.tar")) and not list(data.glob(".*.lock"))
    done = note(data)
    assert done["images"] == {"train": len(made.train), "test": len(made.test), "of": len(whole)}
    assert list(done["shards"]) == ["0", "1", "2"] and sum(done["shards"].values()) == len(truth)
    assert f"{len(made.test)} of {len(made.test)} test images are here; TARs that are done: 0-2" in log_lines[-1]
    report = check_data(data, progress=False)
    assert not report.table_errors and "missing" not in report.counts
    mirror.log.clear()
    fetch(mirror, data)
    assert not mirror.log, "a second call asks nobody for anything"


def test_one_wrong_tar_does_not_stop_the_others(mirror, tmp_path):
    """Fails when a changed TAR is read, ends the others, is noted as done, or the way out is another command's."""
    data, sidecar = tmp_path / "my data", mirror.folder / "md5sum/train/md5.images_001.txt"
    right = sidecar.read_text()
    sidecar.write_text("0" * 32 + "  images_001.tar\n")
    with pytest.raises(DownloadError) as caught:
        fetch(mirror, data, workers=1)
    assert f"landmark download gld23k '{data}' --yes --mirror {mirror.url} --shards 1;" in str(caught.value)
    assert list(note(data)["shards"]) == ["0", "2"]
    sums = tmp_path / "sums.txt"
    sums.write_text(right)
    mirror.log.clear()
    fetch(mirror, data, md5_file=sums)
    assert got(mirror) == {"train/images_001.tar"} and list(note(data)["shards"]) == ["0", "1", "2"]
    assert len(list(data.rglob("*.jpg"))) == len(split_of(mirror)) and not (data / gld23k.PARTS).exists()


def test_a_damaged_tar_does_not_stop_the_others(mirror, tmp_path):
    """Fails when a TAR that is published damaged, sum and all, ends in a traceback or keeps the others from coming."""
    tar = mirror.folder / "train/images_001.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    digest = hashlib.md5(tar.read_bytes()).hexdigest()
    (mirror.folder / "md5sum/train/md5.images_001.txt").write_text(f"{digest}  images_001.tar\n")
    with pytest.raises(DownloadError, match=r"images_001\.tar: truncated"):
        fetch(mirror, tmp_path / "d")
    assert list(note(tmp_path / "d")["shards"]) == ["0", "2"]


def test_some_tars_now_and_others_later(mirror, tmp_path, log_lines):
    """Fails when a TAR is gone through twice, a part of one is lost, or the numbers cannot be given as shards again."""
    fetch(mirror, tmp_path / "whole")
    data = tmp_path / "d"
    fetch(mirror, data, "1")
    assert list(note(data)["shards"]) == ["1"]
    part = data / gld23k.PARTS / "train/images_002.tar.part"
    mirror.faults["train/images_002.tar"] = Fault(times=1, delay=0.5)
    process = child(fetch, mirror, data, "2")
    while not part.exists() or part.stat().st_size < BLOCK:
        time.sleep(0.01)
    process.kill()
    process.join()
    mirror.faults.clear()
    mirror.log.clear()
    fetch(mirror, data, "0")
    assert part.exists()
    fetch(mirror, data)
    asked = [line for line in mirror.log if line[1].endswith(".tar") and line[0] == "GET"]
    assert asked == [("GET", "train/images_000.tar", ""), ("GET", "train/images_002.tar", f"bytes={BLOCK}-")]
    assert tree(data) == tree(tmp_path / "whole")
    held = log_lines[-1].rpartition(": ")[2]
    assert sources.read_numbers(held, 500) == [0, 1, 2]


def test_killed_at_random_moments(mirror, tmp_path):
    """Fails when a killed process leaves half an image or table, a TAR, debris, or another result."""
    fetch(mirror, tmp_path / "whole")
    data, moments = tmp_path / "d", random.Random(1)
    for name in ("metadata/train.csv", *(f"train/images_00{k}.tar" for k in range(3))):
        mirror.faults[name] = Fault(times=99, delay=0.01)
    for _ in range(6):
        process = child(fetch, mirror, data)
        time.sleep(moments.uniform(0.05, 0.6))
        process.kill()
        process.join()
    mirror.faults.clear()
    fetch(mirror, data)
    assert tree(data) == tree(tmp_path / "whole")


def test_killed_between_the_note_and_the_tar(mirror, tmp_path, monkeypatch):
    """Fails when a TAR that is done stays on the disk, or half a table or image of a killed process does."""
    data = tmp_path / "d"
    pick = gld23k._pick
    monkeypatch.setattr(gld23k, "_pick", lambda *args: pick(*args) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fetch(mirror, data, "0")
    (tar,) = data.rglob("*.tar")
    another = tar.with_name("images_400.tar.part")  # of another call: it stays, and the folder with it
    another.write_bytes(b"half")
    first = next(data.rglob("*.jpg"))
    for debris in (data / ".train.csv.x.part", first.with_name(f".{first.name}.x.part")):
        debris.write_bytes(b"half")
    monkeypatch.undo()
    fetch(mirror, data)
    assert not list(data.rglob("*.tar")) and list(data.rglob("*.part")) == [another]


@pytest.mark.parametrize("form", ["loose", "tars"])
def test_from_a_folder_that_is_here(mirror, world, tmp_path, form):
    """Fails when anything but the two tables of the split travels, or the result is another one."""
    fetch(mirror, tmp_path / "whole")
    mirror.log.clear()
    origin = world
    if form == "tars":
        origin = tmp_path / "gldv2"
        shutil.copytree(mirror.folder / "train", origin / "train")
        for path in (mirror.folder / "metadata").iterdir():
            shutil.copy(path, origin)
    fetch(mirror, tmp_path / "d", "", source=origin)
    assert got(mirror) == set(PUBLISHED)
    made, whole = tree(tmp_path / "d"), tree(tmp_path / "whole")
    differ = {path.name for path in made.keys() | whole.keys() if made.get(path) != whole.get(path)}
    assert differ == {gld23k.NOTE} | ({"train_attribution.csv", "train_label_to_hierarchical.csv"} & differ)


def test_a_folder_that_lacks_some(mirror, world, tmp_path, log_lines):
    """Fails when what the folder lacks is an error, cannot be fetched afterwards, or what is here is fetched again."""
    origin, data = tmp_path / "gldv2", tmp_path / "d"
    shutil.copytree(world, origin)
    gone = sorted(split_of(mirror))[::2]
    for image_id in gone:
        image_path(origin, "train", image_id).unlink()
    fetch(mirror, data, "", source=origin)
    assert len(list(data.rglob("*.jpg"))) == len(split_of(mirror)) - len(gone)
    fetch(mirror, data)
    assert len(list(data.rglob("*.jpg"))) == len(split_of(mirror))
    mirror.log.clear()
    fetch(mirror, data, "0-400")
    assert not mirror.log, "nothing is missing, so no TAR is asked for"


def test_sizes_question_and_room(mirror, tmp_path, monkeypatch, log_lines):
    """Fails when TARs start without a word of what is kept, a dry run leaves a trace, or room for all is asked for."""
    data = tmp_path / "d"
    fetch(mirror, data, dry_run=True)
    lines = log_lines[-1].splitlines()
    assert not data.exists() and sum(".tar -> " in line for line in lines) == 3 and "mini_gld_test.csv" in log_lines[-1]
    asked = []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or ("" if "deleted" in text else "y"))
    with pytest.raises(InputError, match="nothing was fetched"):
        fetch_gld23k(data, shards="0-2", mirror=mirror.url, progress=False, workers=2)
    sizes = [(mirror.folder / f"train/images_00{k}.tar").stat().st_size for k in range(3)]
    share = len(split_of(mirror)) / len(tables.read_train(mirror.folder / "metadata/train.csv"))
    stay = f"about {share * sum(sizes) / 1000:.1f} kB stay"
    assert len(asked) == 2 and "3 files to fetch, 2 at a time, each deleted once it is read" in asked[1]
    assert f"{sum(sizes) / 1000:.1f} kB in" in asked[1] and stay in asked[1] and "Go on? [y/N]" in asked[1]
    assert (data / "train.csv").exists() and not list(data.rglob("*.jpg"))
    need = int(share * sum(sizes)) + sum(sorted(sizes)[-2:])
    for free in (need - 1, need):
        monkeypatch.setattr(
            "landmark.utils.errors.shutil.disk_usage", lambda path, free=free: SimpleNamespace(free=free)
        )
        if free < need:
            with pytest.raises(HaltError, match="make room"):
                fetch(mirror, data, workers=2)
        else:
            fetch(mirror, data, workers=2)


def test_two_processes_share_a_folder(mirror, tmp_path):
    """Fails when one of two goes through TARs that the other goes through, or takes its parts away."""
    for number in range(3):
        mirror.faults[f"train/images_00{number}.tar"] = Fault(times=1, delay=0.02)
    others = [child(fetch, mirror, tmp_path / "d") for _ in range(3)]
    for process in others:
        process.join(60)
    assert [process.exitcode for process in others] == [0, 0, 0]
    asked = [name for method, name, _ in mirror.log if method == "GET" and name.endswith(".tar")]
    assert sorted(asked) == [f"train/images_00{k}.tar" for k in range(3)]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (PUBLISHED[0], lambda text: "", "found the columns nothing"),
        (PUBLISHED[0], lambda text: text.split("\n")[0] + "\n", "a header and no rows"),
        (PUBLISHED[0], lambda text: text + "1,../../etc/passwd,0\n", r"line \d+: id '../../etc/passwd' is not"),
        (PUBLISHED[1], lambda text: text + "00112233445566aa,many\n", r"line \d+: landmark_id 'many' is not"),
        ("metadata/train.csv", lambda text: "id,url,landmark_id\n" + "ab" * 8 + ",,1\n", "none of the .* is it GLDv2's"),
        ("metadata/train.csv", lambda text: text + "zz,,1\n", "train.csv: line"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_trusted(mirror, tmp_path, name, change, message):
    """Fails when a table is believed that is none, or ends in a traceback."""
    path = mirror.folder / name
    path.write_text(change(path.read_text()))
    with pytest.raises((TableError, DownloadError), match=message if path.stat().st_size else "empty file"):
        fetch(mirror, tmp_path / "d")
    assert not list((tmp_path / "d").glob("*/*/*/*/*.jpg"))


def test_labels_are_those_of_the_data_set(mirror, tmp_path, log_lines):
    """Fails when classes that are no landmarks, or images without a row in train.csv, pass without a word."""
    path = mirror.folder / PUBLISHED[0]
    rows = path.read_text().splitlines()
    rows[1] = rows[1].rpartition(",")[0] + ",99"
    path.write_text("\n".join([*rows, "1,00112233445566aa,0"]) + "\n")
    fetch(mirror, tmp_path / "d")
    said = "\n".join(log_lines)
    assert "not landmarks of train.csv one by one" in said and "lacks 1 of the" in said
    train = tables.read_train(tmp_path / "d/train.csv")
    assert "00112233445566aa" not in set(train["id"]) and 99 not in set(train["landmark_id"])


def test_other_data_is_left_alone(mirror, tmp_path):
    """Fails when the tables of another data set are overwritten, or a damaged note is believed."""
    (tmp_path / "train.csv").write_text("id,url,landmark_id\nzzzz,,7\n")
    with pytest.raises(InputError, match="another data set"):
        fetch(mirror, tmp_path)
    assert not mirror.log and "zzzz" in (tmp_path / "train.csv").read_text()
    for text in ("{", "[]", '{"images": {"train": "x"}, "shards": {}}', '{"images": {}, "shards": {"a": 1}}'):
        (tmp_path / gld23k.NOTE).write_text(text)
        with pytest.raises(InputError, match="damaged"):
            fetch(mirror, tmp_path)
    (tmp_path / gld23k.NOTE).write_text('{"images": {}, "shards": {}}')  # ours, and the tables were changed meanwhile
    with pytest.raises(InputError, match="another data set"):
        fetch(mirror, tmp_path)


def test_a_full_disk(mirror, tmp_path, full_disk):
    """Fails when a full disk ends in a traceback, or half an image is taken for one."""
    data = tmp_path / "d"
    fetch(mirror, data, "0")
    largest = max(path.stat().st_size for path in (mirror.folder / "train").iterdir())
    with full_disk(largest // 2), pytest.raises(InputError, match="make room"):
        fetch(mirror, data)
    fetch(mirror, data)
    assert len(list(data.rglob("*.jpg"))) == len(split_of(mirror)) and not list(data.rglob("*.part"))
