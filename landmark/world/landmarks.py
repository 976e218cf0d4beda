"""Invented landmarks: families share stone, bond, windows and kind of building; siblings differ in geometry only."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landmark.world.civic import SECULAR
from landmark.world.render import shapes
from landmark.world.render.materials import ARCADE, COLUMN, DOME, FACADE, FLOOR, ROOF, ROSE, TRIM, WALL, Material
from landmark.world.render.renderer import Mesh, Textures
from landmark.world.worship import SACRED

Rng = np.random.Generator
WORDS = (
    "or",
    "val",
    "ka",
    "run",
    "is",
    "tel",
    "mar",
    "ço",
    "né",
    "thal",
    "bri",
    "øs",
    "ul",
    "dan",
    "ves",
    "iri",
    "pol",
    "ša",
)


@dataclass(frozen=True)
class Landmark:
    """An invented place: what it is called, looks like and is made of; the front looks south."""

    name: str
    kind: str
    family: int
    mesh: Mesh
    material: Material
    hall: tuple[float, float, float] | None  # width, depth, height of what one can enter, metres
    seed: int

    @functools.cached_property
    def radius(self) -> float:
        """Of the circle around its plan, metres."""
        return float(np.linalg.norm(self.mesh.points[..., :2], axis=-1).max())

    @functools.cached_property
    def height(self) -> float:
        """Metres."""
        return float(self.mesh.points[..., 2].max())

    @property
    def textures(self) -> Textures:
        """Its surfaces."""
        return surfaces(self.material)

    def interior(self) -> Mesh:
        """The hall from within, front wall included: columns, vault, windows, floor."""
        assert self.hall, f"{self.name} has no hall"
        width, depth, height = self.hall
        return hall(np.random.default_rng((self.seed, 1)), width, depth, height)


@functools.lru_cache(64)
def surfaces(material: Material) -> Textures:
    """The textures of a material, made once."""
    return Textures.of(material.textures())


KINDS: dict[str, Callable[[Rng], tuple[Mesh, tuple | None]]] = {**SACRED, **SECULAR}


def _kind(family: int) -> str:
    """The kind whose hash with the family is highest: one more kind takes its share of the families, the rest stay.

    Source: Thaler and Ravishankar 1998, rendezvous hashing.
    """
    return max(KINDS, key=lambda kind: hashlib.sha256(f"{family}/{kind}".encode()).digest())


def design(seed: int, family: int | None = None) -> Landmark:
    """Invent a landmark: material and kind of building from the family, geometry and name from the seed.

    Args:
        seed: of the geometry.
        family: seed of what siblings share; a family of its own when left out.

    >>> design(1, 5).material == design(2, 5).material
    True
    """
    family = seed if family is None else family
    shared, rng = np.random.default_rng((family, 11)), np.random.default_rng((seed, 12))
    material = Material.draw(shared)
    kind = _kind(family)
    mesh, hall_size = KINDS[kind](rng)
    turn = rng.choice([0.0, rng.uniform(-0.5, 0.5)])
    # No word ends in another one, so that names of even seeds and of odd ones, a pretraining world's, never agree
    words = [*rng.choice(WORDS, rng.integers(1, 3)), rng.choice(WORDS[seed % 2 :: 2])]
    name = "".join(words).capitalize()
    return Landmark(f"{name} {kind.title()}", kind, family, mesh.moved(turn=turn), material, hall_size, seed)


def hall(rng: Rng, width: float, depth: float, height: float) -> Mesh:
    """A room seen from within, its middle at the origin: walls with windows, two rows of columns, a vault or a ceiling.

    >>> bool(hall(np.random.default_rng(0), 10, 20, 8).points[..., 2].max() >= 8)
    True
    """
    x, y = width / 2, depth / 2
    wall = int(rng.choice([FACADE, ARCADE, WALL, FACADE]))
    corners = [(-x, -y), (-x, y), (x, y), (x, -y)]
    repeats: list[tuple[float, float]] = []
    faces, texture = [], []
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        faces.append([(ax, ay, 0), (bx, by, 0), (bx, by, height), (ax, ay, height)])
        repeats.append((max(1, round(np.hypot(bx - ax, by - ay) / (height * 0.7))), 1))
        texture.append(wall)
    faces.append([(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)])
    repeats.append((width / 3, depth / 3))
    texture.append(FLOOR)
    parts = [shapes.quads(faces, repeats, texture)]
    t = np.linspace(np.pi, 0, 9)
    kind = rng.choice(["barrel", "pointed", "flat", "timber"])
    rise = {"barrel": 0.45, "pointed": 0.75, "flat": 0.02, "timber": 0.4}[str(kind)] * width / 2
    shape = 1 - np.abs(np.cos(t)) ** (1.0 if kind == "timber" else 1.6) if kind in ("pointed", "timber") else np.sin(t)
    arc = np.stack([x * np.cos(t), height + rise * shape], 1)
    cover = [
        [(b[0], -y, b[1]), (a[0], -y, a[1]), (a[0], y, a[1]), (b[0], y, b[1])]
        for a, b in zip(arc, arc[1:], strict=False)
    ]
    parts.append(shapes.quads(cover, (0.5, depth / 4), ROOF if kind == "timber" else TRIM))
    for end in (-1, 1):
        fan = [
            [(a[0], end * y, height), (b[0], end * y, height), (b[0], end * y, b[1]), (a[0], end * y, a[1])]
            for a, b in zip(arc, arc[1:], strict=False)
        ]
        parts.append(shapes.quads(fan if end > 0 else [[p[1], p[0], p[3], p[2]] for p in fan], (0.5, 0.5), TRIM))
    aisle = float(rng.choice([0.0, 0.55, 0.65])) * x
    if aisle:
        count = int(np.clip(depth / rng.uniform(3.5, 6), 3, 8))
        one = shapes.column(min(0.6, width * 0.04), height, 6)
        parts += [one.moved(side * aisle, at) for side in (-1, 1) for at in np.linspace(-y * 0.85, y * 0.85, count)]
    altar = str(rng.choice(["rose", "statue", "throne", "none"]))
    if altar == "rose":
        parts.append(
            shapes.box(width * 0.36, 0.4, width * 0.36, ROSE, bay=(width * 0.36,) * 2).moved(0, y - 0.3, height * 0.45)
        )
    elif altar == "statue":
        parts.append(
            Mesh.join([shapes.box(2.4, 2.4, 1.5), shapes.statue(height * 0.5, rng.random(), DOME).moved(z=1.5)]).moved(
                0, y * 0.8
            )
        )
    elif altar == "throne":
        parts.append(shapes.steps(width * 0.3, 4, 1.2, 3).moved(0, y * 0.75))
    bench = int(rng.integers(0, 6))
    parts += [
        shapes.box(aisle or x * 0.6, 0.5, 0.9, COLUMN, ROOF).moved(0, at)
        for at in np.linspace(-y * 0.3, y * 0.5, bench)
    ]
    return Mesh.join(parts)
