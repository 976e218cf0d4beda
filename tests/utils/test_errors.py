"""Errors that a user can mend: what the system says of a file becomes one line; faults of the program stay what they are."""

import errno

import pytest

from landmark.utils.errors import InputError, TableError, WriteError, file_errors, free_bytes, readable


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
