"""Castles, bridges and their like: on the ground, each with what makes its kind."""

import numpy as np
import pytest

from landmark.world.civic import SECULAR, arena, bridge, gate, high_rise, palace, pyramid
from landmark.world.render.materials import PORTAL


@pytest.mark.parametrize("kind", SECULAR)
def test_every_kind_stands_on_the_ground(kind, stands):
    """Fails on a building that floats, is not finite, has no size, or is the same for another seed."""
    stands(SECULAR[kind])


def test_only_houses_can_be_entered():
    """Fails when a bridge or a monument gets photographs from inside, or a castle none."""
    inside = {name for name, kind in SECULAR.items() if kind(np.random.default_rng(0))[1]}
    assert inside == {"castle", "palace", "high-rise"}


def through(mesh, x, z):
    """Whether one can look through from the south at a place of the front: no face there, of either side."""
    flat = mesh.points[np.abs(mesh.normals[:, 1]) > 0.99][..., [0, 2]]
    edges, away = np.roll(flat, -1, axis=1) - flat, np.array([x, z]) - flat
    turn = edges[..., 0] * away[..., 1] - edges[..., 1] * away[..., 0]
    return not ((turn >= -1e-9).all(1) | (turn <= 1e-9).all(1)).any()


def test_arches_of_bridges_and_gates_are_open():
    """Fails when an arch is walled up: some place close to the ground can be looked through, none of a palace can."""
    for kind in (bridge, gate):
        for seed in range(5):
            mesh, _ = kind(np.random.default_rng(seed))
            low, high = mesh.points[..., 0].min(), mesh.points[..., 0].max()
            assert any(through(mesh, x, 1.0) for x in np.linspace(low, high, 80)), (kind.__name__, seed)
    wing, (width, _, _) = palace(np.random.default_rng(0))
    assert not any(through(wing, x, 1.0) for x in np.linspace(-width / 2, width / 2, 80))


def test_a_pyramid_narrows_to_its_top():
    """Fails when a step is wider than the one below it."""
    for seed in range(8):
        mesh, _ = pyramid(np.random.default_rng(seed))
        reach = np.abs(mesh.points[..., :2]).max(-1)
        levels = [reach[mesh.points[..., 2] > z].max() for z in np.linspace(0.5, mesh.points[..., 2].max() * 0.95, 12)]
        assert levels == sorted(levels, reverse=True)


def test_an_arena_is_a_ring():
    """Fails when its middle is built over: what stands there is seats, lower than half the walls."""
    for seed in range(5):
        mesh, _ = arena(np.random.default_rng(seed))
        radius = np.hypot(mesh.points[..., 0], mesh.points[..., 1])
        middle = mesh.points[radius < 0.3 * radius.max()]
        assert len(middle) and middle[..., 2].max() < 0.5 * mesh.points[..., 2].max()


def test_a_high_rise_is_higher_than_wide_and_a_palace_wider_than_high():
    """Fails when metres of height and width change places."""
    for seed in range(5):
        tall, wide = (
            np.ptp(kind(np.random.default_rng(seed))[0].points.reshape(-1, 3), axis=0) for kind in (high_rise, palace)
        )
        assert tall[2] > 1.2 * max(tall[:2]) and wide[0] > 1.2 * wide[2]


def test_a_castle_has_one_gate_to_the_south():
    """Fails when the gate is lost, or looks into the court."""
    mesh, _ = SECULAR["castle"](np.random.default_rng(1))
    doors = mesh.texture == PORTAL
    south = doors & (mesh.normals[:, 1] < -0.99)
    assert south.sum() == 1 and mesh.points[south][..., 1].max() < 0
