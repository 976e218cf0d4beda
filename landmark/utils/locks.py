"""Locks that keep processes out of each other's way; the system frees them however their holder ends."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from landmark.utils.errors import InputError, WriteError

# What systems without locks answer: some mounted drives, Python without fcntl. Work goes on unguarded there
_NONE_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_log = logging.getLogger(__name__)
_ATTEMPTS = 100  # to make a file in a folder that may come and go
LOCK = ".lock"  # of a folder


def lock_of(path: Path) -> Path:
    """Lock file of a file or folder that another process may make as well: hidden, beside it."""
    return path.with_name(f".{path.name}{LOCK}")


@contextlib.contextmanager
def alone(
    path: str | Path, busy: str = "", pause: Callable[[float], object] = time.sleep, waiting: str = ""
) -> Iterator[None]:
    """Hold a lock file: no other process or thread that asks for it comes in meanwhile.

    Processes that are forked inside do not hold it. Folders that are made for it go with it, if nothing else came to
    lie there.

    Args:
        path: of the lock file.
        busy: what is said when another one holds it; left out, it is waited for.
        pause: waits so many seconds, and may raise to give up.
        waiting: what is logged before it is waited for.

    Raises:
        InputError: another one holds it and `busy` is given.
        WriteError: the folder cannot be written to.
    """
    path = Path(path)
    lock = FileLock(path, fallback_to_soft=False)  # a soft one would outlive a killed process
    for attempt in itertools.count():
        made = [folder for folder in path.parents if not folder.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            if busy:
                raise InputError(busy) from None
            if waiting:
                _log.warning(waiting)
            waiting = ""
            pause(0.2)
            continue
        except OSError as error:
            if error.errno == errno.ENOENT and attempt < _ATTEMPTS:
                continue  # whoever held it has just taken the folder away
            if error.errno not in _NONE_HERE:
                raise WriteError(path.parent, error) from None
        break
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps a file that is open
            path.unlink()  # while it is held: who waits for it looks whether it is still the same file
            for folder in made:
                folder.rmdir()
        lock.release()


def held(path: str | Path) -> bool:
    """Tell whether another process or thread holds a lock file just now.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, alone(f"{folder}/x.lock"):
    ...     held(f"{folder}/x.lock"), held(f"{folder}/y.lock")
    (True, False)
    """
    try:
        with alone(path, busy="held"):
            return False
    except InputError:
        return True
