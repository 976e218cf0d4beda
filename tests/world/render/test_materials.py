"""Surfaces, against spectra and counts by hand."""

import numpy as np
import pytest

from landmark.world.render import materials
from landmark.world.render.materials import ARCADE, FACADE, GLASS, PORTAL, ROSE, SIZE, SURFACES, Material

NIGHT = {FACADE, ARCADE, PORTAL, ROSE, GLASS}


def draw(**changes):
    settings = {"stone": (200, 190, 160), "trim": (90, 80, 80), "roof": (160, 70, 50), "bond": "ashlar",
                "window": "square", "tiles": "slate", "seed": 3}  # fmt: skip
    return Material(**settings | changes)


@pytest.mark.parametrize("beta", [0.5, 1.5])
def test_noise_falls_with_frequency_as_asked(beta):
    """Fails when the amplitude falls with another power, the mean is not taken out, or the field is not scaled."""
    field = materials.noise(128, beta, np.random.default_rng(0))
    assert field.mean() == pytest.approx(0, abs=1e-5) and field.std() == pytest.approx(1, rel=1e-4)
    amplitude = np.abs(np.fft.fft2(field))
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128)] * 2))
    bands = [(frequency > f) & (frequency < 1.3 * f) for f in (0.03, 0.3)]
    low, high = (np.sqrt((amplitude[band] ** 2).mean()) for band in bands)
    assert np.log(low / high) / np.log(10) == pytest.approx(beta, abs=0.1)


def test_noise_repeats_without_a_seam():
    """Fails when a wall of two textures shows where they meet: steps over the edge are as those inside."""
    field = materials.noise(128, 1.4, np.random.default_rng(1))
    inside, over = np.abs(np.diff(field, axis=0)).mean(), np.abs(field[0] - field[-1]).mean()
    assert over < 1.5 * inside


def test_courses_are_staggered_blocks_with_darker_joints():
    """Fails when joints run through two courses, are missing, or are brighter than the stone."""
    field = materials.courses(4, 2, np.random.default_rng(0), joint=0.5, vary=0.0)
    assert set(np.unique(field)) == {0.25, 0.5, 1.0}
    upright = [set(np.nonzero(field[row] < 1)[0]) for row in (5, 16 + 5)]
    assert upright == [{0, 32}, {16, 48}]
    assert (field[::16] <= 0.5).all() and (field[1] < 1).sum() == 2


@pytest.mark.parametrize("window", ["square", "round", "pointed", "slit", "lattice"])
@pytest.mark.parametrize("bond", ["ashlar", "brick", "plaster", "bands", "rubble"])
def test_only_openings_glow(bond, window):
    """Fails when a wall shines at night, a window does not, or a surface of the list is missing or stands elsewhere."""
    textures = draw(bond=bond, window=window).textures()
    assert textures.shape == (len(SURFACES), SIZE, SIZE, 4) and textures.dtype == np.uint8
    assert {i for i in range(len(SURFACES)) if textures[i, ..., 3].any()} == NIGHT
    glow = textures[FACADE, ..., 3] > 0
    rows, columns = np.nonzero(glow)
    assert abs(columns.mean() - SIZE / 2) < 1 and rows.min() > 0 and rows.max() < SIZE - 1
    wall = textures[materials.WALL, ..., :3].astype(int)
    assert (textures[FACADE, ..., :3] == wall)[:-5, 0].all(), "beside the window it is the wall"


def test_a_material_is_its_fields():
    """Fails when two equal materials differ, or bond, window, tiles or seed make no difference to the surfaces."""
    base = draw().textures()
    assert np.array_equal(base, draw().textures())
    for change in ({"bond": "brick"}, {"window": "round"}, {"tiles": "seams"}, {"seed": 4}, {"stone": (90, 90, 90)}):
        assert not np.array_equal(base, draw(**change).textures()), change
    assert base[materials.WALL, ..., :3].mean((0, 1)) == pytest.approx(np.array([200, 190, 160]), rel=0.1)


def test_materials_are_drawn_from_their_numbers_alone():
    """Fails when a family's stone depends on anything but its seed, or houses get more than 48 materials."""
    one, same, other = (Material.draw(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one == same != other
    rng = np.random.default_rng(0)
    assert 40 < len({Material.common(rng) for _ in range(1000)}) <= 48
