"""Photographs of landmarks, and planted faults that are in the bytes."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from landmark.data.images import read_image
from landmark.utils.errors import ImageError
from landmark.world import photographs
from landmark.world.landmarks import design
from landmark.world.photographs import VIEWS, photograph
from landmark.world.plan import Shot

SHOT = Shot("train", "0" * 16, 1, (2, 3), 1, size=64, seed=(0, 0, 32, 5))


def opened(**changes):
    return Image.open(io.BytesIO(photographs._picture(replace(SHOT, **changes))))


def difference(a, b):
    return np.abs(np.asarray(a.convert("RGB"), float) - np.asarray(b.convert("RGB"), float)).mean()


@pytest.fixture(scope="module")
def sound():
    return opened()


def test_the_longer_side_is_as_asked():
    """Fails when a portrait is larger than a landscape, or the picture is not that of its numbers."""
    for seed in range(6):
        picture, view = photograph(design(3), np.random.default_rng(seed), 64)
        assert max(picture.shape) == 64 and picture.dtype == np.uint8 and view in VIEWS
        assert np.array_equal(picture, photograph(design(3), np.random.default_rng(seed), 64)[0])
    assert sum(VIEWS.values()) == pytest.approx(1)


def test_nearer_views_show_more_of_the_landmark(monkeypatch):
    """Fails when far and near change places: pixels that show the landmark, over some seeds."""
    covered = {}
    draw = photographs.Frame.draw

    def counted(self, mesh, *args, **more):
        covered.setdefault(view, []).append(float((self._cover(mesh) >= 0).mean()))
        self.inverse_depth[:] = 0
        draw(self, mesh, *args, **more)

    monkeypatch.setattr(photographs.Frame, "draw", counted)
    for view in ("far", "whole", "near"):
        for seed in range(4):
            photograph(design(3), np.random.default_rng(seed), 48, view)
    far, whole, near = (np.mean(covered[view]) for view in ("far", "whole", "near"))
    assert far < whole < near


def test_nobody_enters_what_has_no_hall():
    """Fails when a landmark without a hall is photographed from inside, or one with a hall never is."""
    landmarks = [design(seed) for seed in range(12)]
    for landmark in landmarks:
        _, view = photograph(landmark, np.random.default_rng(0), 32, "inside")
        assert view == ("whole" if landmark.hall is None else "inside")
    assert len({landmark.hall is None for landmark in landmarks}) == 2


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_rotated_picture_is_turned(sound, turn):
    """Fails when the picture is turned the other way, or by another angle."""
    turned = opened(fault="rotated", rotation=turn)
    back = {other: turned.rotate(-other, expand=True) for other in (0, 90, 180, 270)}
    apart = {other: difference(picture, sound) for other, picture in back.items() if picture.size == sound.size}
    assert apart.pop(turn) < 0.3 * min(apart.values())
    assert turned.getexif().get(0x0112, 1) == 1, "nothing may say how to turn it back"


def test_a_turned_picture_with_its_tag_reads_as_it_was(sound):
    """Fails when the tag of the camera does not turn the picture back."""
    stored = opened(fault="exif", rotation=90)
    assert stored.size == sound.size[::-1] and difference(ImageOps.exif_transpose(stored), sound) < 3


@pytest.mark.parametrize(("fault", "mode"), [("grey", "L"), ("cmyk", "CMYK")])
def test_pictures_in_other_colours(sound, fault, mode):
    """Fails when a planted kind of colour is not in the file, or is that of another picture."""
    picture = opened(fault=fault)
    assert picture.mode == mode and difference(picture.convert("L"), sound.convert("L")) < 4


def test_a_duplicate_is_the_same_photograph_in_other_bytes(sound):
    """Fails when a planted duplicate is another photograph, or the very same file."""
    again = photographs._picture(replace(SHOT, fault="duplicate"))
    assert again != photographs._picture(SHOT)
    other = opened(seed=(0, 0, 32, 6)).resize(sound.size)
    assert difference(Image.open(io.BytesIO(again)), sound) < 0.3 * difference(other, sound)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_planted_as_unreadable_is(which):
    """Fails when a planted file that ends early, is empty or is a web page can be read after all."""
    with pytest.raises(ImageError):
        read_image(photographs._picture(replace(SHOT, fault="unreadable", rotation=which)))


def test_a_file_that_is_there_is_not_made_again(tmp_path):
    """Fails when a world that goes on renders all pictures anew, or a picture is not that of its shot."""
    assert photographs._shoot([SHOT], tmp_path) == 1
    (path,) = tmp_path.rglob("*.jpg")
    assert path.read_bytes() == photographs._picture(SHOT)
    path.write_bytes(b"there")
    photographs._shoot([SHOT], tmp_path)
    assert path.read_bytes() == b"there"
