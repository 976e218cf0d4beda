"""Locks that keep processes out of each other's way; the system frees them however their holder ends."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from landmark.runtime import InputError, WriteError

_NONE_HERE = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}  # as some mounted drives answer
LOCK = ".lock"  # of a folder


@contextlib.contextmanager
def alone(path: str | Path, busy: str = "", pause: Callable[[float], object] = time.sleep) -> Iterator[None]:
    """Hold a lock file: no other process or thread that asks for it comes in meanwhile.

    A folder that is made for it goes with it, if nothing else came to lie there.

    Args:
        path: of the lock file.
        busy: what is said when another one holds it; left out, it is waited for.
        pause: waits so many seconds, and may raise to give up.

    Raises:
        InputError: another one holds it and `busy` is given.
        WriteError: the folder cannot be written to.
    """
    path = Path(path)
    with contextlib.ExitStack() as undo:
        try:
            if not path.parent.exists():
                path.parent.mkdir(parents=True)
                undo.callback(_remove_empty, path.parent)
            lock = FileLock(path)
            while not _taken(lock):
                if busy:
                    raise InputError(busy)
                pause(0.2)
        except OSError as error:
            if error.errno in _NONE_HERE:
                yield
                return
            raise WriteError(path, error) from None
        undo.callback(lock.release)
        undo.callback(_unlink, path)  # while it is held: who waits for it looks whether it is still the same file
        yield


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):  # Windows keeps a file that is open
        path.unlink()


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
