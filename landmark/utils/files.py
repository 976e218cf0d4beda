"""Folders of data, runs and figures, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from landmark.utils.errors import InputError, WriteError, free_bytes, is_full, readable

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


def quick() -> bool:
    """Check whether `LANDMARK_QUICK` asks for the smallest world and the fewest steps that still run every cell."""
    return os.environ.get("LANDMARK_QUICK", "").lower() in {"1", "true", "yes"}


def _folder(variable: str, default: str) -> Path:
    """Find the folder named by an environment variable, else `default` below the checkout (or the current folder)."""
    checkout = Path(__file__).resolve().parents[2]
    base = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
    return Path(os.environ.get(variable) or base / default)


def data_root() -> Path:
    """Find the folder of data sets and cached weights: `LANDMARK_DATA`, else `data/`."""
    return _folder("LANDMARK_DATA", "data")


def runs_root() -> Path:
    """Find the folder of training runs: `LANDMARK_RUNS`, else `runs/`."""
    return _folder("LANDMARK_RUNS", "runs")


def figures_root() -> Path:
    """Find the folder that the notebooks draw into: `LANDMARK_FIGURES`, else `runs/report/figures/`."""
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
        """Load what `read` makes of the file; where there are two, of the first one of which it is not None."""
        for path in (self.own, self.beside):  # one's own exists only where the other one was of no use
            if os.path.isfile(path) and (content := read(path)) is not None:
                return content
        return None

    def save(self, write: Callable[[Path], object]) -> Path | None:
        """Let `write` fill the file, whole or not at all; returns where it is, None when there is no place for it."""
        for path in dict.fromkeys((self.path, self.own)):
            with contextlib.suppress(OSError), atomic_path(path) as part:
                write(part)
                return path
        return None


def cache_path(root: str | Path, name: str) -> Path:
    """Find where a `CacheFile` is written."""
    return CacheFile(root, name).path


_PACKED = {
    b"PK\x03\x04": "ZIP", b"PK\x05\x06": "ZIP", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z",
}  # fmt: skip


def compression(start: bytes) -> str:
    """Name the compression that the first bytes of a file show, "" for none.

    >>> compression(b"PK\\x03\\x04"), compression(b"id,url")
    ('ZIP', '')
    """
    return next((name for magic, name in _PACKED.items() if start.startswith(magic)), "")


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """Stamp a file, to tell it from what it was: its size, the time of its content and of any change to it (ns).

    The last shows other content of the same size under the same time, as `cp -p` and `tar -x` leave it. A change
    of rights moves it as well: then work is done again that need not be, and no answer is wrong.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sha256(path: str | Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve_file(path: str | Path) -> Path:
    """Find the file that is written under a name: of a link the one that it leads to.

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
    target = resolve_file(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, mode = _new_file(target)
    except OSError as error:
        raise WriteError(target, error) from None
    try:
        yield temporary
        temporary.chmod(mode)  # what put a file of its own there may have made it private
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


def check_target(target: str | Path) -> None:
    """Refuse a file that cannot be written, before the work for it begins; nothing is made yet.

    Raises:
        WriteError: as of `atomic_path`.
    """
    folder = resolve_file(target).parent
    while not os.path.lexists(folder):
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WriteError(target, error) from None


def _new_file(target: Path) -> tuple[Path, int]:
    """Make an empty hidden file beside `target`, with the rights that the system gives a new one: its path and mode."""
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        try:
            return path, os.fstat(handle).st_mode & 0o777
        finally:
            os.close(handle)


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def check_same(folder: str | Path, before: Mapping, wanted: Mapping, what: str) -> None:
    """Refuse a folder whose content was made with other settings; each that differs is named.

    Args:
        folder: for the message.
        before: settings that the folder was made with.
        wanted: settings by name.
        what: the folder holds, "world", say.

    Raises:
        InputError: they differ.

    >>> check_same("w", {"size": 32, "seed": 0}, {"size": 64, "seed": 0}, "world")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    landmark.utils.errors.InputError: w: holds a world of other settings (size: 32 → 64): choose...
    """
    names = [name for name in {**wanted, **before} if before.get(name) != wanted.get(name)]
    changed = [f"{name}: {before.get(name)} → {wanted.get(name)}" for name in names]
    if changed:
        reason = f"{folder}: holds a {what} of other settings ({'; '.join(changed)})"
        raise InputError(f"{reason}: choose another folder or delete it")


def claimed(note: str | Path, wanted: Mapping, what: str = "") -> bool:
    """Check whether a folder belongs to these settings already, as a JSON file in it says.

    Args:
        note: the file.
        wanted: settings by name, as JSON gives them back.
        what: the folder holds, "world", say: then other settings are refused. Left out, they are no error: whoever
            asks will make the folder anew.

    Raises:
        InputError: other settings, or a damaged note, and `what` is given.
    """
    note = Path(note)
    try:
        before = dict(json.loads(note.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError) as error:
        if what:
            raise InputError(f"{note}: damaged ({error}): delete {note.parent} and start again") from None
        return False
    if what:
        check_same(note.parent, before, wanted, what)
    return before == wanted


def check_space(
    folder: str | Path, need: int, advice: str = "make room; the same command goes on",
    kind: type[InputError] = InputError,
) -> None:  # fmt: skip
    """Refuse work for which the disk has no room.

    Args:
        folder: where it will write; need not be there yet.
        need: bytes.
        advice: what to do about it.
        kind: of error.

    Raises:
        InputError: says how much is needed and how much is free.
    """
    free = free_bytes(folder)
    if need > free:
        raise kind(f"{folder}: need {readable(need)}, have {readable(free)} free: {advice}")
