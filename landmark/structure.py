"""What image files are made of: where a JPEG or PNG ends, and how its EXIF says that it is to be turned."""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # how they start
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # not a stuffed 255, nor a mark inside a scan, nor padding
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_NOTES = {*range(0xE1, 0xEE), 0xEF}  # APPn, but for JFIF's and Adobe's, which tell what the colours mean
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of a frame
_ORIENTATION = 0x0112
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])\b')
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]  # Adam7


class Jpeg(NamedTuple):
    """The parts of a JPEG."""

    picture: bytes  # what a decoder needs: no EXIF and nothing behind the end marker; all the rest where there is none
    ended: bool  # whether there is an end marker
    odd: int  # where in `picture` the first marker stands that does not belong into a scan: damage, or a trailer; or -1
    width: int
    height: int
    exif: bytes
    xmp: bytes


def jpeg_parts(data: bytes) -> Jpeg:
    """Walk a JPEG from marker to marker, as a decoder does: thumbnails inside segments are passed over.

    Args:
        data: the file's bytes, which start as `JPEG`.
    """
    kept, notes, size, place, start, scan, odd = [], [], (0, 0), 2, 0, -1, -1
    while mark := _MARKER.search(data, place):
        kind, place = data[mark.end() - 1], mark.end()
        stop = place + max(2, int.from_bytes(data[place : place + 2], "big"))
        if kind == _END:
            break
        if kind == _SCAN:
            scan = place
        elif scan < 0 and kind != _START:
            if kind in _NOTES:
                notes.append(data[place + 2 : stop])
                kept.append(data[start : mark.start()])
                start = stop
            elif kind in _SIZES and size == (0, 0) and len(data) >= place + 7:
                size = struct.unpack(">HH", data[place + 3 : place + 7])[::-1]
            place = stop
        elif kind != _START and data[stop : stop + 1] == b"\xff":  # a segment between two scans: a marker follows it
            place = stop
        elif odd < 0:
            odd = mark.start()
    kept.append(data[start : mark.end() if mark else len(data)])
    picture = b"".join(kept)
    exif = b"".join(note[6:] for note in notes if note.startswith(b"Exif\0"))  # a long one lies in several segments
    xmp = b"".join(note for note in notes if note[7:].startswith(b"ns.adobe.com/xap/1.0/\0"))
    odd -= (mark.end() if mark else len(data)) - len(picture) if odd >= 0 else 0
    return Jpeg(picture, mark is not None, odd, *size, exif, xmp)


def png_fault(data: bytes) -> str:
    """Why a PNG is not whole, or "": decoders fill missing rows with black and say nothing.

    Args:
        data: the file's bytes, a header among them whose size is no danger.
    """
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    lines = []
    for left, top, across, down in _PASSES if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        lines += [(rows, 1 + (columns * bits + 7) // 8)] if columns > 0 else []
    need = sum(rows * length for rows, length in lines)
    unpack, place, found = zlib.decompressobj(), len(PNG), 0
    while place + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"IEND":
            return "" if found >= need else f"truncated PNG ({height * found // need} of {height} rows)"
        if kind == b"IDAT" and found < need:
            found += len(unpack.decompress(data[place + 8 : place + 8 + size], need + 1))
        place += size + 12
    return "truncated PNG (no end chunk)"


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """How to turn a picture, 1 to 8, from this tag alone; 1 when it is absent or cannot be read.

    Other tags may hold anything: photographs whose resolution is a text or whose width is negative are sound.

    Args:
        exif: a TIFF header and what follows it, or nothing.
        xmp: decides where EXIF has no such tag.

    >>> orientation(b"MM\\0*\\0\\0\\0\\x08\\0\\x01\\x01\\x12\\0\\x03\\0\\0\\0\\x01\\0\\x06\\0\\0")
    6
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order:
        try:
            (place,) = struct.unpack_from(f"{order}I", exif, 4)
            (count,) = struct.unpack_from(f"{order}H", exif, place)
            for entry in range(place + 2, place + 2 + 12 * count, 12):
                tag, kind, number = struct.unpack_from(f"{order}HHI", exif, entry)
                if tag == _ORIENTATION:
                    value = struct.unpack_from(order + {3: "H", 4: "I"}.get(kind, "x"), exif, entry + 8)
                    return value[0] if number == 1 and value and value[0] in range(1, 9) else 1
        except struct.error:  # the block ends too early
            pass
    found = _XMP.search(xmp)
    return int(found[1]) if found else 1
