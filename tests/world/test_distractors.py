"""Photographs of nothing, against what their camera must see."""

import numpy as np
import pytest

from landmark.world.distractors import KINDS, distractor


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_follows_from_the_numbers(kind):
    """Fails on global randomness, on two seeds with one picture, or on colours that are no numbers."""
    one, same, other = (distractor(kind, np.random.default_rng(seed), 60, 40)[0] for seed in (1, 1, 2))
    assert np.array_equal(one.colour, same.colour) and not np.array_equal(one.colour, other.colour)
    assert one.colour.shape == (40, 60, 3) and np.isfinite(one.colour).all() and one.colour.std() > 0.02


def test_a_room_is_closed():
    """Fails when a wall, the ceiling or the floor is missing or faces outwards: the sky would be seen from inside."""
    for seed in range(6):
        frame, light = distractor("interior", np.random.default_rng(seed), 60, 40)
        assert (frame.inverse_depth > 0).mean() > 0.999, "a seam may miss a pixel"
        assert 1 / frame.inverse_depth[frame.inverse_depth > 0].min() < 20 and light.shadows == 0


def test_things_stand_on_a_table_in_front_of_a_wall():
    """Fails when there is nothing on the table, or the table is not there."""
    for seed in range(4):
        frame, _ = distractor("object", np.random.default_rng(seed), 60, 40)
        depth = 1 / np.maximum(frame.inverse_depth, 1e-3)
        assert (frame.inverse_depth[-5:] > 0).all(), "the table at the foot of the picture"
        below = np.diff(depth[20:], axis=0)
        assert (below > 1e-3).any(), "a thing hides a part of the table that is farther away"


@pytest.mark.parametrize("kind", ["nature", "street"])
def test_outdoors_there_is_ground_below(kind):
    """Fails when the ground is left out: whatever looks down meets something."""
    for seed in range(4):
        frame, _ = distractor(kind, np.random.default_rng(seed), 60, 40)
        foot = frame.rays[-1, :, 2] < -0.05
        assert (frame.inverse_depth[-1, foot] > 0).all()


def test_a_street_has_houses_on_both_sides():
    """Fails when one side is empty: left and right something stands above the eye, in the middle one looks along."""
    for seed in range(4):
        frame, _ = distractor("street", np.random.default_rng(seed), 90, 60)
        above = (frame.rays[..., 2] > 0.05) & (frame.inverse_depth > 0)
        direction = np.arctan2(frame.rays[..., 0], frame.rays[..., 1])
        assert above[direction < -0.05].any() and above[direction > 0.05].any()
        assert (frame.inverse_depth[above] > 1 / 100).all()
