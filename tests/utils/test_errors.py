"""The errors that a user can mend: caught by one name, told in one line, the same from another process."""

import errno
import inspect
import os
import pickle

import pytest

from landmark.utils import errors
from landmark.utils.errors import InputError, TableError, WriteError, file_errors, free_bytes, readable


def test_one_name_catches_them_all():
    """Fails when the command would show a traceback for one of them, or a caller's `except ValueError` misses one."""
    classes = [it for _, it in inspect.getmembers(errors, inspect.isclass) if it.__module__ == errors.__name__]
    assert len(classes) > 5 and all(issubclass(it, InputError) and issubclass(it, ValueError) for it in classes)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EFBIG, "File too large"), True),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"), True),
        (RuntimeError("unexpected pos 64 vs 0"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (OSError(errno.EROFS, "Read-only file system"), False),
        (RuntimeError("shape mismatch"), False),
    ],
    ids=repr,
)
def test_a_full_disk_is_known_in_every_librarys_words(error, full):
    """Fails when the user is told to choose another place where room is all that lacks, or the other way round."""
    assert errors.is_full(error) is full


def test_a_full_disk_says_how_much_is_free(tmp_path):
    """Fails when the advice is another one, or a library's error has no number: callers look at `errno`."""
    for error in (OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing")):
        full = WriteError(tmp_path / "none" / "x", error)
        assert full.errno == errno.ENOSPC and "B free" in str(full) and "make room" in str(full)
        assert str(full).startswith(f"{tmp_path}/none/x: cannot be written (") and "\n" not in str(full)


def test_a_place_that_cannot_be_written_is_another_matter(tmp_path):
    """Fails when a file in the way of a folder is called a full disk, or the system's word is left out."""
    way = WriteError(tmp_path, OSError(errno.EEXIST, "File exists"))
    assert "a file where a folder should be" in str(way) and "choose another place" in str(way)
    denied = WriteError(tmp_path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    assert "Permission denied" in str(denied) and denied.errno == errno.EACCES and denied.filename == str(tmp_path)
    long = WriteError(tmp_path, RuntimeError("first line " + "x" * 500 + "\nsecond line"))
    assert "second line" not in str(long) and len(str(long)) < 400


def test_an_error_of_a_worker_says_the_same(tmp_path):
    """Fails when an error that a process raises cannot be told to another: it is then called a broken pool."""
    first = WriteError(tmp_path / "x", OSError(errno.ENOSPC, "No space left on device"))
    error = pickle.loads(pickle.dumps(first))  # noqa: S301  (our own bytes)
    assert str(error) == str(first) and (error.errno, error.filename) == (errno.ENOSPC, str(tmp_path / "x"))


def test_what_an_error_carries_beside_its_line():
    """Fails when a report must cut the reason or the server's answer out of a sentence."""
    image = errors.ImageError("a/b.jpg", "cut short")
    assert (str(image), image.reason) == ("a/b.jpg: cut short", "cut short")
    assert errors.DownloadError("x", 404).status == 404 and errors.DownloadError("x").status == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.csv", "No such file"), ("folder", "Is a directory"), ("file/x.csv", "Not a directory"), ("a" * 300, "too long")],
)  # fmt: skip
def test_what_the_system_says_of_a_file_is_one_line(tmp_path, name, words):
    """Fails when a wrong path ends in a traceback, or the line does not name it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(TableError, match=f"{name}: .*{words}.*: repair it") as error,
        file_errors("x", "repair it", TableError),
    ):
        (tmp_path / name).read_text()
    assert "\n" not in str(error.value)


def test_a_failing_disk_has_no_name_of_its_own():
    """Fails when a read that breaks off inside a file is not told, or told without the path."""
    with pytest.raises(InputError, match=r"^data/x.tar: Input/output error"), file_errors("data/x.tar"):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("error", [ValueError("broadcast"), KeyError("x"), BrokenPipeError(errno.EPIPE, "Broken pipe"),
                                   ConnectionResetError(errno.ECONNRESET, "reset"), OSError("of a library")], ids=repr)  # fmt: skip
def test_other_errors_pass(error):
    """Fails when a fault of the program, or a reader that is gone, is taken for bad input."""
    with pytest.raises(type(error)) as caught, file_errors("x"):
        raise error
    assert caught.value is error


def test_an_error_that_has_its_line_keeps_it(tmp_path):
    """Fails when a WriteError, an OSError as well, loses its advice."""
    first = WriteError(tmp_path / "x", OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(WriteError) as caught, file_errors("y"):
        raise first
    assert caught.value is first


def test_bytes_for_people():
    """Fails when a unit is a thousand times too large, or a small number gets decimals."""
    assert [readable(n) for n in (0, 999, 1000, 999_949, 10**6, 10**9, 5 * 10**12)] == [
        "0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.0 GB", "5000.0 GB"]  # fmt: skip


def test_room_for_what_is_not_there_yet(tmp_path, monkeypatch):
    """Fails when the disk of another folder is asked, or a folder that is to be made ends in an error."""
    asked = []
    usage = type("usage", (), {"free": 7})
    monkeypatch.setattr("landmark.utils.errors.shutil.disk_usage", lambda path: asked.append(path) or usage)
    assert free_bytes(tmp_path / "new" / "one") == 7 and asked == [tmp_path]
