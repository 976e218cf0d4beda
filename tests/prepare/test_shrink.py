"""The reduced data set: right pixels, the same bytes however often it was killed, nothing lost and nothing overwritten."""

import errno
import hashlib
import io
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark.data.archives import ImageStore
from landmark.data.images import image_path, read_image
from landmark.prepare import shrink as module
from landmark.prepare.shrink import shrink_data, shrink_image
from landmark.utils.errors import ImageError, InputError
from landmark.utils.locks import alone

SMALL = {"size": 32, "shard_bytes": 10_000, "progress": False}


def jpeg(width, height, seed=0, mode="RGB", **options):
    shape = (height // 8 + 1, width // 8 + 1, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    packed = io.BytesIO()
    image.save(packed, options.pop("format", "JPEG"), **options)
    return packed.getvalue()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Forty train images in two TARs and four loose ones, three of them broken; two test images; a table."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    names = [random.bytes(8).hex() for _ in range(44)]
    held = {name: jpeg(90 + i, 70, seed=i) for i, name in enumerate(names)}
    held[names[3]], held[names[20]], held[names[43]] = b"<html>", held[names[20]][:900], b""
    (root / "train").mkdir()
    for i in range(2):
        with tarfile.open(root / f"train/images_{i:03d}.tar", "w") as tar:
            for name in names[i * 20 : i * 20 + 20]:
                info = tarfile.TarInfo(f"{'/'.join(name[:3])}/{name}.jpg")
                info.size = len(held[name])
                tar.addfile(info, io.BytesIO(held[name]))
    for split, loose in (("train", names[40:]), ("test", names[:2])):
        for name in loose:
            path = image_path(root, split, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(held[name])
    (root / "train.csv").write_text("id,url,landmark_id\n")
    return root, held, {names[3], names[20], names[43]}


def digests(out):
    return {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.glob("*/*.tar")}


@pytest.fixture(scope="module")
def reference(data, tmp_path_factory):
    """The uninterrupted result."""
    out = tmp_path_factory.mktemp("reference") / "small"
    return out, shrink_data(data[0], out, workers=0, **SMALL)


def test_layout_and_content(data, reference):
    """Fails when an image is lost, moved, badly scaled, or a TAR of the result is not one the store can read."""
    root, held, broken = data
    out, told = reference
    store = ImageStore(out, "train")
    assert set(store.ids()) == set(held) - broken and told.images == 43 and len(store.tars) > 3
    assert told.tars == len(digests(out)) and told.bytes == sum(p.stat().st_size for p in out.glob("*/*.tar"))
    assert all(p.stat().st_size <= 10_240 for p in out.glob("*/*.tar"))
    assert {(item["split"], item["id"]) for item in told.bad} == {("train", name) for name in broken}
    reasons = {item["id"]: item["reason"] for item in told.bad}
    listed = json.loads((out / "shrink.json").read_text())["splits"]["train"]["bad"]
    assert {item["id"]: item["reason"] for item in listed} == reasons and "empty file" in reasons.values()
    assert (out / "train.csv").read_bytes() == (root / "train.csv").read_bytes()
    assert len(ImageStore(out, "test").ids()) == 2
    for name in set(held) - broken:
        image = Image.open(io.BytesIO(store.read(name)))
        whole = read_image(held[name])
        assert image.format == "JPEG" and min(image.size) == 32 and not image.getexif()
        assert image.width == round(whole.width * 32 / whole.height)
        expected = np.asarray(whole.resize(image.size, Image.Resampling.LANCZOS), float)
        assert np.abs(np.asarray(image, float) - expected).mean() < 12
    order = [name.decode() for name in ImageStore(root, "train").reading_order()]
    assert [name.decode() for name in store.reading_order()] == [name for name in order if name not in broken]


@pytest.mark.parametrize(
    ("data_", "expected"),
    [
        (jpeg(400, 100), (128, 32)),
        (jpeg(100, 400), (32, 128)),
        (jpeg(31, 20), (31, 20)),
        (jpeg(32, 900), (32, 900)),
        (jpeg(300, 100, mode="CMYK"), (96, 32)),
        (jpeg(300, 100, mode="L"), (96, 32)),
        (jpeg(300, 100, mode="RGBA", format="PNG"), (96, 32)),
        (jpeg(300, 100, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"), (32, 96)),
    ],
)
def test_size_of_one_image(data_, expected):
    """Fails when an image is enlarged, squashed, lies on its side, or is not RGB."""
    image = Image.open(io.BytesIO(shrink_image(data_, 32, 85)))
    assert image.size == expected and image.mode == "RGB" and image.format == "JPEG"


def test_reduced_decoding_keeps_detail():
    """Fails when the decoder goes below the size that is asked for, so that the result is blurred."""
    data = jpeg(1000, 800, quality=95)
    packed = io.BytesIO()
    read_image(data).resize((320, 256), Image.Resampling.LANCZOS).save(packed, "JPEG", quality=95)
    exact = Image.open(packed)
    found = Image.open(io.BytesIO(shrink_image(data, 256, 95)))
    assert np.abs(np.asarray(found, float) - np.asarray(exact, float)).mean() < 3
    with pytest.raises(ImageError, match="empty file"):
        shrink_image(b"", 256, 95)


def test_workers_change_nothing(data, reference, tmp_path):
    """Fails when the order or the bytes depend on the number of processes, or a second call does anything."""
    out, told = reference
    assert shrink_data(data[0], tmp_path / "two", workers=2, **SMALL) == told
    assert digests(tmp_path / "two") == digests(out)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "two").glob("*/*.tar")}
    assert shrink_data(data[0], tmp_path / "two", workers=0, **SMALL) == told
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "two").glob("*/*.tar")} == before


def child(root, out, workers):
    code = f"from landmark.prepare.shrink import shrink_data as shrink; shrink({str(root)!r}, {str(out)!r}, workers={workers}, **{SMALL!r})"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def fork_and_kill(root, out, number):
    """Run shrink in a forked child that is killed at its `number`-th write to a TAR or the state; True when it ended."""
    pid = os.fork()
    if pid == 0:
        seen = [0]

        def counted(function):
            def call(*args, **kwargs):
                seen[0] += 1
                if seen[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return call

        tarfile.TarFile.addfile = counted(tarfile.TarFile.addfile)
        os.replace = counted(os.replace)
        os.fsync = counted(os.fsync)
        json.dumps = counted(json.dumps)
        try:
            shrink_data(root, out, workers=0, **SMALL)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def test_killed_at_every_step(data, reference, tmp_path):
    """Fails when a kill between any two writes loses a TAR, leaves one half-written or changes a byte."""
    out = tmp_path / "out"
    ended, kills = False, 0
    while not ended:  # each call dies a few writes after the one before, always on what that one left
        kills += 1
        ended = fork_and_kill(data[0], out, 17)
        for path in out.glob("*/*.tar"):
            assert (
                digests(out)[path.relative_to(out).as_posix()]
                == digests(reference[0])[path.relative_to(out).as_posix()]
            )
        assert kills < 60
    assert kills > 4 and digests(out) == digests(reference[0])
    assert shrink_data(data[0], out, workers=0, **SMALL) == reference[1]
    for number in range(1, 24, 2):
        again = tmp_path / f"again{number}"
        assert not fork_and_kill(data[0], again, number)
        assert shrink_data(data[0], again, workers=0, **SMALL) == reference[1] and digests(again) == digests(
            reference[0]
        )
        assert not list(again.glob("**/.*.part"))


def test_killed_with_workers(data, reference, tmp_path):
    """Fails when SIGKILL leaves workers that hold the folder, or the next call cannot go on at once."""
    out = tmp_path / "out"
    process = child(data[0], out, 2)
    deadline = time.monotonic() + 60
    while not list(out.glob("train/*.tar")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert shrink_data(data[0], out, workers=2, **SMALL) == reference[1] and digests(out) == digests(reference[0])
    process.communicate(timeout=30)  # the output ends with the last of the workers


@pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="a worker is told to die by a patch it inherits"
)
def test_a_killed_worker_is_one_line(data, reference, tmp_path, monkeypatch):
    """Fails when a worker that the system kills for its memory ends in a traceback, a wait, or a start from nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "shrink_image", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(InputError, match="a worker process was killed .*: with fewer workers, the same command"):
            shrink_data(data[0], tmp_path / "out", workers=2, **SMALL)
    assert shrink_data(data[0], tmp_path / "out", workers=2, **SMALL) == reference[1]


def test_a_tar_that_went_missing_is_made_again(data, reference, tmp_path):
    """Fails when a damaged or deleted TAR of the result stays lost, or its bad images are counted twice."""
    out = tmp_path / "out"
    shrink_data(data[0], out, workers=0, **SMALL)
    (out / "train/images_001.tar").write_bytes(b"short")
    (out / "train/images_003.tar").unlink()
    assert shrink_data(data[0], out, workers=0, **SMALL) == reference[1] and digests(out) == digests(reference[0])


@pytest.mark.parametrize("change", [{"size": 48}, {"quality": 70}, {"shard_bytes": 20_000}])
def test_other_settings_are_refused(data, reference, change):
    """Fails when two sizes are mixed in one folder, or the message does not say what differs."""
    before = digests(reference[0])
    name, value = next(iter(change.items()))
    with pytest.raises(InputError, match=rf"a shrink of other settings \({name}: \d+ → {value}\)"):
        shrink_data(data[0], reference[0], workers=0, **SMALL | change)
    assert digests(reference[0]) == before


def test_refused_folders(data, tmp_path, reference):
    """Fails when anything that shrink did not write is overwritten, or another data set continues this one."""
    root = data[0]
    files = {path: path.read_bytes() for path in root.glob("*/*.tar")}
    with pytest.raises(InputError, match=r"train\.csv, which no shrink wrote|test, which no shrink wrote"):
        shrink_data(root, root, **SMALL)
    assert files == {path: path.read_bytes() for path in root.glob("*/*.tar")}
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.txt, which no shrink wrote"):
        shrink_data(root, tmp_path / "other", **SMALL)
    assert sorted(p.name for p in (tmp_path / "other").iterdir() if p.name[0] != ".") == ["thesis.txt"]
    with pytest.raises(InputError, match="no such folder"):
        shrink_data(tmp_path / "absent", tmp_path / "x", **SMALL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in train or test"):
        shrink_data(tmp_path / "empty", tmp_path / "x", **SMALL)
    assert not (tmp_path / "x").exists()
    for bad in ({"size": 0}, {"size": 32, "quality": 0}):
        with pytest.raises(InputError, match="give at least"):
            shrink_data(root, tmp_path / "x", **bad)
    path = image_path(tmp_path / "changed", "train", "f" * 16)
    path.parent.mkdir(parents=True)
    path.write_bytes(jpeg(40, 40))
    with pytest.raises(InputError, match=r"the images of train have changed since \(44 images then, 1 now\)"):
        shrink_data(tmp_path / "changed", reference[0], **SMALL)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": []}', '{"settings": {}, "splits": {"train": 1}}'])
def test_damaged_state(data, tmp_path, text):
    """Fails when a state that makes no sense ends in a traceback or in guesses."""
    (tmp_path / "shrink.json").write_text(text)
    with pytest.raises(InputError, match=r"shrink\.json: damaged: delete"):
        shrink_data(data[0], tmp_path, workers=0, **SMALL)


def test_too_little_space(data, tmp_path, monkeypatch):
    """Fails when days of work start on a disk that cannot hold the result."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("landmark.utils.errors.shutil.disk_usage", lambda path: usage(10, 9, 1000))
    with pytest.raises(InputError, match=r"out: need .* kB, have 1.0 kB free: make room"):
        shrink_data(data[0], tmp_path / "out", workers=0, **SMALL)
    assert not list((tmp_path / "out").glob("*/*.tar"))


def test_disk_full(data, reference, tmp_path, monkeypatch):
    """Fails when a full disk ends in a traceback, leaves half a TAR, or the next call starts from nothing."""
    calls = []

    def full(number):
        calls.append(number)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(InputError, match="No space left on device, .* free.*goes on") as error:
            shrink_data(data[0], tmp_path / "out", workers=0, **SMALL)
    assert "\n" not in str(error.value) and len(digests(tmp_path / "out")) == 2
    assert shrink_data(data[0], tmp_path / "out", workers=0, **SMALL) == reference[1]
    assert digests(tmp_path / "out") == digests(reference[0])


def test_file_size_limit(data, tmp_path):
    """Fails when an error while a TAR is written leaves it under its final name."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        try:
            shrink_data(data[0], tmp_path / "out", workers=0, **SMALL)
        except InputError as error:
            os._exit(0 if "goes on" in str(error) and "\n" not in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not list((tmp_path / "out").glob("*/*.tar")) and not list((tmp_path / "out").glob("**/.*.part"))


def test_changed_input_stops_with_one_line(data, tmp_path, monkeypatch):
    """Fails when a TAR that changes under the workers is quarantined image by image, or ends in their traceback."""
    root = tmp_path / "d"
    (root / "train").mkdir(parents=True)
    (root / "train/images_000.tar").write_bytes(Path(data[0] / "train/images_000.tar").read_bytes())
    begin = module._State.begin

    def touched(self, *args):
        begin(self, *args)
        os.utime(
            root / "train/images_000.tar", ns=(1, os.stat(root).st_mtime_ns - len(list(tmp_path.iterdir())) * 10**9)
        )

    monkeypatch.setattr(module._State, "begin", touched)
    for workers in (0, 2):
        with pytest.raises(InputError, match=r"images_000\.tar: changed") as error:
            shrink_data(root, tmp_path / f"out{workers}", workers=workers, **SMALL)
        assert "\n" not in str(error.value)


def test_a_wrong_place_is_told_before_the_images_are_looked_at(data, tmp_path, monkeypatch):
    """Fails when 500 TARs are read before a place below a file, or a folder of other things, is refused."""
    monkeypatch.setattr(module, "ImageStore", lambda *args: pytest.fail("the images were looked at"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("mine")
    for out, why in (
        ("file/out", "file/out: cannot be written.*Not a directory.*put it right"),
        ("other", "no shrink wrote"),
    ):
        with pytest.raises(InputError, match=why):
            shrink_data(data[0], tmp_path / out, workers=0, **SMALL)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "other", "thesis.tex"]


def test_one_at_a_time(data, tmp_path):
    """Fails when two processes may write into the same folder."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with alone(tmp_path / "out" / ".lock"):
            os.write(write, b"x")
            time.sleep(60)
        os._exit(0)
    try:
        os.read(read, 1)
        with pytest.raises(InputError, match="another shrink is writing"):
            shrink_data(data[0], tmp_path / "out", workers=0, **SMALL)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert shrink_data(data[0], tmp_path / "out", workers=0, **SMALL).images == 43
