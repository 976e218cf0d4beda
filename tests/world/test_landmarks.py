"""Invented landmarks: alike in a family and yet not the same."""

from landmark.world.landmarks import design


def test_siblings_share_material_and_differ_in_geometry():
    """Fails when a family leaks into the geometry or a seed into the material."""
    a, b, c = design(1, 9), design(2, 9), design(1, 8)
    assert a.material == b.material and a.kind == b.kind and a.material != c.material
    assert a.mesh.points.tobytes() != b.mesh.points.tobytes()
