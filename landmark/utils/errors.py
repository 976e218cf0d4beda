"""The errors that a user can mend: one line that names the file, line or id and says what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# What an open file answers, without its name: a failing disk, a full one, one that is gone or read-only by now
_OF_FILES = {errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EISDIR}


class InputError(ValueError):
    """Something the user gave cannot be used: one line that names the file, line or id and says what to do."""


class WriteError(InputError, OSError):
    """A file that cannot be written; what was there before is whole. `errno` and `strerror` tell why, as an OSError's.

    Args:
        path: of the file or folder.
        error: of the system, or what a library makes of a full disk.
    """

    def __init__(self, path: str | Path, error: BaseException):
        super().__init__(path, error)
        self.filename: str = str(path)
        self.errno: int | None = getattr(error, "errno", None)
        self.strerror = getattr(error, "strerror", None) or str(error).splitlines()[0][:120]
        self.advice = "choose another place or put it right"
        if is_full(error):
            self.errno = errno.ENOSPC
            why = self.strerror if isinstance(error, OSError) else "the disk is full"  # or a quota, or a limit
            self.strerror = f"{why}, {readable(free_bytes(Path(path).parent))} free"
            self.advice = "make room, then the same command goes on"
        elif self.errno == errno.EEXIST:  # of a folder that is to be made
            self.strerror = "there is a file where a folder should be"

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written ({self.strerror}); what was there before is whole: {self.advice}"

    def __reduce__(self) -> tuple[type, tuple]:  # for errors that come out of a worker
        return type(self), self.args


def is_full(error: BaseException) -> bool:
    """Whether an error, of the system, torch or safetensors, says that a disk is full or a quota used up."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    texts = (
        "No space left",
        "quota exceeded",
        "File too large",
        "PytorchStreamWriter failed writing",
        "unexpected pos",
    )
    return any(text in str(error) for text in texts)


def readable(count: float) -> str:
    """Write a number of bytes for people.

    >>> readable(1_234_567_890), readable(2_000), readable(7)
    ('1.2 GB', '2.0 kB', '7 B')
    """
    if count < 1000:
        return f"{count} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} GB"


def free_bytes(path: str | Path) -> int:
    """Count the bytes that are free where a file or folder lies, or will lie once it is made."""
    path = Path(path).absolute()
    return shutil.disk_usage(next(folder for folder in (path, *path.parents) if os.path.exists(folder))).free


@contextlib.contextmanager
def file_errors(
    path: str | Path = "", advice: str = "put it right, then give the same command again",
    kind: type[InputError] = InputError,
) -> Iterator[None]:  # fmt: skip
    """Turn what the system says of a file or folder into one line that names it; other errors pass.

    Args:
        path: what is named where the system does not say of which file it speaks.
        advice: what to do about it.
        kind: of error.

    Raises:
        InputError: no such file, no right to it, a folder in place of a file, a full or failing disk.

    >>> with file_errors(advice="fetch it first"), open("no/such/file"):
    ...     pass
    Traceback (most recent call last):
    landmark.utils.errors.InputError: no/such/file: No such file or directory: fetch it first
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, InputError) or not (error.filename or error.errno in _OF_FILES):
            raise
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else path
        raise kind(f"{name}: {error.strerror}: {advice}") from error


class DownloadError(InputError):
    """One file that cannot be fetched; `status` is the server's answer, 0 when it is about something else."""

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status


class HaltError(DownloadError):
    """What every other file would meet too: no connection, no space."""


class TableError(InputError):
    """A table that cannot be trusted: the message names the file, the line and what was expected."""


class ImageError(InputError):
    """One file that is no usable image; `reason` says why without the path."""

    def __init__(self, path: object, reason: str):
        super().__init__(f"{path}: {reason}")
        self.reason = reason


class ArchiveError(InputError):
    """A TAR that cannot be trusted: one line that names it and says what to do."""


class CheckpointError(InputError):
    """A file of weights that is damaged, is not what its name says, or does not fit the network."""
