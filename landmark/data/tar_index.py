"""Where the images of a TAR lie: read from its headers once, then stored beside the data."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from landmark.data.csv.strict import ID, ID_LETTERS
from landmark.utils.errors import ArchiveError
from landmark.utils.files import CacheFile, compression, stamp

MEMBER = re.compile(rf"([{ID_LETTERS}])/([{ID_LETTERS}])/([{ID_LETTERS}])/(?=\1\2\3)({ID})\.jpg")  # a/b/c/<id>.jpg
_VERSION = 2  # of the stored index
_ID_BYTES = np.array([byte == 0 or re.match(f"[{ID_LETTERS}]", chr(byte)) is not None for byte in range(256)])
_END_MARK = 2 * tarfile.BLOCKSIZE
LONG_END = tarfile.RECORDSIZE + _END_MARK  # bytes of zeros; fewer end a TAR as most writers pad it


class _Damage(Exception):
    """Headers that end, or make no sense, after a byte of a TAR."""

    def __init__(self, reason: str, after: int):
        super().__init__(reason)
        self.after = after


class TarIndex(NamedTuple):
    """What is known of one TAR."""

    ids: np.ndarray  # (N,) bytes, in order
    offsets: np.ndarray  # (N,) int64
    sizes: np.ndarray  # (N,) int64
    skipped: Counter  # other members by reason
    stamp: tuple[int, int, int]
    zeros: int = 0  # bytes of them behind the last member
    fault: str = ""  # why it cannot be trusted, of one that is salvaged


def tar_index(tar: Path, cache: CacheFile | None = None, salvage: bool = False) -> TarIndex:
    """Load the index of one TAR where it is stored and fits, else make it from the headers and store it.

    Args:
        tar: a plain TAR with members a/b/c/<id>.jpg.
        cache: where the index is stored; nowhere when left out.
        salvage: of a TAR that is cut or damaged give what can be read, with its `fault`. Such an index is not stored.

    Raises:
        ArchiveError: not a plain TAR, or one that is cut or damaged.
    """
    try:
        index = cache.load(lambda path: _load(path, stamp(tar.stat()))) if cache else None
        if index is not None:
            return index
        index = _walk(tar, salvage)
    except (ArchiveError, OSError) as error:
        fault = error if isinstance(error, ArchiveError) else _unreadable(tar, error)
        if not salvage:
            raise fault from None
        return _table([], Counter(), (0, 0, 0))._replace(fault=str(fault))
    if cache and not index.fault:
        cache.save(lambda part: _store(part, index))
    return index


def _unreadable(tar: Path, error: OSError) -> ArchiveError:
    return ArchiveError(f"{tar}: cannot be read ({error.strerror}): make it readable, or fetch it again")


def _store(path: Path, index: TarIndex) -> None:
    bound, skipped = np.array([_VERSION, *index.stamp]), np.array(json.dumps(index.skipped))
    with path.open("wb") as file:
        np.savez(file, bound=bound, ids=index.ids, offsets=index.offsets, sizes=index.sizes, skipped=skipped,
                 zeros=np.array(index.zeros))  # fmt: skip


def _load(cache: Path, expected: tuple[int, int, int]) -> TarIndex | None:
    """Load a stored index, or None when it is another TAR's, damaged or planted: it must not lead outside its TAR."""
    try:
        with np.load(cache, allow_pickle=False) as stored:
            if stored["bound"].tolist() != [_VERSION, *expected]:
                return None
            ids, offsets, sizes, zeros = stored["ids"], stored["offsets"], stored["sizes"], int(stored["zeros"])
            skipped = Counter({str(key): int(value) for key, value in json.loads(str(stored["skipped"])).items()})
    except Exception:  # zip, NumPy and JSON each have their own errors for bytes that make no sense
        return None
    size = expected[0]
    sound = (
        ids.dtype.kind == "S"
        and offsets.dtype == sizes.dtype == np.int64
        and ids.ndim == 1
        and ids.shape == offsets.shape == sizes.shape
        and _ID_BYTES[np.ascontiguousarray(ids).view(np.uint8)].all()
        and ((sizes >= 0) & (sizes <= size) & (offsets >= 0) & (offsets <= size - sizes)).all()
    )
    return TarIndex(ids, offsets, sizes, skipped, expected, zeros) if sound else None


def _walk(tar: Path, salvage: bool) -> TarIndex:
    """Read every header; nothing else of the TAR is read, and nothing is unpacked."""
    members: list[tuple[bytes, int, int]] = []
    skipped: Counter = Counter()
    fault, zeros = "", 0
    place: int | None = 0

    def take(member: tarfile.TarInfo) -> None:
        image_id, reason = _judge(member)
        if image_id:
            members.append((image_id.encode(), member.offset_data, member.size))
        elif reason:
            skipped[reason] += 1

    with tar.open("rb") as file:
        read = stamp(os.fstat(file.fileno()))
        while place is not None:
            try:
                zeros, place = _read_headers(file, place, read[0], take), None
            except _Damage as damage:
                fault = fault or f"{tar}: {damage}"
                if not salvage:
                    raise ArchiveError(fault) from None
                place = _next_header(file, damage.after)
        if stamp(tar.stat()) != read:
            raise ArchiveError(f"{tar}: it changes while it is read: wait until it is complete")
    return _table(members, skipped, read)._replace(zeros=zeros, fault=fault)


def _table(members: list[tuple[bytes, int, int]], skipped: Counter, read: tuple[int, int, int]) -> TarIndex:
    members.sort()
    ids = np.array([image_id for image_id, _, _ in members]) if members else np.empty(0, "S1")
    places = np.array([place[1:] for place in members], np.int64).reshape(-1, 2).T
    offsets, sizes = np.ascontiguousarray(places)
    return TarIndex(ids, offsets, sizes, skipped, read)


def _read_headers(file: BinaryIO, start: int, size: int, take: Callable[[tarfile.TarInfo], None]) -> int:
    """Hand over the members from byte `start` on; returns how many zeros lie behind the last one.

    Of a member that the end of the TAR cuts what is there is handed over before `_Damage` is raised.
    """
    archive, end = _open(file, start), start
    try:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # undeclared: it would keep every header
            if archive.offset <= member.offset:
                raise tarfile.ReadError("negative size")
            claimed, there = member.size, max(0, size - member.offset_data)
            cut = member.isreg() and claimed > there
            member.size = there if cut else claimed
            take(member)
            if cut:
                raise tarfile.ReadError(f"{member.name!r} claims {claimed} bytes, more than the TAR has")
            end = archive.offset
    except Exception as error:  # a header of random bytes raises ValueError, OSError, RecursionError, MemoryError…
        raise _Damage(f"truncated or damaged after byte {end} ({error}): fetch it again", end) from None
    return _zeros(file, end)


def _open(file: BinaryIO, place: int) -> tarfile.TarFile:
    file.seek(place)
    start = file.read(9)
    file.seek(place)
    kind = "" if place else compression(start)
    if kind:
        raise _Damage(f"compressed ({kind}): unpack it to a plain TAR, whose members can be read by offset", place)
    try:
        return tarfile.open(fileobj=file, mode="r:")
    except Exception:  # as above: any error that random bytes may raise
        reason = f"not a TAR (starts with `{repr(start)[2:-1]}`)" if start else "empty file"
        raise _Damage(f"{reason}: fetch it again", place) from None


def _zeros(file: BinaryIO, end: int) -> int:
    """Count the zeros that mark a TAR's end; other bytes there, or too few, mean that members would be lost unseen.

    Behind two blocks of zeros a writer pads to whole records, of 10,240 bytes as a rule, and some add one more. Other
    records are powers of two, which then divide the size. More zeros are what a download that stopped has left.
    """
    file.seek(end)
    count = 0
    while block := file.read(1 << 20):
        if block.strip(b"\0"):
            raise _Damage(f"truncated or damaged after byte {end}: fetch it again", end)
        count += len(block)
    if count < tarfile.BLOCKSIZE:
        raise _Damage(f"truncated after byte {end} (no end mark): fetch it again", end)
    records = [tarfile.BLOCKSIZE << n for n in range(12)]  # up to 1 MiB
    padded = any((end + count) % record == 0 and count < record + _END_MARK for record in records)
    if count > 2 * tarfile.RECORDSIZE + _END_MARK and not padded:
        raise _Damage(f"incomplete: nothing but {count} zeros after byte {end}: fetch it again", end)
    return count


def _next_header(file: BinaryIO, place: int) -> int | None:
    """Find the next header that makes sense, after the one at `place` that does not."""
    while True:
        place += tarfile.BLOCKSIZE
        file.seek(place)
        block = file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            return None
        if block[257:262] == b"ustar":
            with contextlib.suppress(tarfile.HeaderError, ValueError):
                tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
                return place


def _judge(member: tarfile.TarInfo) -> tuple[str | None, str | None]:
    """Give the id of an image, or the reason to pass over a member; a folder has neither."""
    if member.isdir():
        return None, None
    if member.issym() or member.islnk():
        return None, "link"
    if member.issparse():
        return None, "sparse file"
    if not member.isreg():
        return None, "device"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return None, "unsafe path"
    match = MEMBER.fullmatch(member.name.removeprefix("./"))
    if match:
        return match[4], None
    return None, "misplaced image" if re.fullmatch(r"(.*/)?[^./][^/]*\.jpg", member.name) else "not an image"
