"""Files that appear whole or not at all, modes and folders; and the fixture that keeps tests off the network."""

import os
import re
import shutil
import socket
import stat

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from landmark.utils import files
from landmark.utils.errors import InputError, WriteError


def test_atomic_path_keeps_the_old_file(tmp_path):
    """Fails when a write that breaks off leaves half a file, or its own debris."""
    target = tmp_path / "sub" / "x.csv"
    with files.atomic_path(target) as part:
        part.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_path(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and [p.name for p in target.parent.iterdir()] == ["x.csv"]


def test_a_link_stays_one(tmp_path):
    """Fails when a file takes the place of the link to it, and what the link led to keeps the old rows."""
    (tmp_path / "there").mkdir()
    for name, leads_to in (("link", "there/x.csv"), ("second", "link"), ("dangling", "there/new/y.csv")):
        (tmp_path / name).symlink_to(leads_to)
    (tmp_path / "there/x.csv").write_text("old")
    for name, text in (("link", "new"), ("second", "newer"), ("dangling", "first")):
        with files.atomic_path(tmp_path / name) as part:
            part.write_text(text)
            assert part.parent.name in ("there", "new"), "a rename is atomic only beside the target"
        assert (tmp_path / name).is_symlink() and (tmp_path / name).read_text() == text
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["new", "x.csv"]


PLACES = {"folder": "it is a folder", "pipe": "a pipe", "link": "a pipe", "afile/x": "a file where a folder", "afile/a/x": "Not a"}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_place_for_a_file_is_told_before_the_work(tmp_path, place):
    """Fails when work is done before it is noticed that its place is a folder, or a pipe or device is replaced."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "afile").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    before = sorted(tmp_path.rglob("*"))
    told = f"{place}: cannot be written .*{PLACES[place]}.*another place"
    with pytest.raises(WriteError, match=told) as error, files.atomic_path(tmp_path / place):
        pytest.fail("it was begun")
    assert "\n" not in str(error.value) and "None" not in str(error.value)
    with pytest.raises(WriteError, match=f"{place}: cannot be written .*another place"):
        files.check_target(tmp_path / place)
    files.check_target(tmp_path / "new/folder/x")
    assert sorted(tmp_path.rglob("*")) == before and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def _with_numpy(part):
    with part.open("wb") as file:
        np.savez(file, x=np.arange(9999))


WRITERS = {
    "python": lambda part: part.write_text("x" * 9999),
    "pandas": lambda part: pd.DataFrame({"x": range(9999)}).to_csv(part),
    "numpy": _with_numpy,
    "copyfile": lambda part: shutil.copyfile(part.parent / "large", part),
    "safetensors": lambda part: save_file({"x": torch.zeros(9999)}, part),
    "torch": lambda part: torch.save({"x": torch.zeros(9999)}, part),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line(tmp_path, full_disk, name):
    """Fails when a library's own word for a full disk gets through, or the old file is lost, or the new one half kept."""
    (tmp_path / "x").write_text("old")
    (tmp_path / "large").write_bytes(bytes(9999))
    before = sorted(tmp_path.iterdir())
    told = rf"{re.escape(str(tmp_path))}/x: cannot be written \(.*, \d+(\.\d)? [kMG]?B free\); what was there before is whole"
    with full_disk(2000), pytest.raises(WriteError, match=told) as error:
        with files.atomic_path(tmp_path / "x") as part:
            WRITERS[name](part)
    assert "\n" not in str(error.value) and isinstance(error.value, InputError)
    assert (tmp_path / "x").read_text() == "old" and sorted(tmp_path.iterdir()) == before


def test_errors_of_other_files_are_not_blamed_on_the_written_one(tmp_path):
    """Fails when a file that cannot be read is called one that cannot be written, or a bug a full disk."""
    with pytest.raises(FileNotFoundError) as error, files.atomic_path(tmp_path / "x"):
        (tmp_path / "gone").read_text()
    assert not isinstance(error.value, WriteError)
    with pytest.raises(RuntimeError, match="a bug"), files.atomic_path(tmp_path / "x"):
        raise RuntimeError("a bug")


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_quick_mode(monkeypatch, value, expected):
    """Fails when LANDMARK_QUICK=0 means yes."""
    monkeypatch.setenv("LANDMARK_QUICK", value)
    assert files.quick() is expected


def test_folders_follow_the_environment(monkeypatch, tmp_path):
    """Fails when data or runs land in the work tree although they were sent elsewhere."""
    monkeypatch.setenv("LANDMARK_RUNS", str(tmp_path))
    assert files.runs_root() == tmp_path
    monkeypatch.delenv("LANDMARK_RUNS")
    assert files.runs_root().name == "runs"


def test_tests_have_no_network():
    """Fails when the fixture lets a connection out."""
    with pytest.raises(OSError, match="no network"), socket.socket() as s:
        s.connect(("192.0.2.1", 443))


def test_a_file_gets_the_rights_of_any_new_one_and_the_process_keeps_its_mask(tmp_path):
    """Fails when a shared file is private, or other threads make files without a mask meanwhile."""
    masks, before = [], os.umask(0o027)
    try:
        with files.atomic_path(tmp_path / "x") as part:
            masks.append(os.umask(0o027))
            part.unlink()
            os.close(os.open(part, os.O_CREAT, 0o600))  # as writers do that put a file of their own there
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640 and masks == [0o027]
        plain = os.umask
        os.umask = lambda mask: pytest.fail("the mask of the whole process was changed")
        try:
            files.write_json(tmp_path / "y", {"a": 1})
        finally:
            os.umask = plain
    finally:
        os.umask(before)


def test_a_folder_is_claimed_by_its_settings(tmp_path):
    """Fails when a folder of other settings is taken, a damaged note is taken for none, or what differs is not told."""
    note, wanted = tmp_path / "w" / "note.json", {"size": 32, "seed": 0}
    assert not files.claimed(note, wanted, "world") and not files.claimed(note, wanted)
    files.write_json(note, wanted)
    assert files.claimed(note, wanted, "world") and files.claimed(note, wanted)
    for other, words in (
        ({"size": 64, "seed": 0}, "size: 32 → 64"),
        ({"size": 32}, "seed: 0 → None"),
        (wanted | {"x": 1}, "x: None → 1"),
    ):
        assert not files.claimed(note, other)
        with pytest.raises(InputError, match=rf"w: holds a world of other settings \({words}\)"):
            files.claimed(note, other, "world")
    for text in ("", "{", "[1]", "3"):
        note.write_text(text)
        assert not files.claimed(note, wanted)
        with pytest.raises(InputError, match="note.json: damaged"):
            files.claimed(note, wanted, "world")


def test_work_without_room_is_refused(tmp_path, monkeypatch):
    """Fails when a disk is filled first, or the refusal does not say how much is missing."""
    usage = type("usage", (), {"free": 2_000_000})
    monkeypatch.setattr("landmark.utils.errors.shutil.disk_usage", lambda path: usage)
    files.check_space(tmp_path / "new", 2_000_000)
    with pytest.raises(InputError, match="new: need 3.0 MB, have 2.0 MB free: make room"):
        files.check_space(tmp_path / "new", 3_000_000)
