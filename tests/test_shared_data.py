"""Data that belongs to somebody else: what is worked out about it is kept elsewhere, or not at all, and all goes well."""

import errno
import io
import json
import os
import shutil
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from landmark.data import tables, tar_index
from landmark.data.archives import ImageStore
from landmark.prepare import inspection
from landmark.prepare.check import check_data
from landmark.training.splits import split_dev
from landmark.utils import files

NOBODY = 65534
IDS = [f"{i:x}" * 16 for i in range(12)]


def add_tar(root, number):
    """Four images of two landmarks, in a TAR."""
    (root / "train").mkdir(exist_ok=True)
    with tarfile.open(root / f"train/images_{number:03d}.tar", "w") as tar:
        for i, image_id in enumerate(IDS[4 * number : 4 * number + 4]):
            out = io.BytesIO()
            grid = np.random.default_rng(4 * number + i).integers(0, 256, (6, 8, 3)).astype(np.uint8)
            Image.fromarray(grid).resize((64, 48)).save(out, "JPEG")
            info = tarfile.TarInfo(f"{'/'.join(image_id[:3])}/{image_id}.jpg")
            info.size = out.tell()
            tar.addfile(info, io.BytesIO(out.getvalue()))


def use(root, walked=None):
    """Everything that keeps something about a data folder; returns what it found."""
    root = Path(root)
    with ExitStack() as stack:
        stack.enter_context(patch.object(inspection, "SEGMENT", 5))
        stack.enter_context(patch.object(tables, "CACHED_FROM", 1))
        if walked is not None:
            walk = tar_index._walk
            stack.enter_context(patch.object(tar_index, "_walk", lambda *a: walked.append(a[0].name) or walk(*a)))
        report = check_data(root, progress=False)
        table = tables.read_train(root / "train.csv")
        rows = table[table["id"].isin(ImageStore(root, "train", progress=False).ids())]
        split = split_dev(rows, root, 0.3)
    return [report.images, report.archive_errors, table["id"].tolist(), sorted([*split.train["id"], *split.dev["id"]])]


@pytest.fixture
def shared(monkeypatch):
    """A data folder that a group may write to, below one that all may enter, and a cache of the caller's."""
    place = Path(tempfile.mkdtemp(prefix="landmark-shared-"))
    place.chmod(0o755)
    root, own = place / "data", place / "own"
    root.mkdir()
    own.mkdir()
    add_tar(root, 0)
    add_tar(root, 1)
    rows = "".join(f"{image_id},https://example.org/x.jpg,{i % 2}\n" for i, image_id in enumerate(IDS))
    (root / "train.csv").write_text("id,url,landmark_id\n" + rows)
    if os.getuid() == 0:
        os.chown(root, 0, NOBODY)
        os.chown(own, NOBODY, NOBODY)
    root.chmod(0o2775)
    monkeypatch.setenv("LANDMARK_DATA", str(own))
    yield root, own
    for folder in [place, *place.rglob("*")]:
        if folder.is_dir():
            folder.chmod(0o755)
    shutil.rmtree(place)


def as_another_user(root, work):
    """What `work` returns when a member of the folder's group calls it, who is not the one that made `.landmark`.

    An ordinary user can be nobody else: for them the mode bits of `.landmark` forbid to write.
    """
    if os.getuid():
        for folder in [root / ".landmark", *(root / ".landmark").rglob("*")]:
            if folder.is_dir():
                folder.chmod(0o555)
        return json.loads(json.dumps(work()))
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            told = work()
        except BaseException as error:
            told = repr(error)
        os.write(theirs, json.dumps(told).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as file:
        told = json.load(file)
    os.waitpid(child, 0)
    return told


def all_found(count):
    return [{"train": count}, [], IDS, IDS[:count]]


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_another_user_of_the_group(shared, mode):
    """Fails when one who may write to the data, but not to what another one has kept there, can do nothing with it."""
    root, own = shared
    assert use(root) == all_found(8)
    (root / ".landmark").chmod(mode)
    before = {path: path.stat().st_mtime_ns for path in (root / ".landmark").rglob("*")}
    add_tar(root, 2)

    def work():
        walked = []
        return [use(root, walked), use(root, walked), sorted(set(walked)), len(walked)]

    first, second, names, count = as_another_user(root, work)
    assert first == second == all_found(12)
    expected = 1 if mode == 0o755 or os.getuid() else 3  # what the other one has kept is read where it may be read
    assert len(names) == count == expected, "an index is made once for each user"
    assert {path: path.stat().st_mtime_ns for path in (root / ".landmark").rglob("*")} == before
    assert len(list(own.rglob("*.tar.npz"))) == expected


def test_no_place_at_all(shared):
    """Fails when data that is read-only cannot be used where the caller's own cache cannot be written either."""
    root, own = shared
    use(root)
    add_tar(root, 2)
    own.chmod(0o555)
    if os.getuid() == 0:
        os.chown(own, 0, 0)
    assert as_another_user(root, lambda: use(root)) == all_found(12)
    assert not list(own.iterdir())


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_disk_that_takes_nothing(shared, monkeypatch, code, everywhere):
    """Fails when a full or read-only disk, whose rights say nothing of it, ends the work instead of costing a cache."""
    root, own = shared
    real = files.os.open

    def refuse(path, *args, **more):
        if Path(path).suffix == ".part" and (everywhere or Path(path).is_relative_to(root)):
            raise OSError(code, os.strerror(code))
        return real(path, *args, **more)

    monkeypatch.setattr(files.os, "open", refuse)
    assert use(root) == all_found(8)
    assert bool(list(own.rglob("*.npz"))) == (not everywhere)


@pytest.mark.parametrize("what", ["a file", "a link to nowhere", "read-only"])
def test_something_in_the_way(shared, what):
    """Fails when a `.landmark` that is no folder, or one that is marked read-only, is an error or is written to."""
    root, own = shared
    place = root / ".landmark"
    if what == "a file":
        place.write_text("mine")
    elif what == "read-only":
        place.mkdir(mode=0o555)
    else:
        place.symlink_to(root / "nowhere")
    assert use(root) == all_found(8) and list(own.rglob("*.tar.npz"))
    assert not (root / "nowhere").exists() and not (place.is_dir() and list(place.iterdir()))
