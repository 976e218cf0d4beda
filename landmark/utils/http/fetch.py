"""One file over HTTP: resumed where it was cut, checked, and under its name only when whole and right."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import requests

from landmark.utils.errors import DownloadError, HaltError, free_bytes, is_full, readable
from landmark.utils.files import check_space
from landmark.utils.http.web import BusyError, Web
from landmark.utils.locks import alone, lock_of

CHUNK = 1 << 18  # bytes, at most, of one read
_log = logging.getLogger(__name__)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def fetch(
    url: str,
    path: str | Path,
    *,
    md5: str = "",
    sha256: str = "",
    receipt: str | Path | None = None,
    web: Web | None = None,
    advance: Callable[[int], object] = lambda count: None,
    advice: str = "run the same command again",
) -> Path:
    """Fetch a file, or go on with it: `path` holds either all of the right bytes or what it held before.

    The bytes gather in `path.part`; `path.part.json` remembers of which version they are, so two are never mixed. Of
    several processes one fetches and the others wait for it. A file already there is checked and not fetched again;
    one that fails the check is kept as `path.bad`.

    Args:
        url: https, or what the user chose.
        path: the file.
        md5: its MD5 sum, in hexadecimal.
        sha256: how its SHA-256 begins, in hexadecimal.
        receipt: where to note that the file was checked, bound to its size and time, to spare the next check.
        web: shared between files; one of its own when left out.
        advance: called with the number of bytes at hand, as they come; a negative count takes some back.
        advice: how to try again, for the message when a sum is wrong.

    Returns:
        `path`.

    Raises:
        DownloadError: the server lacks the file or sends another one.
        HaltError: no connection after several attempts, or no space; the part that is there stays.
    """
    path, receipt = Path(path), Path(receipt) if receipt else None
    with Web() if web is None else contextlib.nullcontext(web) as web:
        try:
            killed = lock_of(path).exists() or _memo_path(path).exists()
            if killed or not _is_right(web, url, path, md5, sha256, receipt):
                path.parent.mkdir(parents=True, exist_ok=True)
                with alone(lock_of(path), pause=web.wait):
                    if not _is_right(web, url, path, md5, sha256, receipt):
                        _Transfer(web, url, path, advance).run(md5, sha256, advice)
                        _sign(receipt, url, path, md5, sha256)
                        return path
                    for leftover in (part_path(path), _memo_path(path)):
                        leftover.unlink(missing_ok=True)
        except OSError as error:
            if not is_full(error):
                raise HaltError(f"{error.filename or path}: cannot be written ({error.strerror or error})") from None
            part, length = part_path(path), _read_json(_memo_path(path)).get("length") or 0
            need = length - part.stat().st_size if part.exists() else length
            free = readable(free_bytes(path.parent))
            lack = f"{path}: need {readable(need)}, have {free} free"
            raise HaltError(f"{lack}: make room; the same command goes on") from None
        advance(path.stat().st_size)
    return path


class _Transfer:
    """The way of one file from the server to its place."""

    def __init__(self, web: Web, url: str, path: Path, advance: Callable[[int], object]):
        self.web, self.url, self.path, self.advance = web, url, path, advance
        self.part, self.memo = part_path(path), _memo_path(path)
        self.resumed = False

    def run(self, md5: str, sha256: str, advice: str) -> None:
        try:
            wrong = self._gather(md5, sha256)
        finally:
            if self.part.exists() and not self.part.stat().st_size:
                self.part.unlink()
                self.memo.unlink(missing_ok=True)
        bad = self.path.with_name(self.path.name + ".bad")
        if wrong:
            self.advance(-self.part.stat().st_size)
            self.part.replace(bad)
            self.memo.unlink(missing_ok=True)
            raise DownloadError(f"{self.url}: {wrong}: kept as {bad}; to retry, {advice}")
        if self.path.is_file():
            self.path.replace(bad)
            _log.warning("%s: not the published file: kept as %s", self.path, bad.name)
        self.part.replace(self.path)
        self.memo.unlink(missing_ok=True)

    def _gather(self, md5: str, sha256: str) -> str:
        """Gather all bytes, and say what is wrong with them; empty when nothing is."""
        with self.part.open("ab") as file:
            self.advance(file.tell())
            if file.tell() and not self._may_go_on(bool(md5 or sha256)):
                self._empty(file)
            wrong = self._finish(file, md5, sha256)
            if wrong and self.resumed:  # the beginning may be to blame: a disk that lost power, two versions mixed
                self._empty(file)
                wrong = self._finish(file, md5, sha256)
        return wrong

    def _finish(self, file: BinaryIO, md5: str, sha256: str) -> str:
        self.web.retried(self.url, lambda: self._receive(file, bool(md5 or sha256)), reached=file.tell)
        file.flush()
        os.fsync(file.fileno())
        return _mismatch(self.part, md5, sha256)

    def _may_go_on(self, checked: bool) -> bool:
        """Check whether the bytes at hand are of a version that can be told from another one."""
        memo = _read_json(self.memo)
        return memo.get("url") == self.url and (checked or bool(memo.get("etag") or memo.get("modified")))

    def _receive(self, file: BinaryIO, checked: bool) -> None:
        """Ask once for what is missing and append it; nothing is appended that does not belong to what is there."""
        have, memo = file.tell(), _read_json(self.memo)
        length = memo.get("length")
        if have and have == length:
            self.resumed = True
            return
        etag = memo.get("etag") or ""
        version = memo.get("modified") if etag.startswith("W/") or not etag else etag  # a weak tag is no promise
        asked: dict[str, Any] = {"Range": f"bytes={have}-", "If-Range": version} if have else {}
        with self.web.answer(self.url, asked) as answer:
            if answer.status_code == 416:
                self._empty(file)
                raise BusyError("the server refuses to go on in the middle (416)")
            start, length = _extent(answer)
            note = {"url": self.url, "etag": answer.headers.get("ETag"),
                    "modified": answer.headers.get("Last-Modified"), "length": length}  # fmt: skip
            if start == 0:
                self._empty(file)
                self.resumed = False
                if length is None and not checked and answer.headers.get("Transfer-Encoding") != "chunked":
                    raise DownloadError(f"{self.url}: the server tells neither length nor sum: use another mirror")
                if length == 0:
                    raise DownloadError(f"{self.url}: the server sends an empty file")
                _write_json(self.memo, note)
            elif start != have or any(memo.get(key) and note[key] != memo[key] for key in note):
                self._empty(file)
                raise BusyError("the server goes on with another file or at another place")
            else:
                self.resumed = True
            check_space(self.path.parent, (length or 0) - file.tell(), kind=HaltError)
            for chunk in iter(lambda: answer.raw.read1(CHUNK) or b"", b""):  # a cut loses nothing that has come
                if not file.tell() and chunk.lstrip()[:1] == b"<":
                    text = chunk.split()[0][:9].decode("ascii", "replace")
                    raise DownloadError(f"{self.url}: the server sends a page that starts with `{text}`, not the file")
                file.write(chunk)
                self.advance(len(chunk))
                self.web.wait(0)
            file.flush()
        if length is not None and file.tell() != length:
            raise BusyError(f"{file.tell()} bytes came of {length}")

    def _empty(self, file: BinaryIO) -> None:
        self.advance(-file.tell())
        file.truncate(0)
        file.seek(0)


def part_path(path: Path) -> Path:
    """Name the file in which the bytes of an unfinished one gather."""
    return path.with_name(path.name + ".part")


def has_receipt(receipt: Path | None, url: str, path: Path, md5: str = "", sha256: str = "") -> bool:
    """Check whether a file was fetched from there, checked with these sums, and not touched since."""
    if receipt is None or not path.is_file():
        return False
    note, status = _read_json(receipt), path.stat()
    same = (note.get("url"), note.get("size"), note.get("time")) == (url, status.st_size, status.st_mtime_ns)
    return same and (not md5 or note.get("md5") == md5) and (not sha256 or note.get("sha256") == sha256)


def _sign(receipt: Path | None, url: str, path: Path, md5: str, sha256: str) -> None:
    if receipt is None:
        return
    status = path.stat()
    note = {"url": url, "size": status.st_size, "time": status.st_mtime_ns, "md5": md5, "sha256": sha256}
    with contextlib.suppress(OSError):  # without it the file is checked again next time
        _write_json(receipt, note)


def _is_right(web: Web, url: str, path: Path, md5: str, sha256: str, receipt: Path | None) -> bool:
    """Check whether the published file is there: by its receipt, its sum, or at least by length and form."""
    if not path.is_file():
        return False
    if has_receipt(receipt, url, path, md5, sha256):
        return True
    if md5 or sha256:
        right = not _mismatch(path, md5, sha256)
    else:
        right = path.stat().st_size == web.size(url) and _has_form(path)
    if right:
        _sign(receipt, url, path, md5, sha256)
    return right


def _mismatch(path: Path, md5: str, sha256: str) -> str:
    """Say which sum is wrong; empty when none is."""
    for name, expected in (("md5", md5), ("sha256", sha256)):
        if expected:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, name).hexdigest()
            if not digest.startswith(expected.lower()):
                return f"{name} {digest}, expected {expected}"
    return ""


def _has_form(path: Path) -> bool:
    """Check whether a file of the right length can be whole: no web page, a ZIP with its table, no empty blocks.

    Other programs reserve the whole length before they fetch, and leave zeros where they were stopped.
    """
    if path.suffix == ".zip":
        return zipfile.is_zipfile(path)  # looks for the table at its end alone
    with path.open("rb") as file:
        start = file.read(512).lstrip()
        file.seek(-min(512, path.stat().st_size), os.SEEK_END)
        return not start.startswith(b"<") and (path.suffix == ".tar" or bool(file.read().strip(b"\0")))


def _extent(answer: requests.Response) -> tuple[int, int | None]:
    """Read where the body begins in the file (-1: nobody knows) and how long the file is."""
    if answer.status_code == 206:
        match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        return (int(match[1]), None if match[3] == "*" else int(match[3])) if match else (-1, None)
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _memo_path(path: Path) -> Path:
    return path.with_name(path.name + ".part.json")


def _read_json(path: Path) -> dict:
    """Read a small JSON file of ours; empty when it is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_json(path: Path, content: dict) -> None:
    """Write a small JSON file, not atomically: a torn one reads as empty, which costs a check or a fresh start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
