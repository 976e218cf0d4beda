"""A large train.csv: checked and parsed in blocks, and kept as Parquet for the next time.

A table of 4.1 million rows takes Python's csv module many times longer than Arrow, but Arrow forgives what should be
refused. So every block is first shown to be plain: whole records, whose quotes mean the same to every reader. What is
not plain is not judged here.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from tqdm import tqdm

from landmark.data.csv.strict import ID_LENGTHS, ID_LETTERS
from landmark.utils.files import CacheFile, stamp

SCHEMA = pa.schema([("id", pa.string()), ("url", pa.string()), ("landmark_id", pa.int64())])
_ID_BYTES = bytes(code for code in range(128) if re.match(f"[{ID_LETTERS}]", chr(code)))
_OPTIONS = {
    "parse_options": pa.csv.ParseOptions(newlines_in_values=True),
    "convert_options": pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in SCHEMA.names}, check_utf8=False, null_values=[]
    ),
}
_BLOCK = 1 << 22  # bytes parsed at a time
_FORMAT = 1  # of the cache; a change makes old ones void


class UnsureError(Exception):
    """Something that only the strict reader can judge: a fault, or a rare but sound form."""


class StaleError(Exception):
    """The cache is absent, of another table, or damaged."""


def _check_block(block: bytes) -> None:
    """Let a block of whole lines pass in which quotes mean the same to every reader, and no record is cut."""
    if b"\0" in block or block.startswith(b"\xef\xbb\xbf"):
        raise UnsureError
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        raise UnsureError
    if not block.isascii():
        block.decode()
    if b'"' not in block:
        return
    codes = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(codes == ord('"'))
    if len(quotes) % 2:  # a quoted line end at the end of the block, or a stray quote
        raise UnsureError
    opening, closing = quotes[::2], quotes[1::2]
    doubled = opening[1:] == closing[:-1] + 1  # "" inside quotes is a quote
    before, after = codes[opening - 1], codes[np.minimum(closing + 1, len(codes) - 1)]
    starts = np.isin(before, list(b",\n")) | np.append(opening[0] == 0, doubled)
    stops = np.isin(after, list(b",\r\n")) | np.append(doubled, closing[-1] == len(codes) - 1)
    if not (starts & stops).all():
        raise UnsureError


def _text(chunk: pa.Array) -> tuple[bytes, np.ndarray]:
    """The strings of an array end to end, and the length of each."""
    offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    return chunk.buffers()[2][offsets[0] : offsets[-1]].to_pybytes(), np.diff(offsets)


def _made_of(column: pa.ChunkedArray, letters: bytes, shortest: int, longest: int) -> bool:
    """Whether every string has only these letters and a length within the limits."""
    texts = [_text(chunk) for chunk in column.chunks if len(chunk)]
    return all(
        lengths.min() >= shortest and lengths.max() <= longest and not text.translate(None, letters)
        for text, lengths in texts
    )


def _distinct(ids: pa.ChunkedArray) -> bool:
    """Whether no id comes twice: by sorted 64-bit keys where every id has 16 characters, as published, else by hash."""
    keys = []
    for chunk in ids.chunks:
        text, lengths = _text(chunk)
        if (lengths != 16).any():
            return pc.count_distinct(ids).as_py() == len(ids)
        halves = np.frombuffer(text, np.uint64).reshape(-1, 2)
        keys.append(halves @ np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64))
    ordered = np.concatenate(keys)
    ordered.sort()
    return not (ordered[1:] == ordered[:-1]).any() or pc.count_distinct(ids).as_py() == len(ids)


def parse(path: Path) -> Iterator[pa.Table]:
    """The rows of a sound `train.csv` in pieces, every check made by the time the last is given; else `UnsureError`."""
    total = path.stat().st_size if path.is_file() else 0
    if not total:
        raise UnsureError
    ids: list[pa.Array] = []
    bar = tqdm(total=total, unit="B", unit_scale=True, desc=f"read {path.name}", leave=False, delay=1)
    try:
        with path.open("rb") as file, bar:
            first = file.readline(1 << 16)
            header = next(csv.reader([first.decode("utf-8-sig")], strict=True), [])
            if sorted(header) != sorted(SCHEMA.names):
                raise UnsureError
            options = pa.csv.ReadOptions(column_names=header)
            bar.update(len(first))
            while block := file.read(_BLOCK) + file.readline():
                bar.update(len(block))
                _check_block(block)
                piece = pa.csv.read_csv(pa.BufferReader(block), options, **_OPTIONS)
                if not _made_of(piece["id"], _ID_BYTES, *ID_LENGTHS) or not _made_of(
                    piece["landmark_id"], b"0123456789", 1, 19
                ):
                    raise UnsureError
                ids += piece["id"].chunks
                yield piece.select(SCHEMA.names).cast(SCHEMA)
    except (csv.Error, UnicodeDecodeError, pa.ArrowInvalid):
        raise UnsureError from None
    if not sum(map(len, ids)) or not _distinct(pa.chunked_array(ids)):
        raise UnsureError


class Cache:
    """The Parquet form of a train.csv, bound to the `stamp` of its text.

    Args:
        path: of the train.csv.
    """

    def __init__(self, path: Path):
        self.file = CacheFile(path.parent, f"{path.stem}.parquet")
        self.stamp = {"landmark": f"format {_FORMAT}: {stamp(path.stat())}"}

    def write(self, parsed: Callable[[], Iterable[pa.Table]]) -> None:
        """Store the pieces of a table, all or nothing; `parsed` gives them from the first on each time it is called."""
        encoding = {"id": "DELTA_LENGTH_BYTE_ARRAY", "url": "DELTA_LENGTH_BYTE_ARRAY"}

        def fill(part: Path) -> None:
            with pq.ParquetWriter(
                part, SCHEMA.with_metadata(self.stamp), compression="lz4", use_dictionary=False,
                write_statistics=False, write_page_checksum=True, column_encoding=encoding,
            ) as writer:  # fmt: skip
                for piece in parsed():
                    writer.write_table(piece)

        self.file.save(fill)

    def pieces(self, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns, a row group at a time, ids checked again because paths are built from them.

        Raises:
            StaleError: there is nothing to trust.
        """
        path = self.file.load(lambda path: path if self._fits(path) else None)
        if path is None:
            raise StaleError
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for group in range(file.num_row_groups):
                    piece = file.read_row_group(group, columns=columns)
                    if "id" in columns and not _made_of(piece["id"], _ID_BYTES, *ID_LENGTHS):
                        raise StaleError
                    yield piece
        except (OSError, ValueError, pa.ArrowException):
            raise StaleError from None

    def _fits(self, path: Path) -> bool:
        """Whether a file is of this table, as far as its end tells."""
        try:
            return pq.read_schema(path).equals(SCHEMA.with_metadata(self.stamp), check_metadata=True)
        except (OSError, ValueError, pa.ArrowException):
            return False
