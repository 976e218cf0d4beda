"""Images of every kind that turns up: read right, or refused with a reason."""

import io
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from landmark.data import images
from landmark.data.images import read_image
from landmark.prepare import duplicates
from landmark.prepare.inspection import inspect_image
from landmark.prepare.shrink import shrink_image
from landmark.utils.errors import ImageError

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


TYPES = {"byte": 1, "text": 2, "short": 3, "long": 4, "rational": 5, "sbyte": 6, "any": 7, "sshort": 8, "slong": 9,
         "srational": 10, "float": 11, "double": 12}  # fmt: skip
NAN, INF = struct.pack("<d", np.nan), struct.pack("<d", np.inf)
X_RESOLUTION, Y_RESOLUTION, UNIT, WIDTH, HEIGHT = 0x011A, 0x011B, 0x0128, 0x0100, 0x0101
BITS, COLORS, COMPRESSION, STRIPS, DATE, MAKER, CAMERA, GPS = 258, 320, 259, 273, 306, 0x010F, 0x8769, 0x8825
FORMS = [
    (X_RESOLUTION, "srational", 1, struct.pack("<ii", -1, 0)), (X_RESOLUTION, "text", 3, b"72\0"),
    (X_RESOLUTION, "double", 1, NAN), (X_RESOLUTION, "double", 1, INF), (X_RESOLUTION, "float", 1, b"\0\0\xc0\x7f"),
    (X_RESOLUTION, "rational", 1, bytes(8)), (X_RESOLUTION, "srational", 1, struct.pack("<ii", -1, -1)),
    (X_RESOLUTION, "short", 2, b"\1\0\2\0"), (X_RESOLUTION, "byte", 1, b"\1"), (X_RESOLUTION, "rational", 0, b""),
    (Y_RESOLUTION, "srational", 1, struct.pack("<ii", -1, 0)), (Y_RESOLUTION, "text", 3, b"72\0"),
    (Y_RESOLUTION, "double", 1, NAN), (Y_RESOLUTION, "slong", 1, b"\xff\xff\xff\xff"),
    (UNIT, "text", 5, b"inch\0"), (UNIT, "sshort", 1, b"\xff\xff"), (UNIT, "double", 1, NAN), (UNIT, "any", 2, b"xy"),
    (WIDTH, "text", 4, b"640\0"), (WIDTH, "slong", 1, b"\xff\xff\xff\xff"), (WIDTH, "double", 1, INF),
    (WIDTH, "rational", 1, struct.pack("<II", 1, 0)), (HEIGHT, "text", 4, b"480\0"), (HEIGHT, "sbyte", 1, b"\xff"),
    (HEIGHT, "long", 2, bytes(8)), (BITS, "sshort", 1, b"\xff\xff"), (BITS, "text", 2, b"8\0"),
    (BITS, "short", 3, struct.pack("<3H", 8, 8, 8)), (BITS, "double", 1, NAN), (COLORS, "byte", 6, b"\0\1\2\3\4\5"),
    (COLORS, "text", 6, b"colors"), (COMPRESSION, "sshort", 1, b"\xff\xff"), (COMPRESSION, "text", 4, b"jpg\0"),
    (STRIPS, "slong", 1, b"\xff\xff\xff\xff"), (STRIPS, "text", 3, b"x\0\0"), (DATE, "double", 1, NAN),
    (MAKER, "srational", 1, struct.pack("<ii", 1, 0)), (CAMERA, "text", 4, b"abc\0"), (CAMERA, "long", 1, b"\xff" * 4),
    (GPS, "float", 1, b"\0\0\xc0\x7f"), (0x9999, 99, 7, b"nothing"),
]  # fmt: skip


def exif_block(*tags, order="<"):
    """EXIF with these tags (number, type, count, bytes or an offset), whatever they hold, in this order."""
    start, body, table = 8, b"", struct.pack(order + "H", len(tags))
    for tag, kind, count, value in tags:
        if isinstance(value, bytes) and len(value) > 4:
            where = struct.pack(order + "I", start + 6 + 12 * len(tags) + len(body))
            body += value
        else:
            where = value.ljust(4, b"\0") if isinstance(value, bytes) else struct.pack(order + "I", value)
        table += struct.pack(order + "HHI", tag, TYPES.get(kind, kind), count) + where
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return b"Exif\0\0" + head + table + bytes(4) + body


def orientation_tag(value, order="<"):
    return (0x0112, "short", 1, struct.pack(order + "H", value))


def turned(pixels, orientation):
    """NumPy's way to turn: what each of the eight values means."""
    flipped = pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels
    return np.rot90(flipped, {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation])


def check_turned(raw, orientation):
    """Every way to look at a file must turn it alike, and ask for nobody's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = turned(np.asarray(read_image(data())), orientation)
        assert np.array_equal(np.asarray(read_image(raw)), expected)
        facts = inspect_image(raw)
        assert (facts.orientation, facts.width, facts.height) == (orientation, 64, 48)
        small = Image.open(io.BytesIO(shrink_image(raw, 24, 90)))
        assert small.size == ((24, 32) if orientation > 4 else (32, 24))


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_orientation_beside_a_malformed_tag(form):
    """Fails when a photograph is refused or not turned because another tag of its EXIF holds nonsense."""
    assert len(FORMS) == 41
    tags = sorted([FORMS[form], orientation_tag(6)], key=lambda tag: tag[0])
    check_turned(data(exif=exif_block(*tags)), 6)


def test_orientation_beside_random_tags():
    """Fails when any other content of an EXIF block decides whether and how a photograph is turned."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        order, orientation = rng.choice(["<", ">"]), int(rng.integers(1, 9))
        tags = [orientation_tag(orientation, order)]
        for tag in rng.choice([X_RESOLUTION, Y_RESOLUTION, UNIT, WIDTH, HEIGHT, BITS, COLORS, STRIPS, MAKER, 0x014A,
                               CAMERA, GPS, 0x0111, 0x0117, 0xC612, int(rng.integers(0x0113, 1 << 16))],
                              int(rng.integers(1, 6)), replace=False):  # fmt: skip
            value = rng.bytes(int(rng.integers(0, 24))) if rng.random() < 0.7 else int(rng.integers(1 << 32))
            tags.append((int(tag), int(rng.integers(0, 16)), int(rng.choice([0, 1, 2, 5, 1 << 31])), value))
        if rng.random() < 0.8:
            tags.sort(key=lambda tag: tag[0])
        block = exif_block(*tags, order=order)
        cut = 6 + 8 + 2 + 12 * len(tags)  # behind the table itself, whose values may be gone
        check_turned(data(exif=block if rng.random() < 0.8 else block[:cut]), orientation)


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0", b"Exif\0\0II", b"Exif\0\0XX*\0\x08\0\0\0", exif_block(orientation_tag(6))[:20],
        b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0" + bytes(300), exif_block(orientation_tag(0)),
        exif_block(orientation_tag(9)), exif_block((0x0112, "text", 2, b"6\0")), exif_block((0x0112, "short", 2, b"\6")),
        exif_block((0x0112, "double", 1, NAN)), b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(40),
    ],
)  # fmt: skip
def test_exif_without_a_usable_orientation(block):
    """Fails when EXIF that does not say how to turn a photograph makes it unreadable."""
    check_turned(data(exif=block), 1)


def test_any_bytes_of_exif_are_read():
    """Fails when EXIF of noise raises, or warns."""
    rng = np.random.default_rng(6)
    for _ in range(200):
        noise = bytearray(exif_block(*FORMS[:9], orientation_tag(3)))
        for place in rng.integers(6, len(noise), 12):
            noise[place] = rng.integers(256)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert set(read_image(data(exif=bytes(noise))).size) == {64, 48}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_orientation_of_other_formats(kind):
    """Fails when only JPEGs are turned, or a malformed tag makes these unreadable."""
    lossless = {"lossless": True} if kind == "WEBP" else {}
    raw = data(kind=kind, exif=exif_block(FORMS[0], orientation_tag(6)), **lossless)
    assert np.array_equal(np.asarray(read_image(raw)), turned(np.asarray(PICTURE), 6))
    assert inspect_image(raw).orientation == 6


def test_orientation_in_xmp():
    """Fails when the note of editors that write no EXIF is passed over, or wins over EXIF."""
    xmp = b"<x:xmpmeta><rdf:Description tiff:Orientation='1' tiff:Orientation=\"8\"/></x:xmpmeta>"
    check_turned(data(xmp=xmp), 8)
    check_turned(data(xmp=xmp, exif=exif_block(orientation_tag(3))), 3)


def unclosed(raw):
    """A JPEG without its end marker."""
    assert raw.endswith(b"\xff\xd9")
    return raw[:-2]


LARGE = PICTURE.resize((320, 240), Image.Resampling.BICUBIC)
THUMBNAIL = exif_block(orientation_tag(1)) + data(PICTURE)
VIDEO = b"\0\0\0\x18ftypmp42" + np.random.default_rng(1).bytes(60_000)  # markers, ends and starts of pictures among it
WHOLE = {
    "baseline": data(LARGE, quality=90), "progressive": data(LARGE, progressive=True), "thumbnail": data(LARGE, exif=THUMBNAIL),
    "restarts": data(LARGE, restart_marker_blocks=3), "grey": data(LARGE.convert("L"), quality=95),
    "cmyk": data(LARGE.convert("CMYK")),
}  # fmt: skip
TRAILERS = {
    "one byte": b"x", "4 kB": bytes(4096), "a megabyte": bytes(1 << 20), "video": VIDEO, "picture": data(PICTURE),
    "cut picture": unclosed(data(PICTURE)), "text": b"\0\0\x01\n\x0e\0\0\0Image_UTC_Data1525".ljust(5000, b"S") + b"SEFT",
    "start": b"\xff\xd8\xff\xe1" + VIDEO,
}  # fmt: skip


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("kind", WHOLE)
def test_bytes_behind_the_end_do_no_harm(kind, trailer):
    """Fails when what a phone, a card or a server put behind a whole JPEG makes it unreadable or changes a pixel."""
    raw = WHOLE[kind] + TRAILERS[trailer]
    assert np.array_equal(np.asarray(read_image(raw)), np.asarray(read_image(WHOLE[kind])))
    assert inspect_image(raw) == inspect_image(WHOLE[kind])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("count", [1, 100, 5000])
def test_bytes_behind_other_formats(kind, count):
    """Fails when a few bytes more make a whole file unreadable, or hide that another one is cut."""
    whole, behind = data(kind=kind), (b"\0\0\1\0IDAT" + VIDEO)[:count]
    assert np.array_equal(np.asarray(read_image(whole + behind)), np.asarray(read_image(whole)))
    if kind in ("PNG", "GIF"):  # of the others such bytes would be pixels
        for share in (0.4, 0.7, 0.9):
            with pytest.raises(ImageError):
                read_image(whole[: int(share * len(whole))] + behind)


@pytest.mark.parametrize("trailer", ["text", "video", "picture", "start"])
@pytest.mark.parametrize("kind", ["baseline", "thumbnail", "restarts", "grey", "cmyk"])
def test_no_end_marker_before_a_trailer(kind, trailer):
    """Fails when the panoramas of some phones, whose scan is whole but not closed, are refused or lose a pixel."""
    raw = unclosed(WHOLE[kind]) + TRAILERS[trailer]
    assert np.array_equal(np.asarray(read_image(raw)), np.asarray(read_image(WHOLE[kind])))


@pytest.mark.parametrize("kind", WHOLE)
def test_cut_jpegs_are_refused(kind):
    """Fails when a JPEG that ends too early passes, by its thumbnail's end marker or zeros a download left, say."""
    whole, rng = WHOLE[kind], np.random.default_rng(2)
    cuts = {*range(len(whole) - 24, len(whole)), *rng.integers(3, len(whole), 25).tolist()}
    for cut in sorted(cuts):
        for behind in (b"", bytes(3), bytes(9000), b"\xff" * 600):
            with pytest.raises(ImageError, match="truncated|not an image") as caught:
                read_image(whole[:cut] + behind)
                pytest.fail(f"cut at {cut} of {len(whole)}, {len(behind)} bytes behind it")
            assert "\n" not in str(caught.value)


def test_a_marker_in_noise_does_not_hide_the_end():
    """Fails when damaged bytes that look like the start of a segment are followed past the end of the image."""
    raw = bytearray(WHOLE["restarts"])
    place = raw.rindex(b"\xff\xd7")  # a restart, after which a decoder finds its way again
    raw[place + 8 : place + 12] = b"\xff\xe1\xf0\xf0"
    assert read_image(bytes(raw)).size == (320, 240)


def test_two_pictures_in_one_file_are_a_jpeg():
    """Fails when a phone's JPEG with a second picture is called another format than the first one's."""
    out = io.BytesIO()
    PICTURE.save(out, "MPO", save_all=True, append_images=[PICTURE.rotate(180)])
    assert inspect_image(out.getvalue()).format == "JPEG"
    assert np.array_equal(np.asarray(read_image(out.getvalue())), np.asarray(read_image(data())))


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
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC: save it as another kind.; allowed: JPEG"),
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
from landmark.data.images import read_image; from landmark.utils.errors import ImageError
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


@pytest.mark.parametrize("interlaced", [False, True])
def test_png_with_missing_rows(interlaced):
    """Fails when the rows that a sound-looking PNG lacks come out black, in either order in which rows are stored."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    passes = [(1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8)] if interlaced else [(8, 8)]  # rows, columns
    pixels = b"".join((b"\0" + b"\x80" * columns) * rows for rows, columns in passes)
    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, interlaced)
    for missing in (0, 1, 9, 40):
        body = zlib.compress(pixels[: len(pixels) - missing])
        raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
        if missing:
            with pytest.raises(ImageError, match="truncated PNG .[0-7] of 8 rows"):
                read_image(raw)
        else:
            assert (np.asarray(read_image(raw)) == 128).all()
    more = zlib.compress(pixels + bytes(90_000))
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"tEXt", b"xmp\0text") + chunk(b"IDAT", more[:40])
    raw += chunk(b"IDAT", more[40:]) + chunk(b"IEND", b"")
    assert (np.asarray(read_image(raw)) == 128).all(), "rows more than the header says, and a text named like XMP"


def test_hash_finds_reencoded_pictures():
    """Fails when saving a picture again changes its hash much, or two pictures share one."""
    first = duplicates.perceptual_hash(PICTURE)
    again = duplicates.perceptual_hash(Image.open(io.BytesIO(data(quality=50))).convert("RGB"))
    other = duplicates.perceptual_hash(PICTURE.transpose(Image.Transpose.ROTATE_90))
    assert (first ^ again).bit_count() <= 2 < (first ^ other).bit_count()


def test_files_and_junk(tmp_path):
    """Fails when a thumbnail database or a Mac's shadow file is taken for an image."""
    path = images.image_path(tmp_path, "train", "abc0000000000000")
    path.parent.mkdir(parents=True)
    for name in (path.name, "Thumbs.db", "._" + path.name, "notes.txt"):
        (path.parent / name).write_bytes(data())
    found, junk = images.image_files(tmp_path, "train")
    assert found == {"abc0000000000000": path} and junk == 3
