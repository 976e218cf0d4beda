"""Flat pictures, against areas by hand."""

import numpy as np
import pytest

from landmark.world.render import sprites


def everything():
    yield from ((f"{kind} {i}", sprite) for kind, many in sprites.trees().items() for i, sprite in enumerate(many))
    yield from ((f"person {i}", sprite) for i, sprite in enumerate(sprites.people()))
    yield from sprites.furniture().items()


def test_every_picture_stands_on_its_last_row():
    """Fails when something floats above its place, fills its whole picture, or has colours beyond the scale."""
    for name, sprite in everything():
        cover = sprite[..., 3]
        assert sprite.ndim == 3 and sprite.shape[2] == 4 and np.isfinite(sprite).all(), name
        assert cover.min() == 0 and 0.9 < cover.max() <= 1 + 1e-6, name
        rows = np.nonzero(cover.max(1) > 0.5)[0]
        assert rows.max() >= 0.9 * len(sprite) - 1 and rows.min() < 0.6 * len(sprite), name
        assert 0.03 < cover.mean() < 0.9 and -1e-6 <= sprite[..., :3].min() <= sprite[..., :3].max() < 1.6, name


def test_polygons_and_discs_cover_their_area():
    """Fails when width and height change places, or smoothing moves an edge: a triangle is half its square."""
    triangle = sprites._drawn(60, 40, [((255, 0, 0), [(0, 0), (1, 1), (0, 1)])])
    assert triangle[..., 3].mean() == pytest.approx(0.5, abs=0.02)
    assert triangle[50, 5, 3] == 1 and triangle[5, 35, 3] == 0 and triangle[50, 5, :3].tolist() == [1, 0, 0]
    disc = sprites._drawn(60, 40, [((0, 0, 255), (0.5, 0.5), 0.25)])
    assert disc[..., 3].sum() == pytest.approx(np.pi * 15**2, rel=0.05) and disc[30, 20, :3].tolist() == [0, 0, 1]


def test_the_upper_picture_hides_the_lower_one():
    """Fails when the trunk is seen through the crown, or half a cover is taken for a whole one."""
    top, base = np.zeros((1, 3, 4), np.float32), np.zeros((1, 3, 4), np.float32)
    top[..., 0], base[..., 1] = 1, 1
    top[0, :, 3], base[0, :, 3] = [1, 0.5, 0], [1, 1, 0.5]
    assert sprites._over(top, base)[0].tolist() == [[1, 0, 0, 1], [0.5, 0.5, 0, 1], [0, 1, 0, 0.5]]


def test_pictures_of_a_kind_differ():
    """Fails when a crowd is one person many times, or a wood one tree."""
    for group in [*sprites.trees().values(), sprites.people()]:
        assert len({sprite.tobytes() for sprite in group}) == len(group) > 1
