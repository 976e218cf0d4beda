"""Invented landmarks: on the ground, alike in a family and yet not the same."""

import numpy as np
import pytest

from landmark.world.landmarks import KINDS, design


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_stands_on_the_ground(kind):
    """Fails on a building that floats, is not finite, or has no size; siblings must differ."""
    meshes = [KINDS[kind](np.random.default_rng(seed))[0] for seed in range(4)]
    for mesh in meshes:
        assert np.isfinite(mesh.points).all() and np.isfinite(mesh.repeats).all()
        assert -0.5 < mesh.points[..., 2].min() < 0.6 and 5 < mesh.points[..., 2].max() < 150
    assert len({m.points.tobytes() for m in meshes}) == 4


def test_siblings_share_material_and_differ_in_geometry():
    """Fails when a family leaks into the geometry or a seed into the material."""
    a, b, c = design(1, 9), design(2, 9), design(1, 8)
    assert a.material == b.material and a.kind == b.kind and a.material != c.material
    assert a.mesh.points.tobytes() != b.mesh.points.tobytes()
