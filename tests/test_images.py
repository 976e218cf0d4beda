"""Images of every kind that turns up: read right, or refused with a reason."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from landmark import images
from landmark.images import ImageError, read_image

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(np.kron(RNG.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8))


def data(image=PICTURE, kind="JPEG", **more):
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_jpeg_modes_become_rgb(mode):
    """Fails when grey or CMYK files come out inverted or in another mode."""
    found = read_image(data(PICTURE.convert(mode), quality=95))
    assert found.mode == "RGB"
    expected = np.asarray(PICTURE.convert(mode).convert("RGB"), float)
    assert np.abs(np.asarray(found, float) - expected).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    """Fails when one of the eight ways to hold a camera is ignored: Pillow's own transpose is the oracle."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = data(exif=exif, quality=95)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(raw)))
    assert read_image(raw).size == ((48, 64) if orientation > 4 else (64, 48))
    assert np.array_equal(np.asarray(read_image(raw)), np.asarray(expected))


def test_sixteen_bits_and_transparency():
    """Fails when 16-bit grey is clipped to white, or a transparent pixel turns black."""
    deep = Image.fromarray(np.array([[0, 257, 65535]], np.uint16))
    assert np.asarray(read_image(data(deep, "PNG")))[0, :, 0].tolist() == [0, 1, 255]
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (0, 0, 255, 255))
    assert np.asarray(read_image(data(clear, "PNG"))).tolist() == [[[255, 255, 255], [0, 0, 255]]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert np.asarray(read_image(data(palette, "PNG", transparency=0)))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (data()[: len(data()) // 2], "[Tt]runcated"),
        (b"<!DOCTYPE html><title>404</title>", "not an image"),
        (data(kind="PNG")[:-40], "truncated"),
        (data(kind="TIFF"), "not an image"),
        (b"\xff\xd8\xff" + bytes(200), ""),
    ],
)  # fmt: skip
def test_bad_bytes_are_refused(tmp_path, raw, reason):
    """Fails when a broken file gives grey pixels, or another exception than the one that is quarantined."""
    path = tmp_path / "x.jpg"
    path.write_bytes(raw)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert "x.jpg" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_folder(tmp_path):
    """Fails when a missing file or a folder in its place stops the run instead of being counted."""
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(ImageError):
            read_image(path)


def test_a_bomb_is_refused_before_it_is_unpacked():
    """Fails when 30,000 × 30,000 pixels are decoded: memory is limited in a process of its own."""
    code = """
import io, resource, struct, zlib
from landmark.images import read_image, ImageError
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
head = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
bomb = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
try:
    read_image(bomb)
except ImageError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert "pixels" in out.stdout, out.stderr[-500:]


def test_hash_finds_reencoded_pictures():
    """Fails when saving a picture again changes its hash much, or two pictures share one."""
    first = images.perceptual_hash(PICTURE)
    again = images.perceptual_hash(Image.open(io.BytesIO(data(quality=50))).convert("RGB"))
    other = images.perceptual_hash(PICTURE.transpose(Image.Transpose.ROTATE_90))
    assert (first ^ again).bit_count() <= 2 < (first ^ other).bit_count()


def test_files_and_junk(tmp_path):
    """Fails when a thumbnail database or a Mac's shadow file is taken for an image."""
    path = images.image_path(tmp_path, "train", "abc0000000000000")
    path.parent.mkdir(parents=True)
    for name in (path.name, "Thumbs.db", "._" + path.name, "notes.txt"):
        (path.parent / name).write_bytes(data())
    found, junk = images.image_files(tmp_path, "train")
    assert found == {"abc0000000000000": path} and junk == 3
