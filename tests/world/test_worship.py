"""Buildings of worship: on the ground, each with what makes its kind."""

import numpy as np
import pytest

from landmark.world.render.materials import COLUMN, DOME, PORTAL, ROSE
from landmark.world.worship import SACRED, clock_tower, mosque, pagoda


@pytest.mark.parametrize("kind", SACRED)
def test_every_kind_stands_on_the_ground(kind, stands):
    """Fails on a building that floats, is not finite, has no size, or is the same for another seed."""
    stands(SACRED[kind])


SIGNS = {
    "cathedral": {ROSE, PORTAL},
    "temple": {COLUMN},
    "rotunda": {DOME},
    "mosque": {DOME, PORTAL},
    "clock tower": {ROSE},
}


@pytest.mark.parametrize("kind", SIGNS)
def test_each_kind_has_its_sign(kind):
    """Fails when the part that one knows a kind by is left out for some seeds."""
    for seed in range(10):
        mesh, hall = SACRED[kind](np.random.default_rng(seed))
        assert set(mesh.texture.tolist()) >= SIGNS[kind] and hall is not None, seed


def test_every_kind_faces_south():
    """Fails when the portal looks north: photographs are taken from the south as a rule."""
    for kind, sign in (("cathedral", ROSE), ("mosque", PORTAL)):
        mesh, _ = SACRED[kind](np.random.default_rng(0))
        front = mesh.points[(mesh.texture == sign) & (mesh.normals[:, 1] < -0.99)]
        assert len(front) and front[..., 1].max() < mesh.points[..., 1].min() / 2


def test_roofs_of_a_pagoda_grow_smaller_upwards():
    """Fails when an upper storey is wider than the one below: radii at each eave, from the foot up."""
    for seed in range(5):
        mesh, _ = pagoda(np.random.default_rng(seed))
        heights = np.unique(mesh.points[..., 2].round(6))
        radii = [np.hypot(*mesh.points[np.isclose(mesh.points[..., 2], z)].T[:2]).max() for z in heights if z > 1.6]
        eaves = [r for before, r, after in zip(radii, radii[1:], radii[2:], strict=False) if r > max(before, after)]
        assert len(eaves) >= 3 and eaves == sorted(eaves, reverse=True)


def test_a_clock_tower_has_a_clock_on_every_side():
    """Fails when a side has none, or it hangs below the top of the shaft."""
    for seed in range(5):
        mesh, _ = clock_tower(np.random.default_rng(seed))
        clocks = mesh.texture == ROSE
        assert clocks.sum() in (4, 8) and mesh.normals[clocks].sum(0) == pytest.approx(0, abs=1e-9)
        assert mesh.points[clocks][..., 2].min() > mesh.points[..., 2].max() * 0.4


def test_minarets_stand_beside_the_hall():
    """Fails when a minaret grows out of the prayer hall's roof, or is lower than the dome's foot."""
    mesh, (width, _, height) = mosque(np.random.default_rng(4))
    tops = mesh.points[mesh.points[..., 2] > 1.9 * height]
    assert len(tops)
    outside = np.abs(tops[:, :2]).max(1) > 0.4 * width
    assert outside.any()
