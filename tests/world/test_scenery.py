"""Surroundings, against geometry and light by hand."""

import numpy as np
import pytest

from landmark.world import scenery
from landmark.world.render.renderer import Frame, Light


def frame_at(height=2.0, target=(0, 100, 2.0), width=60, high=40, fov=60):
    return Frame(scenery.camera_at((0, 0, height), target, fov, width, high))


def light_of(**changes):
    plain = {"sun": np.array([0.0, -0.6, 0.8]), "sun_colour": np.full(3, 0.5), "ambient": np.full(3, 0.5),
             "haze_colour": np.array([0.9, 0.1, 0.1])}  # fmt: skip
    return Light(**plain | changes)


HOURS = ["clear", "golden", "overcast", "fog", "night"]


@pytest.mark.parametrize("hour", HOURS)
def test_hours_differ_as_they_should(hour):
    """Fails when night is bright, the evening sun stands high, fog is clear, or cloud casts shadows."""
    for seed in range(8):
        light = scenery.sample_light(np.random.default_rng(seed), hour)
        height = np.degrees(np.arcsin(light.sun[2]))
        assert np.linalg.norm(light.sun) == pytest.approx(1) and 0 <= light.cloud <= 1
        assert (light.night == 1) == (hour == "night") and (light.ambient.max() < 0.25) == (hour == "night")
        assert (7 <= height <= 18) == (hour == "golden")
        assert (light.shadows > 0) == (hour in ("clear", "golden")) and (light.haze >= 0.003) == (hour == "fog")


def test_most_photographs_have_the_sun_behind_the_camera():
    """Fails when `facing` is ignored, or the sun stands in front: three in four, give or take."""
    facing = 1.0
    suns = [scenery.sample_light(np.random.default_rng(s), "clear", facing).sun for s in range(300)]
    toward = np.array([np.cos(facing), np.sin(facing)])
    behind = np.mean([sun[:2] @ toward / np.linalg.norm(sun[:2]) > 0 for sun in suns])
    free = np.mean([scenery.sample_light(np.random.default_rng(s), "clear").sun[:2] @ toward > 0 for s in range(300)])
    assert 0.75 < behind < 0.95 and 0.4 < free < 0.6


def test_the_ground_lies_where_a_ray_meets_it():
    """Fails when the ground is at another height or depth, or is drawn above the horizon."""
    frame = frame_at(height=5.0, target=(0, 100, 0.0))
    scenery.draw_ground(frame, light_of(), np.random.default_rng(0), ("grass",))
    down = frame.rays[..., 2]
    expected = np.where(down < -1e-4, -down / 5.0, 0)
    assert frame.inverse_depth == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert not frame.colour[down >= 0].any() and frame.colour[down < -1e-2].min() > 0


def test_haze_takes_the_colour_of_what_is_far():
    """Fails when haze grows towards the camera, or has another colour: 1 - exp(-haze · distance)."""
    near, far = (frame_at() for _ in range(2))
    for frame, haze in ((near, 0.0), (far, 0.05)):
        scenery.draw_ground(frame, light_of(haze=haze), np.random.default_rng(0), ("sand",))
    rows, columns = np.nonzero(near.inverse_depth > 1 / 500)
    share = 1 - np.exp(-0.05 / near.inverse_depth[rows, columns])[:, None]
    expected = near.colour[rows, columns] * (1 - share) + light_of().haze_colour * share
    assert far.colour[rows, columns] == pytest.approx(expected, abs=1e-5)


def test_no_water_around_a_landmark():
    """Fails when a landmark stands in a lake: within its radius the ground stays dry, whatever lies around it."""
    frame = Frame(scenery.camera_at((0, -30, 40), (0, 0, 0), 60, 60, 40))
    kind = scenery.draw_ground(
        frame, light_of(haze_colour=np.array([0.0, 0.0, 1.0])), np.random.default_rng(3), ("water",), clear=10.0
    )
    points = frame.camera.eye + frame.rays / np.maximum(frame.inverse_depth, 1e-9)[..., None]
    radius = np.hypot(points[..., 0], points[..., 1])
    dry, wet = frame.colour[radius < 10], frame.colour[(radius > 16) & (radius < 40)]
    blue = [colour[:, 2].mean() / colour[:, 0].mean() for colour in (dry, wet)]
    assert kind == "water" and blue[0] < 1 < 1.5 < blue[1], "water mirrors the blue haze, gravel does not"


def test_the_sky_covers_the_picture_and_glows_around_the_sun():
    """Fails when a part of the picture keeps no sky, the glow is elsewhere, or stars shine by day."""
    frame = frame_at(target=(0, 100, 60))
    sun = np.array([0.0, 0.85, 0.53])
    scenery.draw_sky(
        frame, light_of(sun=sun / np.linalg.norm(sun), cloud=0.0, haze_colour=np.full(3, 0.5)), np.random.default_rng(0)
    )
    assert (frame.colour > 0).all()
    rays = frame.rays / np.linalg.norm(frame.rays, axis=-1, keepdims=True)
    brightest = np.unravel_index(frame.colour.sum(-1).argmax(), frame.colour.shape[:2])
    assert rays[brightest] @ sun / np.linalg.norm(sun) > 0.99
    night = frame_at(target=(0, 100, 60))
    scenery.draw_sky(
        night, light_of(night=1.0, shadows=0.0, cloud=0.0, haze_colour=np.full(3, 0.05)), np.random.default_rng(0)
    )
    assert night.colour.mean() < 0.5 * frame.colour.mean()


def test_the_backdrop_stands_on_the_horizon_behind_all():
    """Fails when hills hang in the sky, cover what stands before them, or lie below the horizon."""
    for seed in range(6):
        frame = frame_at()
        frame.inverse_depth[:, :20] = 0.1  # a wall, ten metres away
        scenery.draw_backdrop(frame, light_of(), np.random.default_rng(seed))
        assert not frame.colour[:, :20].any()
        rows = np.nonzero(frame.colour[:, 20:].any((1, 2)))[0]
        assert not len(rows) or (rows.max() <= 40 / 2 + 2 and rows.min() > 4), "the eye is level: row 20"


def test_scattered_things_stand_between_near_and_far():
    """Fails when a tree stands in front of the lens or behind what hides it."""
    light = light_of()
    for wall, seen in ((100.0, True), (2.0, False)):
        frame = frame_at()
        frame.inverse_depth[:] = 1 / wall
        scenery.scatter(frame, light, np.random.default_rng(1), 5, 20, 8, "tree")
        assert frame.colour.any() == seen
    frame = frame_at()
    scenery.scatter(frame, light, np.random.default_rng(1), 5, 20, 0, "tree")
    assert not frame.colour.any()


def test_finishing_keeps_the_picture():
    """Fails when a photograph has another size or type, is mirrored, or is not that of its numbers."""
    frame = frame_at(width=90, high=60)
    frame.colour[:, :45], frame.colour[:, 45:] = (0.8, 0.2, 0.2), (0.2, 0.2, 0.8)
    for seed in range(6):
        one, same = (scenery.finish(frame, light_of(), np.random.default_rng(seed), 45, 30) for _ in range(2))
        assert one.shape == (30, 45, 3) and one.dtype == np.uint8 and np.array_equal(one, same)
        left, right = one[:, :20].mean((0, 1)), one[:, 25:].mean((0, 1))
        assert left[0] > right[0] + 50 and right[2] > left[2] + 50


def test_indoor_light_is_even():
    """Fails when a room has hard shadows or the night of outdoors in it."""
    for seed in range(5):
        light = scenery.indoor_light(np.random.default_rng(seed))
        assert light.shadows == light.night == 0 and light.ambient.min() > 0.6 > light.sun_colour.max()
