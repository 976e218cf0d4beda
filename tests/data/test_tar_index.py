"""Where images lie in a TAR, against the standard library's own reading; a stored index that is not believed blindly."""

import os
import pickle
import tarfile

import numpy as np
import pytest

from landmark.data import tar_index
from landmark.data.archives import ImageStore
from landmark.utils.errors import ArchiveError
from landmark.utils.files import CacheFile, cache_path
from tests.tars import header, member, raw_tar, write_tar


def index_of(tar, **more):
    return tar_index.tar_index(tar, CacheFile(tar.parent, tar.name + ".npz"), **more)


def test_the_index_is_what_tarfile_says(data):
    """Fails when an offset points at a header, a size is padded, ids are not in order, or a second image is lost."""
    root, held = data
    for tar in sorted(root.glob("train/*.tar")):
        index = index_of(tar)
        with tarfile.open(tar) as archive:
            places = {m.name[6:-4]: (m.offset_data, m.size) for m in archive}
        found = zip(index.ids.astype(str).tolist(), index.offsets.tolist(), index.sizes.tolist(), strict=True)
        assert {image_id: place for image_id, *place in found} == {i: list(p) for i, p in sorted(places.items())}
        assert index.ids.tolist() == sorted(index.ids.tolist()) and not index.skipped and not index.fault
        raw = tar.read_bytes()
        for image_id, offset, size in zip(index.ids.astype(str), index.offsets, index.sizes, strict=True):
            assert raw[offset : offset + size] == held[image_id]


def test_other_members_are_counted_by_reason(tmp_path):
    """Fails when a link, a text or an image in the wrong folder becomes an image, or is passed over in silence."""
    tar = tmp_path / "images_000.tar"
    tar.write_bytes(raw_tar(
        header(member("0123"), 3), b"jpg", header("README.txt", 2), b"hi", header("1/2/3/0123.jpg", 1), b"x",
        header(member("4567"), kind=tarfile.SYMTYPE, link="/etc/passwd"), header("0/1/", kind=tarfile.DIRTYPE),
        header("../0/1/2/0129.jpg", 1), b"x",
    ))  # fmt: skip
    index = index_of(tar)
    assert index.ids.tolist() == [b"0123"]
    assert index.skipped == {"not an image": 1, "misplaced image": 1, "link": 1, "unsafe path": 1}


def test_an_empty_tar_and_its_padding(tmp_path):
    """Fails when a TAR without members is an error, or the zeros behind the last member are not counted."""
    index = index_of(write_tar(tmp_path / "images_000.tar", {}))
    assert len(index.ids) == 0 and index.zeros == tarfile.RECORDSIZE
    (tmp_path / "images_001.tar").write_bytes(raw_tar(header(member("0123"), 1), b"x"))
    assert index_of(tmp_path / "images_001.tar").zeros == 1024


def test_a_damaged_tar_is_refused_or_salvaged_and_never_kept(tmp_path):
    """Fails when half a TAR is taken for a whole one, salvage loses what is there, or such an index is believed later."""
    whole = raw_tar(header(member("0123"), 600), b"a" * 600, header(member("0456"), 600), b"b" * 600)
    tar = tmp_path / "images_000.tar"
    tar.write_bytes(whole[: 512 + 1024 + 512 + 100])
    with pytest.raises(ArchiveError, match="images_000.tar.*fetch it again"):
        index_of(tar)
    index = index_of(tar, salvage=True)
    assert index.ids.tolist() == [b"0123", b"0456"] and index.sizes.tolist() == [600, 100] and "0456" in index.fault
    assert not list(tmp_path.rglob("*.npz"))
    with pytest.raises(ArchiveError):
        index_of(tar)
    tar.write_bytes(whole)
    assert index_of(tar).sizes.tolist() == [600, 600] and len(list(tmp_path.rglob("*.npz"))) == 1


def test_index_is_made_once(data, monkeypatch):
    """Fails when a TAR is walked again although its index is there."""
    root, held = data
    ImageStore(root, "train")
    monkeypatch.setattr(tar_index, "_walk", lambda tar: pytest.fail("walked again"))
    assert ImageStore(root, "train").ids() == sorted(held)


class Payload:
    """Unpickling it leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (self.trace, "w")


def test_planted_index_is_made_again(data, tmp_path):
    """Fails when a cache file that is pickled, damaged, another TAR's or leads out of the TAR is believed."""
    root, held = data
    ImageStore(root, "train")
    cache = cache_path(root, "train/images_000.tar.npz")
    good = dict(np.load(cache))
    trace = tmp_path / "trace"
    evil = np.array([Payload(str(trace))], object)
    last = good["offsets"].copy()
    last[-1] = good["bound"][1]
    plants = [
        b"",
        b"PK\x03\x04 not a zip",
        pickle.dumps(Payload(str(trace))),
        cache.read_bytes()[:-40],
        cache_path(root, "train/images_001.tar.npz").read_bytes(),
        good | {"ids": evil},
        good | {"ids": np.array([b"../../secret"] * len(good["ids"]))},
        good | {"offsets": last},
        good | {"offsets": -good["offsets"]},
        good | {"sizes": good["sizes"] + (1 << 40)},
        good | {"sizes": np.full_like(good["sizes"], 2**63 - 1)},
        good | {"offsets": good["offsets"][:-1]},
        good | {"offsets": good["offsets"].astype(float)},
        good | {"bound": good["bound"] + np.array([1, 0, 0, 0])},
        good | {"skipped": np.array("[1]")},
    ]
    for number, plant in enumerate(plants):
        if isinstance(plant, bytes):
            cache.write_bytes(plant)
        else:
            np.savez(cache, **plant)
        store = ImageStore(root, "train")
        assert {name: store.read(name) for name in store.ids()} == held, number
        assert not trace.exists(), number
    assert (np.load(cache)["ids"] == good["ids"]).all()
    cache.unlink()
    os.mkfifo(cache)
    assert ImageStore(root, "train").ids() == sorted(held)
