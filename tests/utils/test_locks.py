"""Locks, with real processes that hold them, wait for them and are killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from landmark.utils.errors import InputError, WriteError
from landmark.utils.locks import alone, held

HOLD = "import sys, time; from landmark.utils.locks import alone\nwith alone(sys.argv[1]): print(1, flush=True); time.sleep(60)"


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


def count(path, total, times):
    """Add one to the number in a file, which only works out when nobody else is at it."""
    for _ in range(times):
        with alone(path, pause=lambda seconds: time.sleep(0.0005)):
            number = int(total.read_text())
            time.sleep(0.0002)
            total.write_text(f"{number + 1}")


def test_a_lock_file_that_goes_lets_no_two_in(tmp_path):
    """Fails when one takes the file that another has just removed, or the folder that goes with it is in the way."""
    total, processes = tmp_path / "total", multiprocessing.get_context("fork")
    total.write_text("0")
    several = [processes.Process(target=count, args=(tmp_path / "a" / "b" / ".lock", total, 60)) for _ in range(4)]
    for process in several:
        process.start()
    for process in several:
        process.join()
    assert [process.exitcode for process in several] == [0] * 4
    assert total.read_text() == "240" and not list(tmp_path.rglob(".lock"))


def test_a_child_of_the_holder_holds_nothing(tmp_path):
    """Fails when a worker that was forked inside keeps the lock of its parent, who was killed."""
    read, write = os.pipe()
    holder = os.fork()
    if not holder:
        with alone(tmp_path / ".lock"):
            worker = os.fork()
            if worker:
                os.write(write, f"{worker}".encode())
            time.sleep(60)
        os._exit(0)
    worker = int(os.read(read, 20))
    try:
        with pytest.raises(InputError, match="^busy$"), alone(tmp_path / ".lock", "busy"):
            pytest.fail("two came in")
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        with alone(tmp_path / ".lock", "busy"):
            os.kill(worker, 0)  # it lives
    finally:
        os.kill(worker, signal.SIGKILL)


def test_who_waits_says_so_once_and_may_give_up(tmp_path, log_lines):
    """Fails when a command hangs in silence, floods the screen, or cannot be stopped while it waits."""

    class StoppedError(Exception):
        pass

    def pause(seconds):
        if next(left, None) is None:
            raise StoppedError

    left = iter(range(3))
    with (
        alone(tmp_path / ".lock"),
        pytest.raises(StoppedError),
        alone(tmp_path / ".lock", pause=pause, waiting="a little"),
    ):
        pytest.fail("two came in")
    assert log_lines == ["a little"]


def test_a_folder_that_was_made_for_a_lock_goes_with_it(tmp_path):
    """Fails when what was refused leaves an empty folder behind, or a folder with something in it is removed."""
    (tmp_path / "theirs").mkdir()
    with alone(tmp_path / "theirs" / "a" / "deep" / ".lock"):
        pass
    with alone(tmp_path / "b" / "c" / ".lock"):
        (tmp_path / "b" / "mine").touch()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["b", "mine", "theirs"]


def test_held_looks_and_takes_nothing(tmp_path):
    """Fails when looking at a lock leaves a file behind, keeps it from its next holder, or sees one that nobody holds."""
    path = tmp_path / "x.lock"
    assert not held(path) and not path.exists()
    with alone(path, busy="busy"):
        assert held(path) and path.exists()
    with alone(path, busy="busy"):
        pass
    assert not held(path)


def test_no_place_for_a_lock_is_one_line(tmp_path):
    """Fails when a place below a file ends in a bare system error."""
    (tmp_path / "file").touch()
    for place in ("file", "file/run", "file/run/deep"):
        with pytest.raises(WriteError, match=f"{place}: cannot be written .*choose another place") as error:
            with alone(tmp_path / place / ".lock"):
                pytest.fail("there is no lock")
        assert "\n" not in str(error.value) and "None" not in str(error.value)


def test_a_system_without_fcntl_starts_every_command(tmp_path):
    """Fails when a module needs what only Unix has: the package is then of no use on Windows; or no lock is had."""
    child = "import sys, pkgutil, importlib; sys.modules['fcntl'] = None; import landmark\n"
    child += "from landmark.utils.locks import alone\nwith alone(sys.argv[1]): pass\n"
    child += "for m in pkgutil.iter_modules(landmark.__path__):\n  m.name == '__main__' or importlib.import_module('landmark.' + m.name)"
    words = [sys.executable, "-c", child, str(tmp_path / "a" / "lock")]
    done = subprocess.run(words, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    assert not list(tmp_path.iterdir())
