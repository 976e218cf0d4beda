"""Folders of data, runs and figures, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from landmark.utils.errors import WriteError, is_full

if TYPE_CHECKING:
    from typing import TypeVar


if TYPE_CHECKING:
    T = TypeVar("T")


def quick() -> bool:
    """True when `LANDMARK_QUICK` asks for the smallest world and the fewest steps that still run every cell."""
    return os.environ.get("LANDMARK_QUICK", "").lower() in {"1", "true", "yes"}


def _folder(variable: str, default: str) -> Path:
    """The folder named by an environment variable, else `default` below the checkout (or the current folder)."""
    checkout = Path(__file__).resolve().parents[2]
    base = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
    return Path(os.environ.get(variable) or base / default)


def data_root() -> Path:
    """Folder of data sets and cached weights: `LANDMARK_DATA`, else `data/`."""
    return _folder("LANDMARK_DATA", "data")


def runs_root() -> Path:
    """Folder of training runs: `LANDMARK_RUNS`, else `runs/`."""
    return _folder("LANDMARK_RUNS", "runs")


def figures_root() -> Path:
    """Folder the notebooks draw into: `LANDMARK_FIGURES`, else `runs/report/figures/`."""
    return _folder("LANDMARK_FIGURES", "runs/report/figures")


class CacheFile:
    """A file of what was worked out about a data folder: beside the data, else in the caller's own cache, else nowhere.

    Data may be shared, read-only or on a full disk, and what others have left there belongs to them: none of it is an
    error, for all of it can be worked out again. A folder whose mode bits say read-only stays as it is even for an
    administrator.

    Args:
        root: the data folder.
        name: of the file, with the folders that it lies in.
    """

    def __init__(self, root: str | Path, name: str):
        root = Path(root).resolve()
        self.beside = root / ".landmark" / name
        self.own = data_root() / "cache" / hashlib.sha256(os.fsencode(root)).hexdigest()[:16] / name

    @property
    def path(self) -> Path:
        """Where it is written, by the rights of the folder that it comes to lie in."""
        folder = self.beside.parent
        while not os.path.lexists(folder):  # unlike Path.exists no error where one may not look
            folder = folder.parent
        free = os.path.isdir(folder) and os.stat(folder).st_mode & 0o222 and os.access(folder, os.W_OK | os.X_OK)
        return self.beside if free else self.own

    def load(self, read: Callable[[Path], T | None]) -> T | None:
        """What `read` makes of the file; of the first one that is not None, where there are two."""
        for path in (self.own, self.beside):  # one's own exists only where the other one was of no use
            if os.path.isfile(path) and (found := read(path)) is not None:
                return found
        return None

    def save(self, write: Callable[[Path], object]) -> Path | None:
        """Let `write` fill the file, whole or not at all; returns where it is, None when there is no place for it."""
        for path in dict.fromkeys((self.path, self.own)):
            with contextlib.suppress(OSError), atomic_path(path) as part:
                write(part)
                return path
        return None


def cache_path(root: str | Path, name: str) -> Path:
    """Where a `CacheFile` is written."""
    return CacheFile(root, name).path


_PACKED = {
    b"PK\x03\x04": "ZIP", b"PK\x05\x06": "ZIP", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z",
}  # fmt: skip


def compression(start: bytes) -> str:
    """Name of the compression that the first bytes of a file tell of, "" for none.

    >>> compression(b"PK\\x03\\x04"), compression(b"id,url")
    ('ZIP', '')
    """
    return next((name for magic, name in _PACKED.items() if start.startswith(magic)), "")


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """What tells a file from what it was: its size, the time of its content and that of any change to it (ns).

    The last tells of other content of the same size under the same time, as `cp -p` and `tar -x` leave it. A change
    of rights moves it as well: then work is done again that need not be, and no answer is wrong.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written_file(path: str | Path) -> Path:
    """The file that is written under a name: of a link the one that it leads to.

    Raises:
        WriteError: it is a folder, or a device or pipe, which a file would replace.
    """
    real = Path(os.path.realpath(path))
    if os.path.isdir(real):
        raise WriteError(path, IsADirectoryError(errno.EISDIR, "it is a folder"))
    if os.path.exists(real) and not os.path.isfile(real):
        raise WriteError(path, OSError(errno.EINVAL, "it is a device or a pipe"))
    return real


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces it on success and disappears on failure.

    Beside, because a rename is atomic only within one file system. An interrupted write leaves the old file whole; a
    link stays one, and what it leads to is replaced.

    Raises:
        WriteError: the folder cannot be written to, the disk is full, or it is no place for a file.
    """
    target = written_file(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise WriteError(target, error) from None
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp made it private; a shared run folder must stay readable
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise WriteError(target, error) from None
    except Exception as error:  # torch and safetensors make errors of their own of a full disk
        if is_full(error) and not isinstance(error, WriteError):
            raise WriteError(target, error) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)
