"""The errors that a user can mend: one line that names the file, line or id and says what to do."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


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
        self.filename, self.errno = str(path), getattr(error, "errno", None)
        self.strerror = getattr(error, "strerror", None) or str(error).splitlines()[0][:120]
        self.advice = "choose another place or put it right"
        if is_full(error):
            self.errno = errno.ENOSPC
            there = next(folder for folder in Path(path).absolute().parents if os.path.isdir(folder))
            why = self.strerror if isinstance(error, OSError) else "the disk is full"  # or a quota, or a limit
            self.strerror = f"{why}, {shutil.disk_usage(there).free >> 20} MiB free"
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


class DownloadError(InputError):
    """One file that cannot be fetched; `status` is the server's answer, 0 when it is about something else."""

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status


class Halt(DownloadError):
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
