"""The health report: every fault under its name, the same from a folder and from TARs."""

import io
import json
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from landmark.data.archives import open_images
from landmark.data.images import image_path
from landmark.prepare import check, inspection
from landmark.prepare.check import EXAMPLES, check_data
from landmark.utils.errors import ArchiveError


def test_health_report(folder):
    """Fails when a bad image is counted and not named, or a broken table is called a bad image."""
    report = check.check_data(folder, progress=False)
    assert report.exit_code == 1 and {b["id"][0] for b in report.bad} == {"a", "b"}
    assert json.loads(json.dumps(report.to_dict()))["exit_code"] == 1
    (folder / "test.csv").write_text("id\nxx\n")
    assert check.check_data(folder, progress=False).exit_code == 2


def picture(seed, size=(96, 72)):
    grid = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def data(image, kind="JPEG", **more):
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def write(root, files, rows):
    for (split, image_id), raw in files.items():
        path = image_path(root, split, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    lines = [f"{image_id},https://example.org/x.jpg,{landmark}" for image_id, landmark in rows["train"]]
    (root / "train.csv").write_text("\n".join(["id,url,landmark_id", *lines]) + "\n")
    if "test" in rows:
        (root / "test.csv").write_text("\n".join(["id", *rows["test"]]) + "\n")
    return root


def into_tars(root):
    """Move the loose images of a folder into one TAR for each split."""
    for split in ("train", "test"):
        paths = sorted((root / split).rglob("*.jpg"))
        with tarfile.open(root / split / "images_000.tar", "w") as tar:
            for path in paths:
                tar.add(path, path.relative_to(root / split))
                path.unlink()
    return root


@pytest.fixture
def faulty(tmp_path):
    """One image for each fault, two that are sound."""
    turned = Image.Exif()
    turned[0x0112] = 8
    train = {
        "good0": data(picture(0)), "good1": data(picture(1)), "cut0": data(picture(2))[:-300], "void0": b"",
        "page0": b"<!DOCTYPE html>", "png0": data(picture(3), "PNG"), "exif0": data(picture(4), exif=turned),
        "grey0": data(picture(5).convert("L")), "cmyk0": data(picture(6).convert("CMYK")),
        "tiny0": data(picture(7, (40, 31))), "flat0": data(Image.new("RGB", (64, 64), "red")),
        "same0": data(picture(8)), "same1": data(picture(8)), "near0": data(picture(9), quality=95),
        "near1": data(picture(9), quality=50), "stray0": data(picture(10)), "moved0": data(picture(11)),
    }  # fmt: skip
    files = {("train", i): raw for i, raw in train.items()} | {("test", "test0"): data(picture(12))}
    rows = {"train": [(i, n) for n, i in enumerate(train) if i not in ("stray0", "moved0")] + [("gone0", 99)],
            "test": ["test0", "moved0"]}  # fmt: skip
    return write(tmp_path, files, rows)


@pytest.mark.parametrize("packed", [False, True])
def test_every_fault_under_its_name(faulty, packed):
    """Fails when a detector misses its fault, sees it elsewhere, or looks at folders and not into TARs."""
    report = check_data(into_tars(faulty) if packed else faulty, progress=False)
    odd = {kind: {item["id"] for item in images} for kind, images in report.odd.items()}
    assert odd == {
        "wrong_format": {"png0"}, "exif": {"exif0"}, "grey": {"grey0"}, "cmyk": {"cmyk0"}, "tiny": {"tiny0"},
        "constant": {"flat0"}, "wrong_split": {"moved0"},
    }  # fmt: skip
    bad = {(item["kind"], item["split"], item["id"]) for item in report.bad}
    assert bad == {
        ("truncated", "train", "cut0"), ("unreadable", "train", "void0"), ("unreadable", "train", "page0"),
        ("missing", "train", "gone0"), ("missing", "test", "moved0"),
    }  # fmt: skip
    assert {item["id"]: item["reason"] for item in report.bad}["moved0"].endswith("(it lies under train/)")
    assert report.exact_duplicates == [["train/same0", "train/same1"]]
    assert report.near_duplicates == [["train/near0", "train/near1"]]
    assert len(report.label_conflicts) == 2 and report.exit_code == 1
    assert report.images == {"train": 14, "test": 1} and report.without_row == {"train": 2, "test": 0}
    assert report.found()["unreadable"] == {"cut0", "void0", "page0"}
    assert report.found()["duplicate"] == {"same1", "near1"}


def test_json_and_lines(faulty):
    """Fails when the report cannot be written as JSON, or people are not told an id and its reason."""
    report = check_data(faulty, progress=False)
    plain = json.loads(json.dumps(report.to_dict()))
    assert (
        plain["exit_code"] == 1 and plain["counts"]["unreadable"] == 2 and plain["shares"]["grey"] == round(1 / 15, 6)
    )
    text = "\n".join(report.lines())
    assert "train void0: empty file" in text and "near duplicates: 1 groups, 2 images" in text


def test_odd_images_do_no_harm(tmp_path):
    """Fails when grey, turned or doubled pictures make a data set unsound."""
    files = {("train", f"aaa{i}"): data(picture(i // 2).convert("L")) for i in range(4)}
    report = check_data(write(tmp_path, files, {"train": [(i, 1) for _, i in files]}), progress=False)
    assert report.exit_code == 0 and report.counts == {"grey": 4} and len(report.exact_duplicates) == 2
    assert report.label_conflicts == [] and report.lines()[-1] == "sound"
    assert report.to_dict()["told"].keys() == {"grey"} and "odd" not in report.to_dict()


def test_a_leak_alone_makes_a_folder_unsound(tmp_path):
    """Fails when a test image that is trained on as well goes unnoticed, or two copies on one side are called a leak."""
    raws = {("train", "aaa0"): data(picture(0)), ("train", "aaa1"): data(picture(1), quality=95),
            ("train", "aaa2"): data(picture(1), quality=60), ("train", "aaa3"): data(picture(2)),
            ("test", "bbb0"): data(picture(0)), ("test", "bbb1"): data(picture(1), quality=80),
            ("test", "bbb2"): data(picture(3)), ("test", "bbb3"): data(picture(3)),
            ("nonlandmark", "ccc0"): data(picture(3)), ("index", "ddd0"): data(picture(2))}  # fmt: skip
    rows = {
        "train": [(i, 1) for split, i in raws if split == "train"],
        "test": [i for split, i in raws if split == "test"],
    }
    report = check_data(write(tmp_path, raws, rows), progress=False)
    leaks = [(leak["kind"], leak["test"], leak["learnt"]) for leak in report.leaks]
    assert leaks == [("exact", "bbb0", "train/aaa0"), ("exact", "bbb2", "nonlandmark/ccc0"),
                     ("exact", "bbb3", "nonlandmark/ccc0"), ("near", "bbb1", "train/aaa1"), ("near", "bbb1", "train/aaa2")]  # fmt: skip
    assert report.exit_code == 1 and report.bad == [] and report.to_dict()["leaks"] == report.leaks
    text = report.lines()
    assert "leaks: 3 exact and 2 near pairs of a test image and one that is trained on, 4 test images" in text
    assert "  near: test/bbb1 = train/aaa2" in text and text[-1] == "0 bad or missing images, leaks: 5"
    for split, image_id in raws:
        if split in ("nonlandmark", "index") or image_id in ("bbb0", "bbb1"):
            image_path(tmp_path, split, image_id).unlink()
    (tmp_path / "test.csv").write_text("id\nbbb2\nbbb3\n")
    report = check_data(tmp_path, progress=False)
    assert (report.exit_code, report.leaks, report.lines()[-1]) == (0, [], "sound")
    assert report.random_split["pairs"] == 1, "what a random dev split may leak is no fault of the folder"


def test_a_short_table_for_people(tmp_path):
    """Fails when a thousand missing images scroll past, or the JSON leaves some of them out."""
    report = check_data(write(tmp_path, {}, {"train": [(f"{i:04}", 1) for i in range(1000)]}), progress=False)
    assert len(report.to_dict()["bad"]) == 1000 and len(report.lines()) < EXAMPLES + 12
    assert any("980 more" in line for line in report.lines())


def test_broken_archive_and_broken_table(faulty):
    """Fails when a TAR cut short ends the whole check, or a table that cannot be trusted is called a bad image."""
    into_tars(faulty)
    tar = faulty / "train" / "images_000.tar"
    tar.write_bytes(tar.read_bytes()[:9000])
    report = check_data(faulty, progress=False)
    assert report.exit_code == 1 and "images_000.tar" in report.archive_errors[0]
    assert report.images == {"train": 1, "test": 1}, "what lies before the cut"
    (faulty / "train.csv").write_text("id,url\n")
    assert check_data(faulty, progress=False).exit_code == 2


def in_tars(root, groups):
    """TARs of a train folder with these pictures, and its table."""
    (root / "train").mkdir(parents=True)
    for number, ids in enumerate(groups):
        with tarfile.open(root / f"train/images_{number:03d}.tar", "w") as tar:
            for image_id in ids:
                raw = data(picture(int(image_id, 16)))
                info = tarfile.TarInfo(f"{'/'.join(image_id[:3])}/{image_id}.jpg")
                info.size = len(raw)
                tar.addfile(info, io.BytesIO(raw))
    return write(root, {}, {"train": [(image_id, int(image_id, 16) % 3) for ids in groups for image_id in ids]})


@pytest.mark.parametrize("damage", ["cut", "header", "zeros", "page"])
def test_a_damaged_tar_among_sound_ones(tmp_path, damage):
    """Fails when a damaged TAR ends the inspection of its split, or what is missing is not listed by id."""
    groups = [[f"{8 * number + i:016x}" for i in range(8)] for number in range(3)]
    root = in_tars(tmp_path / "d", groups)
    path = root / "train/images_001.tar"
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    raw, middle = bytearray(path.read_bytes()), members[5].offset_data + members[5].size // 2
    if damage == "header":
        raw[members[5].offset + 150] ^= 0x55
    elif damage == "zeros":
        raw[middle:] = bytes(len(raw) - middle + 40_000)
    path.write_bytes(raw[:middle] if damage == "cut" else b"<!DOCTYPE html>" if damage == "page" else raw)
    report = check_data(root, progress=False)
    bad = {item["id"]: (item["kind"], item["reason"]) for item in report.bad}
    missing = {"cut": [6, 7], "header": [5], "zeros": [6, 7], "page": range(8)}[damage]
    truncated = groups[1][5:6] if damage in ("cut", "zeros") else []
    assert {i for i, (kind, _) in bad.items() if kind == "missing"} == {groups[1][i] for i in missing}
    assert {i for i, (kind, _) in bad.items() if kind == "truncated"} == set(truncated) and len(bad) == len(report.bad)
    assert report.images == {"train": 24 - len(bad)} and report.without_row == {"train": 0}
    assert len(report.archive_errors) == 1 and "images_001.tar" in report.archive_errors[0]
    assert report.exit_code == 1 and f"{len(bad)} bad or missing images, faults of TARs: 1" in report.lines()[-1]
    with pytest.raises(ArchiveError, match=r"images_001\.tar"):
        open_images(root, "train")


def test_a_tar_that_changes_during_the_check(tmp_path, monkeypatch):
    """Fails when a download into the folder that is checked ends the check of all that is there."""
    root = in_tars(tmp_path / "d", [["0" * 16, "1" * 16], ["2" * 16, "3" * 16]])
    look, path = inspection.inspect_image, root / "train/images_001.tar"

    def slow(raw):
        os.utime(path, ns=(1, 1))
        return look(raw)

    monkeypatch.setattr(inspection, "inspect_image", slow)
    report = check_data(root, progress=False)
    assert report.images == {"train": 2} and {item["id"] for item in report.bad} == {"2" * 16, "3" * 16}
    assert len(report.archive_errors) == 1 and "images_001.tar: changed" in report.archive_errors[0]


def test_a_word_on_a_long_end(tmp_path):
    """Fails when nobody is told of a TAR whose end may be missing, or such a TAR counts as damaged."""
    root = in_tars(tmp_path / "d", [["0" * 16, "1" * 16]])
    path = root / "train/images_000.tar"
    path.write_bytes(path.read_bytes() + bytes(10_240))
    report = check_data(root, progress=False)
    assert report.exit_code == 0 and len(report.archive_notes) == 1 and report.archive_notes[0] in report.lines()


def test_nothing_is_left_behind(faulty):
    """Fails when a check of a folder writes into it."""
    before = {path: path.stat().st_mtime_ns for path in faulty.rglob("*")}
    check_data(faulty, progress=False)
    assert {path: path.stat().st_mtime_ns for path in faulty.rglob("*")} == before


def test_index_split(tmp_path):
    """Fails when the index images are passed over."""
    files = {("train", "aaa0"): data(picture(0)), ("index", "bbb0"): data(picture(1)), ("index", "bbb1"): b""}
    root = write(tmp_path, files, {"train": [("aaa0", 1)]})
    report = check_data(root, progress=False)
    assert report.images == {"train": 1, "index": 1} and report.bad[0]["split"] == "index"
    (root / "index.csv").write_text("id\nbbb0\nbbb1\nbbb2\n")
    assert {item["id"] for item in check_data(root, progress=False).bad} == {"bbb1", "bbb2"}


def test_images_without_a_landmark_are_checked_too(tmp_path):
    """Fails when a broken one goes unseen, or one that is a test image as well."""
    ids = [f"{i}" * 16 for i in range(4)]
    files = {("train", ids[0]): data(picture(0)), ("test", ids[1]): data(picture(1)),
             ("nonlandmark", ids[2]): data(picture(1)), ("nonlandmark", ids[3]): b"<html>"}  # fmt: skip
    write(tmp_path, files, {"train": [(ids[0], 7)], "test": [ids[1]]})
    (tmp_path / "nonlandmark.csv").write_text("\n".join(["id,url", *(f"{i}," for i in ids[2:])]) + "\n")
    report = check_data(tmp_path, progress=False)
    assert report.tables["nonlandmark.csv"] == 2 and report.images["nonlandmark"] == 1 and report.exit_code == 1
    assert [(bad["split"], bad["id"]) for bad in report.bad] == [("nonlandmark", ids[3])]
    assert report.exact_duplicates == [[f"test/{ids[1]}", f"nonlandmark/{ids[2]}"]]
