"""Locks, with real processes that hold them, wait for them and are killed."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from landmark.locks import alone
from landmark.runtime import InputError, WriteError

HOLD = (
    "import sys, time; from landmark.locks import alone\nwith alone(sys.argv[1]): print(1, flush=True); time.sleep(60)"
)
COUNT = """
import sys; from pathlib import Path; from landmark.locks import alone
total = Path(sys.argv[2])
for _ in range(50):
    with alone(sys.argv[1], pause=lambda seconds: None):
        total.write_text(str(int(total.read_text()) + 1))
"""


def test_one_at_a_time_and_a_killed_holder_holds_nothing(tmp_path):
    """Fails when two come in, or a lock outlives the process that held it."""
    path = tmp_path / "run" / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        holder.stdout.readline()
        with pytest.raises(InputError, match="^busy$"), alone(path, "busy"):
            pytest.fail("two came in")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with alone(path, "busy"):
        assert path.exists()
    assert not path.exists()


def test_a_lock_file_that_goes_lets_no_two_in(tmp_path):
    """Fails when one takes the file that another has just removed: some of 150 additions are then lost."""
    (tmp_path / "total").write_text("0")
    words = [sys.executable, "-c", COUNT, str(tmp_path / "lock"), str(tmp_path / "total")]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: subprocess.run(words, capture_output=True, text=True), range(3)))
    assert [d.stderr for d in done] == [""] * 3
    assert (tmp_path / "total").read_text() == "150" and not (tmp_path / "lock").exists()


def test_a_folder_that_was_made_for_a_lock_goes_with_it(tmp_path):
    """Fails when what was refused leaves an empty folder behind, or a folder with something in it is removed."""
    with alone(tmp_path / "a" / ".lock"):
        pass
    with alone(tmp_path / "b" / ".lock"):
        (tmp_path / "b" / "mine").touch()
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_no_place_for_a_lock_is_one_line(tmp_path):
    """Fails when a place below a file ends in a bare system error."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(WriteError, match="file/run/.lock: cannot be written"),
        alone(tmp_path / "file" / "run" / ".lock"),
    ):
        pass


def test_a_system_without_fcntl_starts_every_command():
    """Fails when a module needs what only Unix has: the package is then of no use on Windows."""
    child = "import sys, pkgutil, importlib; sys.modules['fcntl'] = None; import landmark\n"
    child += "for m in pkgutil.iter_modules(landmark.__path__):\n  m.name == '__main__' or importlib.import_module('landmark.' + m.name)"
    done = subprocess.run([sys.executable, "-c", child], env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
