"""Image files: where they lie, what they are made of, and the one decoder that every path uses."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from landmark.utils.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # an MPO, two JPEGs in one file, opens as a JPEG
MAX_PIXELS = 50_000_000
_TURN = {  # what undoes each orientation of EXIF
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_JUNK = {".DS_Store", "Thumbs.db", "desktop.ini"}

Image.init()  # else Pillow knows only the commonest formats until an image has failed to open


def image_path(root: str | Path, split: str, image_id: str) -> Path:
    """Give the path of an image in GLDv2: the first three characters of its id are folders.

    >>> image_path("data", "train", "0123456789abcdef").as_posix()
    'data/train/0/1/2/0123456789abcdef.jpg'
    """
    return Path(root, split, *image_id[:3], f"{image_id}.jpg")


def image_files(root: str | Path, split: str) -> tuple[dict[str, Path], int]:
    """List a split's files by image id, and count the junk files (`._x.jpg`, `.DS_Store`, `Thumbs.db`…) passed over."""
    files, junk = {}, 0
    for path in sorted(Path(root, split).glob("**/*")):
        if path.is_dir():
            continue
        if path.suffix.lower() == ".jpg" and not path.name.startswith(".") and path.name not in _JUNK:
            files[path.stem] = path
        else:
            junk += 1
    return files, junk


def read_image(
    source: str | Path | bytes, *, formats: tuple[str, ...] = FORMATS, max_pixels: int = MAX_PIXELS, at_least: int = 0
) -> Image.Image:
    """Decode an image as a viewer shows it: EXIF orientation applied, first frame, RGB, alpha over white.

    Args:
        source: path or the file's bytes. Whatever lies behind the image's end is passed over, such as a phone's video.
        formats: Pillow's names of the formats that are let through, decided by content and not by the name.
        max_pixels: limit on width × height, checked in the header before anything is decoded.
        at_least: a JPEG whose shorter side has at least twice as many pixels may be decoded at 1/2, 1/4 or 1/8 of its
            size, never below this many; 0 decodes all of it.

    Returns:
        An RGB image of 8 bits a channel; 16-bit grey keeps its upper byte.

    Raises:
        ImageError: empty, not an image, a format not on the list, too large, truncated or damaged.
    """
    return read_with_header(source, formats=formats, max_pixels=max_pixels, at_least=at_least)[0]


def read_with_header(
    source: str | Path | bytes, *, formats: tuple[str, ...] = FORMATS, max_pixels: int = MAX_PIXELS, at_least: int = 0
) -> tuple[Image.Image, Header]:
    """Decode an image as `read_image` does, and read its header."""
    name = "image" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except FileNotFoundError:
        raise ImageError(name, "no such file") from None
    except OSError as error:
        raise ImageError(name, f"cannot be read ({error.strerror})") from None
    if not data:
        raise ImageError(name, "empty file")
    try:
        return _decoded(name, data, formats, max_pixels, at_least)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(name, f"more pixels than the limit {max_pixels}") from None
    except UnidentifiedImageError:
        what = "HEIC: save it as another kind" if data[4:12] in _HEIC else f"starts with `{repr(data[:9])[2:-1]}`"
        raise ImageError(name, f"not an image ({what}); allowed: {', '.join(formats)}") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error… on damaged bytes
        raise ImageError(name, f"damaged image ({error})") from None


def _decoded(
    name: str, data: bytes, formats: tuple[str, ...], max_pixels: int, at_least: int
) -> tuple[Image.Image, Header]:
    """Decode pixels and header, a JPEG without its EXIF: Pillow fails or warns at tags that do not matter here."""
    exif = xmp = b""
    if data.startswith(JPEG):
        parts = jpeg_parts(data)
        _check_pixels(name, parts.width, parts.height, max_pixels)
        data, exif, xmp = _closed(name, parts), parts.exif, parts.xmp
    with Image.open(io.BytesIO(data), formats=formats) as image:
        _check_pixels(name, image.width, image.height, max_pixels)
        if image.format == "PNG":
            _check_png(name, data)
        written = str(image.format), image.mode, image.width, image.height
        if at_least:
            image.draft(None, _reduced(image.size, at_least))
        picture = _to_rgb(image)
        exif, xmp = exif or _note(image, "exif"), xmp or _note(image, "xmp")
    header = Header(*written, orientation(exif, xmp))
    return picture if header.orientation == 1 else picture.transpose(_TURN[header.orientation]), header


def _note(image: Image.Image, name: str) -> bytes:
    """Read a note of a format other than JPEG; a PNG may also hold any text under that name."""
    note = image.info.get(name)
    return note if isinstance(note, bytes) else b""


def _check_pixels(name: str, width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise ImageError(name, f"{width}×{height} pixels, limit {limit}")


def _closed(name: str, parts: Jpeg) -> bytes:
    """Cut a JPEG at its end marker, which some cameras leave out before their own trailer; refuse a truncated one.

    A scan without the marker is whole when a decoder gets all its pixels with some bytes to spare: those of the
    trailer. Zeros are no trailer, because a broken download leaves them; nor is anything behind a progressive JPEG,
    which may lack a scan.
    """
    if parts.ended and parts.odd < 0:
        return parts.picture
    scan = parts.picture[: parts.odd] if parts.odd >= 0 else parts.picture.rstrip(b"\0\xff")
    try:
        with Image.open(io.BytesIO(scan + bytes(8) if parts.odd >= 0 else scan[:-16]), formats=("JPEG",)) as image:
            image.load()
        return scan + b"\xff\xd9"
    except Exception:
        if parts.ended:  # the odd marker was damage, which the decoder may bear
            return parts.picture
        raise ImageError(name, "truncated JPEG (no end marker)") from None


def _reduced(size: tuple[int, int], at_least: int) -> tuple[int, int]:
    """Compute the smallest size that the decoder may aim at: the shorter side `at_least`, the other in proportion."""
    scale = min(1.0, at_least / min(size))
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def _check_png(name: str, data: bytes) -> None:
    fault = png_fault(data)
    if fault:
        raise ImageError(name, fault)
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()  # checks every chunk's CRC


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        scaled = values / 257 if values.max(initial=0) > 255 else values
        return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # how they start
_HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1")  # what stands behind the first four bytes
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
    pieces, notes, size, place, start, scan, odd = [], [], (0, 0), 2, 0, -1, -1
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
                pieces.append(data[start : mark.start()])
                start = stop
            elif kind in _SIZES and size == (0, 0) and len(data) >= place + 7:
                size = struct.unpack(">HH", data[place + 3 : place + 7])[::-1]
            place = stop
        elif kind != _START and data[stop : stop + 1] == b"\xff":  # a segment between two scans: a marker follows it
            place = stop
        elif odd < 0:
            odd = mark.start()
    pieces.append(data[start : mark.end() if mark else len(data)])
    picture = b"".join(pieces)
    exif = b"".join(note[6:] for note in notes if note.startswith(b"Exif\0"))  # a long one lies in several segments
    xmp = b"".join(note for note in notes if note[7:].startswith(b"ns.adobe.com/xap/1.0/\0"))
    odd -= (mark.end() if mark else len(data)) - len(picture) if odd >= 0 else 0
    return Jpeg(picture, mark is not None, odd, *size, exif, xmp)


def png_fault(data: bytes) -> str:
    """Say why a PNG is not whole, or "": decoders fill missing rows with black and report nothing.

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
    unpack, place, have = zlib.decompressobj(), len(PNG), 0
    while place + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"IEND":
            return "" if have >= need else f"truncated PNG ({height * have // need} of {height} rows)"
        if kind == b"IDAT" and have < need:
            have += len(unpack.decompress(data[place + 8 : place + 8 + size], need + 1))
        place += size + 12
    return "truncated PNG (no end chunk)"


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Read how to turn a picture, 1 to 8, from this tag alone; 1 when it is absent or cannot be read.

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
    note = _XMP.search(xmp)
    return int(note[1]) if note else 1


class Header(NamedTuple):
    """What a file says of itself; width and height are those of the file, before EXIF turns it."""

    format: str
    mode: str  # Pillow's: RGB, L, CMYK…
    width: int
    height: int
    orientation: int  # EXIF's, 1 = upright

    @property
    def upright(self) -> tuple[int, int]:
        """Give width and height as a viewer shows them."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)
