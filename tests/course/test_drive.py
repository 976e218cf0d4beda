"""The drive of Colab, played by a module of the test."""

import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from landmark.course import drive
from landmark.utils.errors import InputError
from landmark.utils.files import runs_root


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """A google.colab whose drive is a folder here, once `mount` is called."""
    mounted = []

    def mount(place):
        (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
        mounted.append(place)

    google, inner = ModuleType("google"), ModuleType("google.colab")
    google.colab, inner.drive = inner, SimpleNamespace(mount=mount)
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", inner)
    monkeypatch.setattr(drive, "MOUNT", tmp_path / "drive")
    monkeypatch.setenv("LANDMARK_RUNS", str(tmp_path / "here"))
    return SimpleNamespace(mounted=mounted, drive=inner.drive)


def test_runs_move_to_the_drive(colab, tmp_path):
    """Fails when runs stay on the machine that is lent, or land beside the drive."""
    runs = drive.keep_on_drive(folder="course")
    assert runs == runs_root() == tmp_path / "drive" / "MyDrive" / "course" / "runs" and runs.is_dir()
    assert colab.mounted == [str(tmp_path / "drive")]


def test_nothing_happens_unasked(colab, tmp_path):
    """Fails when a notebook asks for access to a drive that its reader did not offer."""
    assert drive.keep_on_drive(False) == tmp_path / "here" and not colab.mounted
    assert os.environ["LANDMARK_RUNS"] == str(tmp_path / "here")


def test_refused_or_elsewhere_in_one_line(colab, monkeypatch, tmp_path):
    """Fails when a reader who declines, or is on no Colab, meets a traceback or loses the setting of before."""

    def refuse(place):
        raise ValueError("mount failed")

    monkeypatch.setattr(colab.drive, "mount", refuse)
    with pytest.raises(InputError, match="not mounted .mount failed.: run the cell again"):
        drive.keep_on_drive()
    monkeypatch.setitem(sys.modules, "google.colab", None)
    with pytest.raises(InputError, match="outside Colab: set LANDMARK_RUNS"):
        drive.keep_on_drive()
    assert runs_root() == tmp_path / "here"
