"""Look at every image file of a split once: a small record of each, no pixels."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from landmark.data.archives import ImageStore
from landmark.data.images import read_with_header
from landmark.prepare.duplicates import perceptual_hash
from landmark.utils.errors import ImageError
from landmark.utils.files import CacheFile
from landmark.utils.process import usable_cpus

SEGMENT = 16_384  # images after which what is known is saved
STORED = 500  # images that take longer to look at than to be remembered: each run of a course divides the same ones
CHUNK = 32  # images a thread takes at a time
RULES = 2  # raise it when `read_image` or `inspect_image` judges the same file in another way
RECORD = np.dtype(
    [("readable", "?"), ("format", "S5"), ("mode", "S8"), ("width", "u4"), ("height", "u4"), ("orientation", "u1"),
     ("grey", "?"), ("constant", "?"), ("hash", "u8"), ("tiles", "u1", 16), ("size", "u4"), ("digest", "u8")]
)  # fmt: skip


class ImageRecord(NamedTuple):
    """Header of one image file (`images.Header`) and a summary of its pixels."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    grey: bool  # every pixel, whatever the mode
    constant: bool  # one colour and nothing else
    hash: int  # duplicates.perceptual_hash
    tiles: bytes  # 16 mean grey levels of a 4×4 grid


def inspect_image(data: bytes) -> ImageRecord:
    """Read a file as `read_image` does, at reduced scale where the format allows it, and describe it.

    Args:
        data: the file's bytes.

    Raises:
        ImageError: as `read_image`.

    >>> import io
    >>> out = io.BytesIO()
    >>> Image.new("RGB", (40, 30), "red").save(out, "PNG")
    >>> inspect_image(out.getvalue())[:8]
    ('PNG', 'RGB', 40, 30, 1, False, True, 0)
    """
    picture, header = read_with_header(data, at_least=64)
    tiles = picture.convert("L").resize((4, 4), Image.Resampling.HAMMING)
    pixels = np.asarray(picture)  # (H, W, 3)
    red, green, blue = np.moveaxis(pixels, 2, 0)  # a reduction over three numbers takes NumPy ten times as long
    apart = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    grey = header.mode != "CMYK" and int(apart.max()) <= 3  # lossy formats leave a trace of colour
    constant = bool((pixels == pixels[0, 0]).all())
    return ImageRecord(*header, grey, constant, perceptual_hash(picture), tiles.tobytes())


@dataclass(frozen=True)
class Inspection:
    """Records of the images of a split, in reading order."""

    ids: np.ndarray  # (N,) bytes
    records: np.ndarray  # (N,) RECORD; zeros where a file cannot be read
    reasons: dict[int, str]  # position → why a file cannot be read


def inspect_split(store: ImageStore, progress: bool = True, ids: np.ndarray | None = None) -> Inspection:
    """Decode the images of a split once, in the order that reads the disk from front to back.

    Threads suffice, as decoders let go of the interpreter. A long inspection saves its records as it goes, so that
    after an interruption the next call goes on; `forget` deletes them when all is done.

    Args:
        store: where the images lie.
        progress: show a bar.
        ids: (N,) bytes, which of those that are there; all when left out.
    """
    order = store.reading_order()
    ids = order if ids is None else order[np.isin(order, ids)]
    records, reasons = np.zeros(len(ids), RECORD), {}
    pool = ThreadPoolExecutor(min(32, usable_cpus() + 4))  # some wait for the disk
    bar = tqdm(total=len(ids), desc=f"check {store.split}", unit="img", disable=not progress)
    try:
        for start in range(0, len(ids), SEGMENT):
            part = ids[start : start + SEGMENT]
            saved = _saved(store, part) if len(ids) > min(STORED, SEGMENT) else None
            known = saved.load(functools.partial(_load, len(part))) if saved else None
            if known:
                bar.total -= len(part)  # the rate and the end in sight are of what is left to do
                bar.refresh()
            else:
                known = _inspect(store, part, pool, bar)
                if saved:
                    _save(saved, *known)
            records[start : start + len(part)] = known[0]
            reasons.update({start + place: reason for place, reason in known[1].items()})
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    return Inspection(ids, records, reasons)


def _inspect(store: ImageStore, ids: np.ndarray, pool: ThreadPoolExecutor, bar: tqdm) -> tuple[np.ndarray, dict]:
    records, reasons = np.zeros(len(ids), RECORD), {}

    def look(start: int) -> int:
        stop = min(start + CHUNK, len(ids))
        for place in range(start, stop):
            try:
                data = store.read(ids[place].decode())
                digest = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
                *values, tiles = inspect_image(data)
                records[place] = (True, *values, np.frombuffer(tiles, np.uint8), len(data), digest)
            except ImageError as error:
                reasons[place] = error.reason
        return stop - start

    for count in pool.map(look, range(0, len(ids), CHUNK)):
        bar.update(count)
    return records, reasons


def _saved(store: ImageStore, ids: np.ndarray) -> CacheFile:
    """Name the file of a segment's records after what they depend on: other image files have another one."""
    key = hashlib.sha256(f"{RULES} {RECORD.descr} {store.fingerprint(ids.astype(str).tolist())}".encode())
    return CacheFile(store.root, f"check/{store.split}-{key.hexdigest()[:32]}.npz")


def _save(saved: CacheFile, records: np.ndarray, reasons: dict[int, str]) -> None:
    places, texts = np.array(list(reasons), np.int64), np.array(list(reasons.values()), "U")

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, facts=records, places=places, reasons=texts)

    saved.save(write)


def _load(count: int, path: Path) -> tuple[np.ndarray, dict[int, str]] | None:
    """Read what `_save` wrote; None when the file is damaged or something else."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            records, places, texts = saved["facts"], saved["places"], saved["reasons"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if records.dtype != RECORD or records.shape != (count,) or places.shape != texts.shape:
        return None
    return records, dict(zip(places.tolist(), texts.tolist(), strict=True))


def forget(root: str | Path) -> None:
    """Delete the records that interrupted inspections of a data folder have saved, except those of other users."""
    saved = CacheFile(root, "check/*.npz")
    for pattern in (saved.path, saved.own):
        with contextlib.suppress(OSError):  # not there, another user's, or not empty
            for path in pattern.parent.glob(pattern.name):
                path.unlink()
            pattern.parent.rmdir()
            pattern.parent.parent.rmdir()
