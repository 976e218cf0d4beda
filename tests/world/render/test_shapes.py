"""Building blocks, against volumes and counts by hand: what stands on z = 0 is closed by the ground."""

import numpy as np
import pytest

from landmark.world.render import shapes
from landmark.world.render.materials import DARK, ROOF, TRIM, WALL


def volume(mesh):
    """Cubic metres inside, from the outward faces; negative where they face inwards. The ground adds nothing."""
    a, b, c, d = (mesh.points[:, i] for i in range(4))
    return float(((a * np.cross(b, c)).sum() + (a * np.cross(c, d)).sum()) / 6)


def polygon(radius, sides):
    return sides / 2 * radius**2 * np.sin(2 * np.pi / sides)


CLOSED = {
    "box": (shapes.box(4, 3, 2), 24),
    "prism": (shapes.turned([(2, 0), (2, 5), (0, 5)], 6, WALL), polygon(2, 6) * 5),
    "cone": (shapes.turned([(2, 0), (0, 3)], 12, ROOF), polygon(2, 12)),
    "tip below": (shapes.turned([(0, 0), (2, 3), (0, 3)], 12, ROOF), polygon(2, 12)),
    "pyramid": (shapes.hip(6, 4, 3, 0.0, 0.0), 6 * 4 * 3 / 3),
    "hipped roof": (shapes.hip(6, 4, 3, 0.5, 0.0), 4 * 3 * (6 / 3 + 3 / 6)),  # a wedge: depth · rise · (2w + ridge) / 6
    "gable": (shapes.gable(6, 4, 3, eaves=0.0), 6 * 3 / 2 * 4),
    "arches": (shapes.arches(12, 5, 2, 3, 0.4, steps=40), 12 * 5 * 2 - 3 * 2 * (2.4 * 3.05 + np.pi * 1.2**2 / 2)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_volumes(name):
    """Fails when a face is missing, faces inwards, or has a corner elsewhere; a round arch is approached by 40 faces."""
    mesh, expected = CLOSED[name]
    assert volume(mesh) == pytest.approx(expected, rel=2e-3 if name == "arches" else 1e-9)
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(np.ones(len(mesh.points)))
    assert mesh.points[..., 2].min() == 0


def test_a_box_carries_whole_bays_and_shows_its_front_to_the_south():
    """Fails when a window is cut in two, a bay fits a side of another length, or the front looks north."""
    mesh = shapes.box(10, 4.2, 9, WALL, TRIM, bay=(4, 3), front=DARK)
    south = mesh.normals @ (0, -1, 0) > 0.99
    assert mesh.texture[south].tolist() == [DARK] and mesh.texture.tolist().count(WALL) == 3
    assert mesh.repeats[south].tolist() == [[2, 3]], "10 m of 4 m bays: 2; 9 m of 3 m: 3"
    assert mesh.repeats[mesh.normals @ (1, 0, 0) > 0.99].tolist() == [[1, 3]]
    assert mesh.texture[mesh.normals[:, 2] > 0.99].tolist() == [TRIM]


@pytest.mark.parametrize("sides", [4, 8])
def test_the_first_side_of_a_turned_solid_faces_south(sides):
    """Fails when a tower is turned against the nave it stands at."""
    assert shapes.turned([(3, 0), (3, 2)], sides, WALL).normals[0] == pytest.approx([0, -1, 0], abs=1e-9)


@pytest.mark.parametrize("kind", ["round", "pointed", "onion", "bell"])
def test_domes_close_at_their_height(kind):
    """Fails when a dome has a hole at its top or another height; only an onion is wider than its drum."""
    mesh = shapes.dome(3, 4, 12, ROOF, kind, rings=8)
    top = mesh.points[..., 2] > 4 - 1e-9
    assert mesh.points[top][:, :2] == pytest.approx(0, abs=1e-9) and mesh.points[..., 2].max() == pytest.approx(4)
    assert (np.hypot(*np.moveaxis(mesh.points[..., :2], -1, 0)).max() > 3.1) == (kind == "onion")


def test_columns_merlons_and_steps_are_as_many_as_asked_for():
    """Fails when one stands too many, two stand in one place, or a step is higher than another."""
    row = shapes.colonnade(12, 5, 4, 0.4)
    one = shapes.column(0.4, 5)
    assert len(row.points) == 4 * len(one.points) and volume(row) == pytest.approx(4 * volume(one))
    middles = row.points.reshape(4, -1, 3).mean(1)[:, 0]
    assert middles == pytest.approx([-6, -2, 2, 6])
    stairs = shapes.steps(4, 4, 3, 3)
    assert sorted(set(stairs.points[..., 2].ravel())) == pytest.approx([0, 1, 2, 3])
    tops = stairs.points[stairs.normals[:, 2] > 0.99]
    areas = [np.prod(np.ptp(face[:, :2], axis=0)) for face in tops]
    assert areas == sorted(areas, reverse=True) and areas[-1] == pytest.approx(16)
    crown = shapes.merlons(8, 6, 1)
    assert len(crown.points) == 5 * 2 * (4 + 3) and np.abs(crown.points[..., :2]).max(axis=(0, 1)) == pytest.approx(
        [4, 3]
    )


def test_a_raised_arm_and_a_horse_change_the_figure():
    """Fails when the pose is not seen, or a rider is no higher than the horse: a figure is as high as it is asked to be."""
    low, high = (shapes.statue(5, pose) for pose in (0.0, 1.0))
    assert low.points[..., 2].max() == pytest.approx(5) and high.points[..., 2].max() > 5.2
    rider = shapes.statue(5, 0.0, mounted=True)
    assert len(rider.points) > len(low.points) and rider.points[..., 2].max() == pytest.approx(5 * 0.6 + 0.55 * 5)


@pytest.mark.parametrize("top", ["spire", "cone", "round", "pointed", "onion", "bell", "flat", "crown", "lantern"])
def test_towers_have_their_roof(top):
    """Fails when a roof is open from above or floats: straight down, every place of the plan meets a face."""
    mesh = shapes.tower(np.random.default_rng(0), 3, 12, 8, top)
    assert mesh.points[..., 2].min() == 0 and mesh.points[..., 2].max() >= 13
    up = mesh.points[mesh.normals[:, 2] > 1e-6]
    for angle in np.linspace(0, 2 * np.pi, 7):
        for radius in (0.1, 1.0, 2.0, 2.6):
            place = radius * np.array([np.cos(angle), np.sin(angle)])
            edges = np.roll(up[..., :2], -1, axis=1) - up[..., :2]
            away = place - up[..., :2]
            left = edges[..., 0] * away[..., 1] - edges[..., 1] * away[..., 0]
            assert (left >= -1e-9).all(1).any(), f"a hole at {place}"


def test_an_arena_is_open_above():
    """Fails when the ring gets a lid, or its wall a height of its own for each storey."""
    mesh = shapes.arcade_ring(20, 12, 16, 3)
    assert mesh.points[..., 2].max() == 12
    inner = np.hypot(mesh.points[..., 0], mesh.points[..., 1]).max(1) < 0.6 * 20
    assert inner.any() and mesh.points[inner][..., 2].max() < 12 * 0.2
    assert set(mesh.repeats[:16, 1]) == {3}
