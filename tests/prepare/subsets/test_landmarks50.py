"""The ZIP of fifty landmarks: hostile, damaged, killed on the way."""

import random
import stat
import time
import zipfile

import pytest

from landmark.prepare.subsets import landmarks50
from landmark.utils import files
from landmark.utils.errors import InputError
from tests.serving import child, tree


def make_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


GOOD = {"landmark_images/train/00.A/aaaa.jpg": b"one", "landmark_images/test/00.A/bbbb.jpg": b"two"}


def test_a_hostile_zip_writes_nothing_outside(tmp_path):
    """Fails when a member's name, kind or claim is obeyed."""
    link = zipfile.ZipInfo("landmark_images/train/00.A/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    odd = ["../out.jpg", "/tmp/out.jpg", "landmark_images/train/00.A/../../../../out.jpg", "landmark_images/train/x.jpg",
           "landmark_images/train/00.A/._aaaa.jpg", "landmark_images/train/00.A/a.pkl", "__MACOSX/a.jpg",
           "landmark_images/train/..\\00.A/cccc.jpg", "landmark_images/train/00.A/C:x.jpg"]  # fmt: skip
    path = make_zip(tmp_path / "a.zip", GOOD | {name: b"x" for name in odd})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("landmark_images/test/00.A/AAAA.jpg", b"again")
        archive.writestr("landmark_images/train/00.A/bomb.jpg", bytes(900_000), zipfile.ZIP_DEFLATED)
    told = landmarks50.unpack(path, tmp_path / "d", progress=False)
    assert "1 train and 1 test images" in told and "9 not named" in told and "1 links or devices" in told
    assert "1 with an id seen before" in told and "1 too large for an image" in told
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg")} == {
        "d/train/a/a/a/aaaa.jpg", "d/test/b/b/b/bbbb.jpg"}  # fmt: skip
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))


def test_zip_bombs_and_damage(tmp_path):
    """Fails when an archive is believed that claims far more than it holds, or a damaged one passes."""
    bomb = {f"landmark_images/train/00.A/{k:04}.jpg": bytes(1 << 20) for k in range(20)}
    path = make_zip(tmp_path / "bomb.zip", bomb, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="claim to hold"):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    path = make_zip(tmp_path / "flipped.zip", GOOD)
    path.write_bytes(path.read_bytes().replace(b"one", b"oNe"))
    with pytest.raises(InputError, match="damaged archive"):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged archive"):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    for members, message in (({"x.jpg": b"x"}, "another archive"),
                             (GOOD | {"landmark_images/test/00.B/cccc.jpg": b""}, "called A and B")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            landmarks50.unpack(make_zip(tmp_path / "odd.zip", members), tmp_path / "d", progress=False)
    assert not list((tmp_path / "d").rglob("*.csv"))


def test_unpack_killed_at_random_moments(tmp_path):
    """Fails when a killed conversion leaves half an image, or debris, or another result."""
    members = {
        f"landmark_images/train/0{k % 3}.N{k % 3}/{k:04}.jpg": random.Random(k).randbytes(9999) for k in range(300)
    }
    path = make_zip(tmp_path / "a.zip", members)
    landmarks50.unpack(path, tmp_path / "whole", progress=False)
    for count in (1, 60, 200):
        process = child(landmarks50.unpack, path, tmp_path / "d", False)
        while process.is_alive() and len(list(tmp_path.glob("d/train/*/*/*/*.jpg"))) < count:
            time.sleep(0.001)
        process.kill()
        process.join()
    (tmp_path / "d/train/0/0/0/.0000.jpg.x.part").write_bytes(b"half")
    landmarks50.unpack(path, tmp_path / "d", progress=False)
    assert tree(tmp_path / "d") == tree(tmp_path / "whole") and not (tmp_path / ".a.zip.lock").exists()


def test_unpack_goes_on_and_spares_other_data(tmp_path, monkeypatch):
    """Fails when a stopped conversion starts anew or differs, or the tables of another data set are overwritten."""
    members = {f"landmark_images/train/0{k % 3}.N{k % 3}/{k:04}.jpg": bytes([k]) * 50 for k in range(12)}
    path = make_zip(tmp_path / "a.zip", members)
    landmarks50.unpack(path, tmp_path / "whole", progress=False)
    write, left = files.atomic_path, iter(range(5))
    monkeypatch.setattr(
        landmarks50, "atomic_path", lambda target: write(target) if next(left, None) is not None else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    written = []
    monkeypatch.setattr(landmarks50, "atomic_path", lambda target: written.append(target) or write(target))
    landmarks50.unpack(path, tmp_path / "d", progress=False)
    assert tree(tmp_path / "d") == tree(tmp_path / "whole") and len(written) == 12 - 5
    (tmp_path / "d/train.csv").write_text("id,url,landmark_id\nzzzz,,7\n")
    with pytest.raises(InputError, match="another data set"):
        landmarks50.unpack(path, tmp_path / "d", progress=False)
    assert "zzzz" in (tmp_path / "d/train.csv").read_text()
