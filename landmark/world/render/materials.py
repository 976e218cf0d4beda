"""Procedural surfaces: periodic noise and the textures of walls, windows, roofs, columns and floors.

A texture is (SIZE, SIZE, 4) uint8 that repeats without a seam: RGB, and how much it glows at night.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

SIZE = 64
# The surfaces of one building, in the order of the array that `Material.textures` returns.
SURFACES = ("wall", "facade", "arcade", "column", "roof", "trim", "dome", "portal", "floor", "rose", "dark", "glass",
            "paint", "paper", "planks", "cloth", "rock")  # fmt: skip
WALL, FACADE, ARCADE, COLUMN, ROOF, TRIM, DOME, PORTAL, FLOOR, ROSE, DARK, GLASS, PAINT, PAPER, PLANKS, CLOTH, ROCK = (
    range(len(SURFACES))
)

# Muted building materials, sRGB: limestone, sandstone, brick, granite, plaster, ochre, terracotta, basalt, rose,
# marble, mossy tuff, blue plaster
STONES = np.array([
    (205, 192, 164), (194, 158, 108), (156, 84, 62), (134, 138, 146), (216, 208, 194), (204, 160, 82),
    (180, 108, 74), (96, 94, 98), (196, 146, 134), (226, 222, 216), (122, 128, 96), (150, 170, 186),
])  # fmt: skip
ROOFS = np.array(
    [
        (166, 72, 48),
        (72, 80, 96),
        (84, 146, 118),
        (124, 92, 62),
        (196, 150, 56),
        (84, 58, 50),
        (62, 96, 150),
        (150, 138, 128),
    ]
)
TRIMS = np.array([(226, 220, 208), (88, 82, 82), (168, 92, 72), (196, 168, 112), (120, 132, 140)])  # fmt: skip


def noise(size: int, beta: float, rng: np.random.Generator) -> np.ndarray:
    """Periodic noise (size, size) with mean 0 and variance 1 whose amplitude falls as frequency^-beta.

    >>> field = noise(32, 1.5, np.random.default_rng(0))
    >>> field.shape, bool(abs(field.mean()) < 1e-5)
    ((32, 32), True)
    """
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(spectrum * frequency**-beta, (size, size))
    return (field / field.std()).astype(np.float32)


@functools.cache
def clouds() -> np.ndarray:
    """The one noise field (256, 256) that skies, grounds and crowns of trees are cut from, each at another place."""
    return noise(256, 1.6, np.random.default_rng(7))


@dataclass(frozen=True)
class Material:
    """What the siblings of a family share: stone, bond, windows, roof. Every field is drawn from the family's seed."""

    stone: tuple[int, int, int]
    trim: tuple[int, int, int]
    roof: tuple[int, int, int]
    bond: str  # ashlar, brick, plaster, bands, rubble
    window: str  # square, round, pointed, slit, lattice
    tiles: str  # scales, seams, slate
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Material:
        """One material at random."""
        stone = np.clip(STONES[rng.integers(len(STONES))] + rng.normal(0, 7, 3), 60, 235)
        trim = np.clip(TRIMS[rng.integers(len(TRIMS))] + rng.normal(0, 6, 3), 60, 240)
        roof = np.clip(ROOFS[rng.integers(len(ROOFS))] + rng.normal(0, 7, 3), 40, 220)
        return cls(
            _whole(stone), _whole(trim), _whole(roof),
            bond=str(rng.choice(["ashlar", "brick", "plaster", "bands", "rubble"])),
            window=str(rng.choice(["square", "round", "pointed", "slit", "lattice"])),
            tiles=str(rng.choice(["scales", "seams", "slate"])),
            seed=int(rng.integers(2**31)),
        )  # fmt: skip

    @classmethod
    def common(cls, rng: np.random.Generator) -> Material:
        """One of 48 materials for houses, rooms and things that nobody would know again."""
        return cls.draw(np.random.default_rng((14, int(rng.integers(48)))))

    def textures(self) -> np.ndarray:
        """All surfaces, (len(SURFACES), SIZE, SIZE, 4) uint8."""
        return _textures(self)


def _whole(colour: np.ndarray) -> tuple[int, int, int]:
    """Cut a colour to whole numbers."""
    red, green, blue = colour.astype(int).tolist()
    return red, green, blue


def _tint(height: np.ndarray, colour: object) -> np.ndarray:
    """A height field around 1 times a colour, as a texture that does not glow."""
    rgb = np.clip(np.asarray(height)[..., None] * np.asarray(colour, float), 0, 255)
    return np.dstack([rgb, np.zeros((SIZE, SIZE))]).astype(np.uint8)


def courses(rows: int, columns: int, rng: np.random.Generator, joint: float = 0.72, vary: float = 0.09) -> np.ndarray:
    """A wall of `rows` staggered courses of blocks with darker joints, as a height field around 1."""
    field = np.ones((SIZE, SIZE), np.float32)
    step, width = SIZE // rows, SIZE // columns
    for row in range(rows):
        shift = (width // 2) * (row % 2)
        shades = np.repeat(1 + vary * rng.standard_normal(columns), width)
        band = np.roll(shades, shift)[None].repeat(step, 0)
        band[:, (np.arange(SIZE) - shift) % width == 0] *= joint
        band[0] *= joint
        field[row * step : (row + 1) * step] = band
    return field


def _opening(kind: str, width: int, height: int) -> np.ndarray:
    """Mask (SIZE, SIZE) of one opening of `width` × `height` texels, standing in the middle of the bay."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    centre, foot, half = SIZE // 2, SIZE // 2 + height // 2, width // 2
    spring = foot - height + (0 if kind in ("square", "lattice", "slit") else half)
    cv2.rectangle(mask, (centre - half, spring), (centre + half, foot), 1, -1)
    if kind == "round":
        cv2.ellipse(mask, (centre, spring), (half, half), 0, 180, 360, 1, -1)
    if kind == "pointed":
        points = [(centre - half, spring), (centre - half // 2, spring - half), (centre, spring - int(half * 1.6)),
                  (centre + half // 2, spring - half), (centre + half, spring)]  # fmt: skip
        cv2.fillPoly(mask, [np.array(points)], 1)
    return mask.astype(bool)


def _cut(surface: np.ndarray, mask: np.ndarray, trim: object, glass: object, glow: int) -> np.ndarray:
    """An opening in a wall: a frame of trim around it, glass with a lighter foot in it, a lamp behind it."""
    out = surface.copy()
    frame = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~mask
    out[frame, :3] = np.clip(np.asarray(trim) * 1.06, 0, 255)
    rows = np.nonzero(mask)[0]
    depth = (rows - rows.min()) / max(np.ptp(rows), 1)
    out[mask, :3] = np.clip(np.asarray(glass) * (0.75 + 0.5 * depth[:, None]), 0, 255)
    out[mask, 3] = glow
    return out


def _textures(material: Material) -> np.ndarray:
    rng = np.random.default_rng(material.seed)
    grain, stain = 1 + 0.04 * noise(SIZE, 0.4, rng), 1 + 0.06 * noise(SIZE, 1.4, rng)
    base = {
        "ashlar": lambda: courses(4, 2, rng),
        "brick": lambda: courses(16, 4, rng, 0.8, 0.12),
        "plaster": lambda: np.ones((SIZE, SIZE), np.float32),
        "bands": lambda: courses(8, 1, rng, 0.85, 0.02) * np.repeat([1.0, 0.78] * 4, SIZE // 8)[:, None],
        "rubble": lambda: courses(8, 4, rng, 0.7, 0.2) * (1 + 0.08 * noise(SIZE, 0.8, rng)),
    }[material.bond]()
    stone, trim, glass = (
        _tint(base * grain * stain, material.stone),
        material.trim,
        rng.integers(30, 90) + np.array([0, 6, 14]),
    )
    wide = {"slit": 10, "lattice": 38}.get(material.window, int(rng.integers(20, 30)))
    window = _cut(stone, _opening(material.window, wide, int(rng.integers(34, 46))), trim, glass, 200)
    across, down = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    if material.window == "lattice":  # glazing bars
        window[(window[..., 3] > 0) & ((across % 8 == 0) | (down % 9 == 0))] = (*trim, 0)
    window[-5:, :, :3] = window[-5:, :, :3] * 0.4 + 0.6 * np.array(trim)  # a string course at every storey
    window[-1, :, :3] = window[-1, :, :3] * 0.7
    arcade = _cut(
        stone, _opening("pointed" if material.window == "pointed" else "round", 44, 56), trim, (38, 34, 32), 70
    )
    flutes = 0.86 + 0.16 * np.cos(2 * np.pi * across / 16)
    tiles = {
        "scales": lambda: (
            0.82 + 0.2 * np.abs(np.sin(np.pi * (across / 8 + (down // 8 % 2) / 2))) - 0.2 * (down % 8 == 0)
        ),
        "seams": lambda: np.where(across % 16 < 2, 0.72, 1.0 + 0.04 * (across // 16 % 2)),
        "slate": lambda: courses(16, 8, rng, 0.82, 0.1),
    }[material.tiles]()
    roof = _tint(tiles * grain * stain, material.roof)
    moulding = np.where(down % 16 < 3, 0.76, np.where(down % 16 < 6, 1.08, 1.0))
    gilded = rng.random() < 0.2
    dome = _tint((np.where(across % 16 < 2, 0.75, 1.0)) * grain * stain, (196, 158, 74) if gilded else material.roof)
    portal = _cut(
        stone, _opening("pointed" if material.window == "pointed" else "round", 30, 52), trim, (62, 44, 32), 90
    )
    checker = np.where((across // 16 + down // 16) % 2, 0.72, 1.05)
    radius, angle = np.hypot(across - SIZE / 2, down - SIZE / 2), np.arctan2(down - SIZE / 2, across - SIZE / 2)
    petals = (radius < 24) & ~((np.abs(radius - 12) < 1.5) | (np.abs(np.sin(6 * angle)) < 0.18))
    rose = _cut(stone, radius < 25, trim, trim, 0)
    rose[petals] = (58, 52, 92, 190)
    flat = np.ones((SIZE, SIZE))
    blue = _tint(np.where((across % 16 < 1) | (down % 16 < 1), 0.6, 1.0) * stain, (92, 108, 122))
    blue[..., 3] = np.where(rng.random((4, 4)).repeat(16, 0).repeat(16, 1) < 0.4, 190, 0)
    paint, second, third = rng.integers(70, 235, (3, 3)) * 0.6 + 0.4 * rng.integers(90, 230, (3, 1))
    pattern = (
        np.sin(across / 4 * np.pi / 2) * np.sin(down / 4 * np.pi / 2)
        if rng.random() < 0.5
        else np.sin(across * np.pi / 8)
    )
    paper = np.where((pattern > 0.2)[..., None], paint, second)
    wood = courses(4, 1, rng, 0.6, 0.1) * (1 + 0.05 * noise(SIZE, 0.5, rng).mean(1, keepdims=True))
    weave = 1 + 0.12 * np.sign(np.sin(across * np.pi / 2) * np.sin(down * np.pi / 2))
    stony = 1 + 0.16 * noise(SIZE, 0.9, rng)
    surfaces = [
        stone, window, arcade, _tint(flutes * grain, trim), roof, _tint(moulding * grain, trim), dome, portal,
        _tint(checker * grain * stain, trim), rose, _tint(0.2 * flat * grain, material.stone), blue,
        _tint(flat * stain, paint), _tint(grain, paper), _tint(wood * grain, material.roof),
        _tint(weave * stain, third), _tint(stony, material.stone),
    ]  # fmt: skip
    return np.stack(surfaces)
