"""Image files: where they lie, and the one decoder that every path uses."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from landmark.runtime import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # an MPO, two JPEGs in one file, opens as a JPEG
MAX_PIXELS = 50_000_000
_JUNK = {".DS_Store", "Thumbs.db", "desktop.ini"}
Image.init()

Image.init()  # else Pillow knows only the commonest formats until an image has failed to open


class ImageError(InputError):
    """One file that is no usable image; `reason` says why without the path."""

    def __init__(self, path: object, reason: str):
        super().__init__(f"{path}: {reason}")
        self.reason = reason


def image_path(root: str | Path, split: str, image_id: str) -> Path:
    """Where GLDv2 keeps an image: the first three characters of its id are folders.

    >>> image_path("data", "train", "0123456789abcdef").as_posix()
    'data/train/0/1/2/0123456789abcdef.jpg'
    """
    return Path(root, split, *image_id[:3], f"{image_id}.jpg")


def image_files(root: str | Path, split: str) -> tuple[dict[str, Path], int]:
    """Files of a split by image id, and how many junk files (`._x.jpg`, `.DS_Store`, `Thumbs.db`…) were passed over."""
    found, junk = {}, 0
    for path in sorted(Path(root, split).glob("**/*")):
        if path.is_dir():
            continue
        if path.suffix.lower() == ".jpg" and not path.name.startswith(".") and path.name not in _JUNK:
            found[path.stem] = path
        else:
            junk += 1
    return found, junk


def read_image(
    source: str | Path | bytes, *, formats: tuple[str, ...] = FORMATS, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode an image as a viewer shows it: EXIF orientation applied, first frame, RGB, alpha over white.

    Args:
        source: path or the file's bytes.
        formats: Pillow's names of the formats that are let through, decided by content and not by the name.
        max_pixels: limit on width × height, checked in the header before anything is decoded.

    Returns:
        An RGB image of 8 bits a channel; 16-bit grey keeps its upper byte.

    Raises:
        ImageError: empty, not an image, a format not on the list, too large, truncated or damaged.
    """
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
        with warnings.catch_warnings():  # Pillow warns of large images and odd metadata: the limit below decides
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=formats) as image:
                if image.width * image.height > max_pixels:
                    raise ImageError(name, f"{image.width}×{image.height} pixels, limit {max_pixels}")
                if image.format == "JPEG" and b"\xff\xd9" not in data[-4096:]:
                    raise ImageError(name, "truncated JPEG (no end marker)")
                if image.format == "PNG":
                    _check_png(name, data)
                return _to_rgb(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(name, f"more pixels than the limit {max_pixels}") from None
    except UnidentifiedImageError:
        start = repr(data[:9])[2:-1]
        raise ImageError(name, f"not an image (starts with `{start}`); allowed: {', '.join(formats)}") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error… on damaged bytes
        raise ImageError(name, f"damaged image ({error})") from None


def _check_png(name: str, data: bytes) -> None:
    """Refuse a PNG whose rows are missing: Pillow fills them with black and says nothing."""
    if b"IEND" not in data[-64:]:
        raise ImageError(name, "truncated PNG (no end chunk)")
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()  # checks every chunk's CRC
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    if interlace:
        return
    row = 1 + (width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1) + 7) // 8
    rows, place, packed = zlib.decompressobj(), 8, 0
    while place + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"IDAT":
            packed += len(rows.decompress(data[place + 8 : place + 8 + size], row * height + 1))
        place += size + 12
    if packed < row * height:
        raise ImageError(name, f"truncated PNG ({packed // row} of {height} rows)")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        scaled = values / 257 if values.max(initial=0) > 255 else values
        return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    rgb = image.convert("RGB")
    rgb.load()
    return rgb


def difference_hash(image: Image.Image) -> int:
    """64 bits: is a pixel of the 9×8 grey thumbnail brighter than its left neighbour? Survives re-encoding.

    >>> difference_hash(Image.new("RGB", (40, 30), "red"))
    0
    """
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)  # (8, 9)
    bits = (np.diff(grey, axis=1) > 0).flatten()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def duplicate_pairs(hashes: dict[str, int], distance: int = 2) -> Iterator[tuple[str, str]]:
    """Pairs of ids whose hashes differ in at most `distance` bits, by banding: equal in at least one part of the key.

    >>> list(duplicate_pairs({"a": 0b0001, "b": 0b0011, "c": 0b111100}))
    [('a', 'b')]
    """
    bands, width = distance + 1, 64 // (distance + 1) + 1
    found = set()
    for band in range(bands):
        buckets: dict[int, list[str]] = {}
        for image_id, value in hashes.items():
            bucket = buckets.setdefault(value >> band * width & (1 << width) - 1, [])
            for other in bucket[-200:]:  # a flat sky shares a band with many: bound the work, other bands remain
                if (hashes[other] ^ value).bit_count() <= distance and (other, image_id) not in found:
                    found.add((other, image_id))
                    yield other, image_id
            bucket.append(image_id)
