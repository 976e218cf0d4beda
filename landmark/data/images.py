"""Image files: where they lie, and the one decoder that every path uses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from landmark.runtime import InputError
from landmark.structure import JPEG, Jpeg, jpeg_parts, orientation, png_fault

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # an MPO, two JPEGs in one file, opens as a JPEG
MAX_PIXELS = 50_000_000
_TURN = {  # what undoes each orientation of EXIF
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_JUNK = {".DS_Store", "Thumbs.db", "desktop.ini"}

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


class Header(NamedTuple):
    """What a file says of itself; width and height are those of the file, before EXIF turns it."""

    format: str
    mode: str  # Pillow's: RGB, L, CMYK…
    width: int
    height: int
    orientation: int  # EXIF's, 1 = upright

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as a viewer shows them."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)


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
    """`read_image`, and what the file says of itself."""
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
        start = repr(data[:9])[2:-1]
        raise ImageError(name, f"not an image (starts with `{start}`); allowed: {', '.join(formats)}") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error… on damaged bytes
        raise ImageError(name, f"damaged image ({error})") from None


def _decoded(
    name: str, data: bytes, formats: tuple[str, ...], max_pixels: int, at_least: int
) -> tuple[Image.Image, Header]:
    """Pixels and header. Pillow never sees a JPEG's EXIF: what it thinks of other tags would fail or warn."""
    exif = xmp = b""
    if data.startswith(JPEG):
        parts = jpeg_parts(data)
        _check_pixels(name, parts.width, parts.height, max_pixels)
        data, exif, xmp = _closed(name, parts), parts.exif, parts.xmp
    with Image.open(io.BytesIO(data), formats=formats) as image:
        _check_pixels(name, image.width, image.height, max_pixels)
        if image.format == "PNG":
            _check_png(name, data)
        found = image.format, image.mode, image.width, image.height
        if at_least:
            image.draft(None, _reduced(image.size, at_least))
        picture = _to_rgb(image)
        exif, xmp = exif or _note(image, "exif"), xmp or _note(image, "xmp")
    header = Header(*found, orientation(exif, xmp))
    return picture if header.orientation == 1 else picture.transpose(_TURN[header.orientation]), header


def _note(image: Image.Image, name: str) -> bytes:
    """What formats other than JPEG say there; a PNG may also hold any text under that name."""
    note = image.info.get(name)
    return note if isinstance(note, bytes) else b""


def _check_pixels(name: str, width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise ImageError(name, f"{width}×{height} pixels, limit {limit}")


def _closed(name: str, parts: Jpeg) -> bytes:
    """A JPEG up to its end marker, which some cameras leave out before a trailer of theirs; refuses one that is cut.

    A scan without it is whole when a decoder finds all its pixels with some bytes to spare: those of the trailer. Zeros
    are no trailer, for a download leaves them; nor is anything behind a progressive JPEG, which may lack a scan.
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
    """The smallest size that the decoder may aim at: the shorter side `at_least`, the other in proportion."""
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


_WAVES = np.cos(np.pi / 32 * np.outer(np.arange(9), np.arange(32) + 0.5))  # (9, 32), the slowest of a DCT


def perceptual_hash(image: Image.Image) -> int:
    """64 bits: signs of the slowest waves of the 32×32 grey thumbnail, its mean left out.

    X[u, v] = Σ_ij g[i, j] cos(π u (i + ½) / 32) cos(π v (j + ½) / 32)

    Survives saving at another quality, and small changes of size.

    >>> perceptual_hash(Image.new("RGB", (40, 30), "red"))
    0
    """
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.HAMMING), float)
    waves = (_WAVES @ grey @ _WAVES.T).flatten()[1:65]
    return int.from_bytes(np.packbits(waves > 1e-6).tobytes(), "big")  # a flat picture has waves of rounding errors


def near_pairs(hashes: np.ndarray, distance: int = 2) -> np.ndarray:
    """Pairs of positions whose hashes differ in at most `distance` bits: equal in at least one of `distance` + 1 bands.

    Args:
        hashes: (N,) uint64.
        distance: bits.

    Returns:
        (M, 2) positions, the smaller first, sorted. One image is compared with no more than 200 that share a band
        with it: a flat sky shares one with many, and other bands remain.

    >>> near_pairs(np.array([0b0001, 0b111100, 0b0011], np.uint64)).tolist()
    [[0, 2]]
    """
    bands = distance + 1
    width = min(64 // bands + 1, 64)
    found = [np.zeros((0, 2), np.int64)]
    for band in range(bands):
        part = hashes >> np.uint64(band * width) & np.uint64((1 << width) - 1)
        order = np.argsort(part, kind="stable")
        first = np.arange(len(order))
        for step in range(1, 201):  # those that share a band stand side by side
            first = first[first + step < len(order)]
            first = first[part[order[first]] == part[order[first + step]]]
            if not len(first):
                break
            pair = np.column_stack([order[first], order[first + step]])
            found.append(pair[np.bitwise_count(hashes[pair[:, 0]] ^ hashes[pair[:, 1]]) <= distance])
    return np.unique(np.concatenate(found), axis=0)
