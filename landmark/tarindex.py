"""Where the images of a TAR lie: read from its headers once, then kept beside the data."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from landmark.runtime import InputError, atomic_path, compression, stamp

MEMBER = re.compile(r"([\w-])/([\w-])/([\w-])/(\1\2\3[\w-]{0,61})\.jpg", re.ASCII)  # a/b/c/<id>.jpg
_VERSION = 1  # of the stored index
_ID_BYTES = np.array([byte == 0 or re.match(r"[\w-]", chr(byte), re.ASCII) is not None for byte in range(256)])


class ArchiveError(InputError):
    """A TAR that cannot be trusted: one line that names it and says what to do."""


class TarIndex(NamedTuple):
    """Images of one TAR: ids (N,) bytes in order, offsets and sizes (N,) int64; other members by reason; its stamp."""

    ids: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    skipped: Counter
    stamp: tuple[int, int, int]


def tar_index(tar: Path, cache: Path) -> TarIndex:
    """The index of one TAR: the stored one when it fits, else made from the headers and stored.

    Args:
        tar: a plain TAR with members a/b/c/<id>.jpg.
        cache: where the index is kept.

    Raises:
        ArchiveError: not a plain TAR, or one that is cut or damaged.
        InputError: the index cannot be stored.
    """
    index = _load(cache, stamp(tar.stat()))
    if index is not None:
        return index
    index = _walk(tar)
    try:
        with atomic_path(cache) as part, part.open("wb") as file:
            bound = np.array([_VERSION, *index.stamp])
            skipped = np.array(json.dumps(index.skipped))
            np.savez(file, bound=bound, ids=index.ids, offsets=index.offsets, sizes=index.sizes, skipped=skipped)
    except OSError as error:
        told = f"{cache}: the index of {tar.name} cannot be written ({error.strerror})"
        raise InputError(f"{told}: free some space there or make the folder writable") from None
    return index


def _load(cache: Path, expected: tuple[int, int, int]) -> TarIndex | None:
    """A stored index, or None when it is another TAR's, damaged or planted: it must not lead outside its TAR."""
    if not cache.is_file():
        return None
    try:
        with np.load(cache, allow_pickle=False) as stored:
            if stored["bound"].tolist() != [_VERSION, *expected]:
                return None
            ids, offsets, sizes = stored["ids"], stored["offsets"], stored["sizes"]
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
    return TarIndex(ids, offsets, sizes, skipped, expected) if sound else None


def _walk(tar: Path) -> TarIndex:
    """Read every header; nothing else of the TAR is read, and nothing is unpacked."""
    found: list[tuple[bytes, int, int]] = []
    skipped: Counter = Counter()
    with tar.open("rb") as file:
        read = stamp(os.fstat(file.fileno()))
        archive, end = _open(tar, file), 0
        try:
            while (member := archive.next()) is not None:
                archive.members.clear()  # it would keep every header
                if archive.offset <= member.offset:
                    raise tarfile.ReadError("negative size")
                if member.isreg() and member.offset_data + member.size > read[0]:
                    raise tarfile.ReadError(f"{member.name!r} claims {member.size} bytes, more than the TAR has")
                end = archive.offset
                image_id, reason = _judge(member)
                if image_id:
                    found.append((image_id.encode(), member.offset_data, member.size))
                elif reason:
                    skipped[reason] += 1
        except Exception as error:  # a header of random bytes raises ValueError, OSError, RecursionError, MemoryError…
            raise ArchiveError(f"{tar}: truncated or damaged after byte {end} ({error}): fetch it again") from None
        _check_end(tar, file, end)
        if stamp(tar.stat()) != read:
            raise ArchiveError(f"{tar}: it changes while it is read: wait until it is complete")
    found.sort()
    ids = np.array([image_id for image_id, _, _ in found]) if found else np.empty(0, "S1")
    places = np.array([place[1:] for place in found], np.int64).reshape(-1, 2).T
    return TarIndex(ids, *np.ascontiguousarray(places), skipped, read)


def _open(tar: Path, file: BinaryIO) -> tarfile.TarFile:
    start = file.read(9)
    file.seek(0)
    if kind := compression(start):
        raise ArchiveError(f"{tar}: compressed ({kind}): unpack it to a plain TAR, whose members can be read by offset")
    try:
        return tarfile.open(fileobj=file, mode="r:")
    except Exception:  # as above: any error that random bytes may raise
        told = f"not a TAR (starts with `{repr(start)[2:-1]}`)" if start else "empty file"
        raise ArchiveError(f"{tar}: {told}: fetch it again") from None


def _check_end(tar: Path, file: BinaryIO, end: int) -> None:
    """Zeros mark a TAR's end: without them members may be missing, and what follows them would be lost in silence."""
    file.seek(end)
    seen = 0
    while block := file.read(1 << 20):
        if block.strip(b"\0"):
            raise ArchiveError(f"{tar}: truncated or damaged after byte {end}: fetch it again")
        seen += len(block)
    if seen < tarfile.BLOCKSIZE:
        raise ArchiveError(f"{tar}: truncated after byte {end} (no end mark): fetch it again")


def _judge(member: tarfile.TarInfo) -> tuple[str | None, str | None]:
    """The id of an image, or why a member is passed over; a folder is neither."""
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
