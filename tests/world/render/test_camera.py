"""The camera, against geometry by hand."""

import numpy as np
import pytest

from landmark.world.render.camera import Camera


def test_directions_by_hand():
    """Fails when east is left, up is down, or what is nearer looks smaller: 90 degrees see 10 m to each side at 10 m."""
    camera = Camera(np.array([0.0, -10, 2]), np.array([0.0, 0, 2]), 90.0, 60, 40)
    assert camera.focal == pytest.approx(20)
    assert camera.axes() == pytest.approx(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]))
    pixels, depth = camera.project(np.array([[0, 0, 2], [5, 0, 2], [0, 0, 7], [5, 10, 2], [0, -20, 2]]))
    assert pixels[:4] == pytest.approx(np.array([[30, 20], [40, 20], [30, 10], [35, 20]]))
    assert depth == pytest.approx([10, 10, 10, 20, -10])


@pytest.mark.parametrize("roll", [0.0, 20.0])
def test_every_ray_meets_its_pixel(roll):
    """Fails when rays and projection disagree, by half a pixel as well, or the camera's roll turns only one of them."""
    camera = Camera(np.array([3.0, -8, 5]), np.array([1.0, 2, 1]), 50.0, 9, 7, roll)
    pixels, depth = camera.project(camera.eye + 4 * camera.rays())
    x, y = np.meshgrid(np.arange(9) + 0.5, np.arange(7) + 0.5)
    assert pixels == pytest.approx(np.stack([x, y], -1), abs=1e-4) and depth == pytest.approx(np.full((7, 9), 4))


def test_roll_is_clockwise():
    """Fails when the horizon falls to the other side: a camera turned clockwise sees the east rise."""
    level, turned = (Camera(np.array([0.0, -10, 0]), np.zeros(3), 60.0, 60, 40, roll) for roll in (0.0, 30.0))
    assert turned.axes() @ turned.axes().T == pytest.approx(np.eye(3))
    east = np.array([3.0, 0, 0])
    assert turned.project(east)[0][1] < level.project(east)[0][1] - 1
