"""One look at every image: facts that are true, damage that is seen, and an interruption that costs nothing."""

import io

import numpy as np
import pytest
from PIL import Image

from landmark.data import images
from landmark.data.archives import ImageStore
from landmark.data.images import image_path, read_image
from landmark.prepare import inspection
from landmark.prepare.duplicates import duplicate_groups, near_pairs, perceptual_hash
from landmark.prepare.inspection import inspect_image, inspect_split
from landmark.utils.errors import ImageError


def picture(seed=0, width=160, height=120):
    grid = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)


def data(image, kind="JPEG", **more):
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def save(root, image_id, raw, split="train"):
    path = image_path(root, split, image_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def test_facts():
    """Fails when the header, the colours or the orientation of a file are told wrong."""
    turned = Image.Exif()
    turned[0x0112] = 6
    facts = inspect_image(data(picture(), exif=turned))
    assert (facts.format, facts.mode, facts.width, facts.height, facts.orientation) == ("JPEG", "RGB", 160, 120, 6)
    assert not facts.grey and not facts.constant
    grey = picture().convert("L")
    assert [inspect_image(data(x)).grey for x in (grey, grey.convert("RGB"), picture().convert("CMYK"))] == [1, 1, 0]
    assert inspect_image(data(grey.convert("CMYK"))).mode == "CMYK"
    assert inspect_image(data(grey, "PNG")).format == "PNG"
    assert inspect_image(data(Image.new("RGB", (300, 200), "blue"))).constant
    turned[0x0112] = 77
    assert inspect_image(data(picture(), exif=turned)).orientation == 1


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_damage_is_seen_at_reduced_scale(kind):
    """Fails when decoding at a fraction of the scale lets a file pass that a full decode refuses, or the reverse."""
    whole, rng = data(picture(1, 640, 480), progressive=kind == "progressive", quality=90), np.random.default_rng(0)

    def verdict(raw, at_least):
        try:
            return read_image(raw, at_least=at_least).mode
        except ImageError as error:
            return error.reason

    cases = [whole[: int(len(whole) * share)] + end for share in rng.random(25) for end in (b"", b"\xff\xd9")]
    for _ in range(50):
        start, raw = int(rng.integers(2, len(whole))), bytearray(whole)
        raw[start : start + 40] = rng.bytes(len(raw[start : start + 40]))
        cases.append(bytes(raw))
    verdicts = [(verdict(raw, 0), verdict(raw, 64)) for raw in cases]
    assert {full == "RGB" for full, _ in verdicts} == {True, False}
    assert all(full == small for full, small in verdicts)


def test_perceptual_hash_is_that_of_a_plain_loop():
    """Fails when a wave is left out or counted twice."""
    grey = np.asarray(picture().convert("L").resize((32, 32), Image.Resampling.HAMMING), float)
    bits = 0
    for n in range(1, 65):
        u, v = divmod(n, 9)
        wave = np.outer(*(np.cos(np.pi * f * (np.arange(32) + 0.5) / 32) for f in (u, v)))
        bits = bits << 1 | int((grey * wave).sum() > 1e-6)
    assert perceptual_hash(picture()) == bits


def test_near_pairs_are_those_of_the_plain_loop():
    """Fails when a band is missed, a pair comes twice, or no image at all is an error."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 20).astype(np.uint64)
    hashes = base[np.arange(90) % 20] ^ (np.uint64(1) << rng.integers(0, 64, 90).astype(np.uint64))
    for distance in (0, 1, 2, 4):
        loop = [[a, b] for a in range(90) for b in range(a + 1, 90)
                if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= distance]  # fmt: skip
        assert near_pairs(hashes, distance).tolist() == loop
    assert near_pairs(np.zeros(0, np.uint64)).shape == (0, 2)


def test_groups_of_duplicates(tmp_path):
    """Fails when a copy saved again is missed, the smaller copy is kept, or plain colours are taken for one photograph."""
    raws = {"aaa0": data(picture(1), quality=60), "aaa1": data(picture(1), quality=95), "bbb0": data(picture(2)),
            "bbb1": data(picture(2)), "ccc0": data(picture(3)), "ddd0": data(Image.new("RGB", (90, 60), "red")),
            "ddd1": data(Image.new("RGB", (96, 64), "red")), "eee0": b"", "eee1": b""}  # fmt: skip
    for image_id, raw in raws.items():
        save(tmp_path, image_id, raw)
    found = inspect_split(ImageStore(tmp_path, "train"), progress=False)
    exact, near = ([[found.ids[i].decode() for i in g] for g in part] for part in duplicate_groups(found.records))
    assert exact == [["bbb0", "bbb1"]] and near == [["aaa1", "aaa0"]]
    assert [found.ids[i] for i in found.reasons] == [b"eee0", b"eee1"]


@pytest.fixture
def long_one(tmp_path, monkeypatch):
    """Forty images, ten to a segment."""
    monkeypatch.setattr(inspection, "SEGMENT", 10)
    monkeypatch.setattr(inspection, "CHUNK", 5)
    for i in range(40):
        save(tmp_path, f"{i:03}f", data(picture(i)) if i % 7 else b"")
    return tmp_path


def test_what_many_images_are_is_remembered(tmp_path, monkeypatch):
    """Fails when each run of a course decodes the same images again, or a handful of them leaves a file behind."""
    for i in range(6):
        save(tmp_path, f"{i:03}f", data(picture(i)))
    store = ImageStore(tmp_path, "train")
    monkeypatch.setattr(inspection, "STORED", 6)
    inspect_split(store, progress=False)
    assert not (tmp_path / ".landmark" / "check").exists()
    monkeypatch.setattr(inspection, "STORED", 5)
    first = inspect_split(store, progress=False)
    looks = stop_after(monkeypatch, 99)
    again = inspect_split(store, progress=False)
    assert not looks and np.array_equal(first.records, again.records)


def stop_after(monkeypatch, count):
    """Make the look at an image fail like an interrupt from the given one on; returns the list of looks."""
    looks, look = [], images.read_with_header

    def counted(raw, **more):
        looks.append(raw)
        if len(looks) > count:
            raise KeyboardInterrupt
        return look(raw, **more)

    monkeypatch.setattr(inspection, "read_with_header", counted)
    return looks


def test_interrupted_and_gone_on(long_one, monkeypatch):
    """Fails when an interrupt loses finished segments, or what was saved gives other facts than a straight pass."""
    straight = inspect_split(ImageStore(long_one, "train"), progress=False)
    inspection.forget(long_one)
    stop_after(monkeypatch, 25)
    with pytest.raises(KeyboardInterrupt):
        inspect_split(ImageStore(long_one, "train"), progress=False)
    assert len(list((long_one / ".landmark" / "check").iterdir())) == 2
    looks = stop_after(monkeypatch, 99)
    again = inspect_split(ImageStore(long_one, "train"), progress=False)
    assert len(looks) == 20, "only what was left"
    assert np.array_equal(straight.records, again.records) and straight.reasons == again.reasons
    inspection.forget(long_one)
    assert not (long_one / ".landmark").exists()


def test_saved_facts_are_bound_to_the_files(long_one, monkeypatch):
    """Fails when a file that was changed after an interruption, or a damaged save, is believed."""
    inspect_split(ImageStore(long_one, "train"), progress=False)
    saved = sorted((long_one / ".landmark" / "check").iterdir())
    saved[0].write_bytes(b"PK\x03\x04 not quite")
    np.savez(saved[1], facts=np.array([{"a": 1}], object), places=np.zeros(0), reasons=np.zeros(0))
    save(long_one, "039f", b"<html>")
    looks = stop_after(monkeypatch, 99)
    assert "not an image" in inspect_split(ImageStore(long_one, "train"), progress=False).reasons[39]
    assert 20 <= len(looks) <= 30
