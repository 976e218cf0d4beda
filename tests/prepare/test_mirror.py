"""The public layout in small: what is downloaded from it is the world it was made of."""

import os
import time

import pandas as pd
import pytest

from landmark.course import samples
from landmark.data.archives import ImageStore
from landmark.data.folder import GoogleLandmarks
from landmark.data.images import image_path
from landmark.prepare import mirror as mirrors
from landmark.prepare import sources
from landmark.prepare.download import fetch_data
from landmark.prepare.mirror import make_mirror, serve
from landmark.utils.errors import InputError


@pytest.fixture(scope="module")
def mirror(world, tmp_path_factory):
    return make_mirror(world, tmp_path_factory.mktemp("mirror") / "m", tars=2)


def test_downloaded_is_what_was_served(world, mirror, tmp_path):
    """Fails when a TAR, a sum or a table of the mirror is not laid out as the public servers' are."""
    with serve(mirror) as url:
        fetch_data(sources.gldv2(tmp_path, shards="0-1", mirror=url), yes=True, progress=False)
    store, train = ImageStore(tmp_path, "train"), pd.read_csv(world / "train.csv", dtype=str)
    assert set(train["id"]) <= set(store.ids())
    for image_id in train["id"].head(5):
        assert store.read(image_id) == image_path(world, "train", image_id).read_bytes()
    assert GoogleLandmarks(tmp_path).train.equals(GoogleLandmarks(world).train)
    listed = GoogleLandmarks(tmp_path).labelled(clean=True)
    assert sorted(listed["id"]) == sorted(train["id"])


def test_the_course_subset(world, mirror, tmp_path):
    """Fails when the ZIP's names, numbers or ids do not survive the way into the GLDv2 layout."""
    with serve(mirror) as url:
        fetch_data(sources.landmarks50(tmp_path, mirror=url), yes=True, progress=False)
    data, whole = GoogleLandmarks(tmp_path), GoogleLandmarks(world)
    ids = [*data.train["id"], *data.test["id"]]
    assert sorted(ids) == sorted(whole.train["id"])
    assert set(samples.names_of(data).values()) <= set(samples.names_of(whole).values())


def test_two_processes_lay_out_one_mirror(world, mirror, tmp_path, monkeypatch):
    """Fails when one of two takes away what the other lays out, or both write into the same TAR."""
    pack, several, files = mirrors._pack, [], sorted(p for p in mirror.rglob("*") if p.is_file() and p.suffix != ".zip")
    monkeypatch.setattr(mirrors, "_pack", lambda *args: pack(*args) or time.sleep(0.05))  # so that they meet
    for _ in range(3):
        several.append(os.fork())
        if not several[-1]:
            code = 1
            try:
                out = make_mirror(world, tmp_path / "m", tars=2)
                code = 0 if all((out / p.relative_to(mirror)).read_bytes() == p.read_bytes() for p in files) else 2
            finally:
                os._exit(code)
        time.sleep(0.12)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in several] == [0] * 3
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_another_folder_is_left_alone(world, tmp_path):
    """Fails when a mirror is laid out over somebody's files."""
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="not a mirror"):
        make_mirror(world, tmp_path)
