"""The renderer, against geometry by hand."""

import numpy as np
import pytest

from landmark.world.render import renderer, shapes
from landmark.world.render.camera import Camera


def test_a_face_covers_the_pixels_it_projects_to():
    """Fails when the picture is mirrored, upside down, or drawn from behind."""
    camera = Camera(np.array([0.0, -10, 0]), np.array([0.0, 0, 0]), 90.0, 40, 40)
    points = [[(0, 0, 0), (5, 0, 0), (5, 0, 5), (0, 0, 5)]]  # to the right and above, facing us
    textures = renderer.Textures.of(np.full((1, 16, 16, 4), (200, 100, 50, 0), np.uint8))
    light = renderer.Light(np.array([0, -1.0, 0]), np.ones(3), np.zeros(3), np.ones(3))
    frame = renderer.Frame(camera)
    frame.draw(shapes.quads(points, (1, 1), 0), textures, light)
    rows, columns = np.nonzero(frame.colour.any(-1))
    found = np.array([rows.min(), rows.max(), columns.min(), columns.max()])
    assert np.abs(found - [10, 19, 20, 29]).max() <= 1, "edges are drawn, so a pixel more is right"
    assert frame.inverse_depth[15, 25] == pytest.approx(0.1)
    behind = renderer.Frame(camera)
    behind.draw(shapes.quads(np.array(points)[:, ::-1], (1, 1), 0), textures, light)
    assert not behind.colour.any()


def test_the_nearer_face_wins_in_any_order():
    """Fails when the depth buffer is a painter's order in disguise."""
    camera = Camera(np.array([0.0, -10, 0]), np.array([0.0, 0, 0]), 90.0, 20, 20)
    colours = np.zeros((2, 16, 16, 4), np.uint8)
    colours[0, ..., 0], colours[1, ..., 1] = 200, 200
    square = np.array([[(-20, 0, -20), (20, 0, -20), (20, 0, 20), (-20, 0, 20)]], float)
    light = renderer.Light(np.array([0, -1.0, 0]), np.ones(3), np.zeros(3), np.ones(3))
    for order in ([0, 1], [1, 0]):
        frame = renderer.Frame(camera)
        for which in order:
            frame.draw(
                shapes.quads(square + (0, [5, 0][which], 0), (1, 1), which), renderer.Textures.of(colours), light
            )
        assert frame.colour[10, 10].argmax() == 1


def test_shadow_falls_away_from_the_sun():
    """Fails when shadows point to the sun or lit ground is dark."""
    frame = renderer.Frame(Camera(np.array([0.0, -30, 10]), np.zeros(3), 60.0, 8, 8))
    light = renderer.Light(np.array([1, 0, 1]) / 2**0.5, np.ones(3), np.zeros(3), np.ones(3))
    frame.cast_shadows(shapes.box(4, 4, 10), light)
    east, west = frame.sunlight(np.array([[6, 0, 0], [-6, 0, 0]], np.float32), light)
    assert east == 1 and west < 0.3
