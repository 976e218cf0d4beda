"""Invented landmarks: alike in a family and yet not the same."""

from landmark.world import landmarks
from landmark.world.landmarks import KINDS, design


def test_siblings_share_material_and_differ_in_geometry():
    """Fails when a family leaks into the geometry or a seed into the material."""
    a, b, c = design(1, 9), design(2, 9), design(1, 8)
    assert a.material == b.material and a.kind == b.kind and a.material != c.material
    assert a.mesh.points.tobytes() != b.mesh.points.tobytes()


def test_a_new_kind_takes_its_share_and_no_more(monkeypatch):
    """Fails when one more kind of building changes landmarks that are not of it, or gets no landmarks itself."""
    before = [design(i, i) for i in range(150)]
    monkeypatch.setitem(KINDS, "lighthouse", KINDS["clock tower"])
    after = [design(i, i) for i in range(150)]
    moved = [new.kind for old, new in zip(before, after, strict=True) if new.kind != old.kind]
    assert set(moved) == {"lighthouse"} and 0.3 < len(moved) * len(KINDS) / len(after) < 2
    for old, new in zip(before, after, strict=True):
        if new.kind == old.kind:
            assert new.name == old.name and new.mesh.points.tobytes() == old.mesh.points.tobytes()
    assert all(new.material == old.material for old, new in zip(before, after, strict=True))


def test_every_kind_gets_its_share():
    """Fails when the hash prefers a kind."""
    kinds = [landmarks._kind(family) for family in range(200 * len(KINDS))]
    assert all(140 < kinds.count(kind) < 260 for kind in KINDS), "200 each, within 4 standard deviations"
