"""The cache of maps: who goes first when it is full, and that nothing goes that is in use."""

import multiprocessing
import os
import shutil
import time

import pytest

from landmark.cli import main
from landmark.training.frozen.cache import cache_limit, cache_root, make_room, opened, shelves
from landmark.utils.errors import InputError


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDMARK_DATA", str(tmp_path))
    monkeypatch.setenv("LANDMARK_CACHE_GB", "0.000004")  # 4 kB


def shelf_of(name, size=1000):
    """A shelf that was last used so many hours ago as its name says."""
    with opened({"backbone": name}) as shelf:
        (shelf.path / "000-x.safetensors").write_bytes(bytes(size))
    os.utime(shelf.path / "basis.json", (time.time() - 3600 * int(name),) * 2)
    return shelf


def names():
    return [shelf.basis["backbone"] for shelf in shelves()]


def test_the_least_recently_used_goes_first(log_lines):
    """Fails when the limit is passed, more goes than must, or what was used lately."""
    for name in "312":
        shelf_of(name)
    assert names() == ["3", "2", "1"]
    with opened({"backbone": "0"}) as shelf:
        assert make_room(shelf, 700) == "" and names() == ["3", "2", "1", "0"]
        assert make_room(shelf, 1500) == "" and names() == ["2", "1", "0"]
        assert len(log_lines) == 1 and "dropped from the cache of maps to make room" in log_lines[0]


def test_what_is_open_stays():
    """Fails when maps are taken away from a run that reads them."""
    shelf_of("2")
    with opened({"backbone": "2"}) as used:
        os.utime(used.path / "basis.json", (0, 0))
        shelf_of("1")
        with opened({"backbone": "0"}) as shelf:
            assert "they need 3.0 kB, the cache has room for" in make_room(shelf, 2990)
            assert sorted(names()) == ["0", "2"]


def test_what_can_never_fit_drops_nothing():
    """Fails when all is thrown away for maps that are larger than the whole cache."""
    shelf_of("1")
    with opened({"backbone": "0"}) as shelf:
        assert "they need 9.0 kB" in make_room(shelf, 9000) and names() == ["1", "0"]


def _use(seen, end):
    with opened({"backbone": "1"}):
        seen.set()
        end.wait(60)


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_another_process_holds_it(how, capsys):
    """Fails when `landmark cache --clear` takes what another process uses, or a killed one holds it for ever."""
    shelf = shelf_of("1")
    context = multiprocessing.get_context("fork")
    seen, end = context.Event(), context.Event()
    other = context.Process(target=_use, args=(seen, end))
    other.start()
    assert seen.wait(60)
    assert main(["cache", "--clear"]) == 2 and shelf.path.exists()
    assert f"{shelf.key} not removed: another process uses it" in capsys.readouterr().err
    (end.set if how == "ends" else other.kill)()
    other.join(60)
    assert main(["cache", "--clear", shelf.key]) == 0 and not shelves()
    assert not list(cache_root().iterdir()) if cache_root().exists() else True


def test_the_command_lists_and_clears(capsys):
    """Fails when a line lacks what is asked for, the wrong part goes, or a key that is none is taken for one."""
    first, second = shelf_of("1"), shelf_of("2")
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == [second.key, first.key] and "1.0 kB" in lines[0]
    assert lines[2].endswith("of at most 4.0 kB (LANDMARK_CACHE_GB)")
    assert main(["cache", "--clear", "nosuch"]) == 2
    assert "no maps by the key nosuch: `landmark cache` lists them" in capsys.readouterr().err
    assert main(["cache", "--clear", first.key]) == 0 and names() == ["2"]
    assert main(["cache", "--clear"]) == 0 and names() == [] and main(["cache", "--clear"]) == 0


def test_a_note_that_is_gone_is_written_again():
    """Fails when a folder without its note is no longer listed, cannot be removed, or is a traceback."""
    shelf = shelf_of("1")
    (shelf.path / "basis.json").write_text("{")
    assert "?" in shelves()[0].describe()
    with opened({"backbone": "1"}):
        assert names() == ["1"]
    (shelf.path / "basis.json").unlink()
    assert len(shelves()) == 1 and shelves()[0].drop()
    shutil.rmtree(cache_root(), ignore_errors=True)
    assert shelves() == []


@pytest.mark.parametrize("asked", ["much", "-1", "nan"])
def test_a_limit_that_is_none_is_named(monkeypatch, asked):
    """Fails when a word for a number is a traceback, or is taken for no limit."""
    monkeypatch.setenv("LANDMARK_CACHE_GB", asked)
    with pytest.raises(InputError, match=f"LANDMARK_CACHE_GB={asked}: give a number of gigabytes"):
        cache_limit()
    monkeypatch.setenv("LANDMARK_CACHE_GB", "")
    assert cache_limit() == 50e9
