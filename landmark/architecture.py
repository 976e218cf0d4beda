"""Invented landmarks: families share stone, bond, windows and kind of building; siblings differ in geometry only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landmark import solids
from landmark.materials import (
    ARCADE,
    COLUMN,
    DARK,
    DOME,
    FACADE,
    FLOOR,
    GLASS,
    PORTAL,
    ROOF,
    ROSE,
    TRIM,
    WALL,
    Material,
)  # fmt: skip
from landmark.renderer import Mesh, Textures

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
        width, depth, height = self.hall
        return hall(np.random.default_rng((self.seed, 1)), width, depth, height)


@functools.lru_cache(64)
def surfaces(material: Material) -> Textures:
    """The textures of a material, made once."""
    return Textures.of(material.textures())


def _tower(rng: Rng, radius: float, height: float, sides: int, top: str, wall: int = FACADE) -> Mesh:
    """A shaft in storeys with a roof: spire, cone, dome, onion, flat, crown or lantern."""
    drum = float(rng.uniform(0.7, 0.88))
    parts = [solids.turned([(radius, 0), (radius, height)], sides, wall, bay=max(radius * 0.9, 3))]
    ledge = [(radius, height), (radius * 1.12, height + 0.3), (radius * 1.12, height + 1.0)]
    parts.append(solids.turned(ledge, sides, TRIM))
    z = height + 1.0
    if top in ("flat", "crown"):
        parts.append(solids.lid(radius * 1.12, sides, z))
        if top == "crown":
            ring = np.arange(max(sides, 8)) * 2 * np.pi / max(sides, 8)
            block = solids.box(radius * 0.4, radius * 0.25, radius * 0.45)
            parts += [block.moved(0, -radius, z).moved(turn=angle) for angle in ring]
    elif top in ("round", "pointed", "onion", "bell"):
        parts.append(solids.lid(radius * 1.12, sides, z))
        parts.append(
            solids.dome(radius * 1.0, radius * float(rng.uniform(0.9, 1.7)), max(sides, 10), DOME, top).moved(z=z)
        )
    elif top == "lantern":
        parts.append(solids.lid(radius * 1.12, sides, z))
        parts.append(
            solids.turned([(radius * drum * 0.7, z), (radius * drum * 0.7, z + radius * 1.2)], sides, ARCADE, radius)
        )
        parts.append(solids.turned([(radius * 0.75, z + radius * 1.2), (0, z + radius * 2.2)], sides, ROOF))
    else:
        rise = radius * {"spire": 4.5, "cone": 2.0}[top] * float(rng.uniform(0.8, 1.2))
        parts.append(solids.turned([(radius * 1.15, z), (0, z + rise)], sides, ROOF))
    return Mesh.join(parts)


def _cathedral(rng: Rng) -> tuple[Mesh, tuple]:
    w, d, h = rng.uniform(11, 17), rng.uniform(26, 48), rng.uniform(12, 20)
    parts = [solids.box(w, d, h, FACADE, bay=(5, h)), solids.gable(w, d, h * rng.uniform(0.4, 0.7)).moved(z=h)]
    parts.append(solids.box(w * 1.7, d * 0.8, h * 0.5, FACADE, ROOF, (4, h * 0.5)))
    towers, top = int(rng.choice([0, 1, 2, 2, 4])), str(rng.choice(["spire", "flat", "crown", "onion", "cone"]))
    radius, rise, sides = w * rng.uniform(0.24, 0.34), h * rng.uniform(1.2, 2.1), int(rng.choice([4, 4, 8]))
    places = {0: [], 1: [(0, -d / 2)], 2: [(-w / 2, -d / 2), (w / 2, -d / 2)]}
    corners = [(x * w / 2, y * d / 2) for x in (-1, 1) for y in (-1, 1)]
    for x, y in places.get(towers, corners):
        parts.append(_tower(np.random.default_rng(int(radius * 1e6)), radius, rise, sides, top).moved(x, y))
    if rng.random() < 0.6:
        tall = h * rng.uniform(1.3, 1.8)
        parts.append(
            _tower(rng, w * 0.3, tall, 8, str(rng.choice(["round", "spire", "lantern"]))).moved(
                0, d * rng.uniform(0.05, 0.3)
            )
        )
    if rng.random() < 0.6:  # transept
        wide = w * rng.uniform(2.1, 3.0)
        cross = Mesh.join([solids.box(w, wide, h, FACADE, bay=(5, h)), solids.gable(w, wide, h * 0.5).moved(z=h)])
        parts.append(cross.moved(0, 0, 0, np.pi / 2).moved(0, d * 0.12))
    parts.append(
        solids.turned([(w * 0.45, 0), (w * 0.45, h * 0.8), (0, h * 1.2)], 10, [FACADE, ROOF], bay=h * 0.4).moved(
            0, d / 2
        )
    )
    depth = -d / 2 - 0.35
    parts.append(solids.box(w * 0.4, 0.6, h * 0.5, PORTAL, bay=(w * 0.4, h * 0.5)).moved(0, depth))
    parts.append(solids.box(w * 0.4, 0.5, w * 0.4, ROSE, bay=(w * 0.4, w * 0.4)).moved(0, depth, h * 0.55))
    return Mesh.join(parts), (w * 1.6, d, h)


def _temple(rng: Rng) -> tuple[Mesh, tuple]:
    n = int(rng.integers(4, 9))
    w, h = n * rng.uniform(2.4, 3.6), rng.uniform(7, 13)
    d, base, r = w * rng.uniform(1.1, 2.2), rng.uniform(1, 4), rng.uniform(0.5, 0.9)
    parts = [solids.steps(w + 2, d + 2, base, int(rng.integers(2, 5)))]
    parts.append(solids.box(w * 0.72, d * 0.8, h, str_pick(rng, (WALL, ARCADE)), bay=(5, h)).moved(z=base))
    for y in (-d / 2, d / 2):
        parts.append(solids.colonnade(w, h, n, r).moved(0, y, base))
    if rng.random() < 0.6:
        for x in (-w / 2, w / 2):
            parts.append(solids.colonnade(d, h, max(4, int(d / 4)), r).moved(turn=np.pi / 2).moved(x, 0, base))
    parts.append(solids.box(w + 2, d + 2, h * 0.14, TRIM, bay=(4, h * 0.14)).moved(z=base + h))
    roof = str(rng.choice(["gable", "gable", "dome", "hip", "attic"]))
    z = base + h * 1.14
    if roof == "gable":
        parts.append(solids.gable(w + 2, d + 2, w * rng.uniform(0.15, 0.3), TRIM, 0.3).moved(z=z))
    elif roof == "hip":
        parts.append(solids.hip(w + 2, d + 2, h * 0.35).moved(z=z))
    elif roof == "dome":
        parts.append(solids.turned([(w * 0.4, z), (w * 0.4, z + h * 0.35)], 12, ARCADE, h * 0.35))
        parts.append(solids.dome(w * 0.4, w * rng.uniform(0.3, 0.5), 12, DOME).moved(z=z + h * 0.35))
    else:
        parts.append(solids.box(w * 0.7, d * 0.7, h * 0.4, WALL).moved(z=z))
        parts.append(solids.statue(h * 0.5, rng.random()).moved(0, -d * 0.3, z + h * 0.4))
    return Mesh.join(parts), (w * 0.9, d, h)


def str_pick(rng: Rng, surfaces: tuple[int, ...]) -> int:
    """One of some surfaces."""
    return int(rng.choice(surfaces))


def _rotunda(rng: Rng) -> tuple[Mesh, tuple]:
    r, h, sides = rng.uniform(9, 15), rng.uniform(9, 16), int(rng.choice([8, 12, 16]))
    levels = int(rng.integers(1, 4))
    parts, z, radius = [], 0.0, r
    for _ in range(levels):
        high = h / levels * rng.uniform(0.8, 1.2)
        parts.append(
            solids.turned([(radius, z), (radius, z + high)], sides, str_pick(rng, (FACADE, ARCADE, WALL)), bay=high)
        )
        parts.append(
            solids.turned([(radius, z + high), (radius * 1.05, z + high + 0.6), (0, z + high + 0.61)], sides, TRIM)
        )
        z, radius = z + high + 0.6, radius * rng.uniform(0.72, 0.92)
    kind = str(rng.choice(["round", "pointed", "onion", "bell"]))
    rise = radius * rng.uniform(0.6, 1.3)
    parts.append(solids.dome(radius, rise, max(sides, 12), DOME, kind, 6).moved(z=z))
    parts.append(_tower(rng, radius * 0.13, radius * 0.3, 8, "cone", TRIM).moved(z=z + rise * 0.97))
    if rng.random() < 0.7:
        n = int(rng.choice([4, 6, 8]))
        w = r * rng.uniform(0.9, 1.5)
        porch = [solids.colonnade(w, h * 0.7, n, 0.6), solids.box(w + 2, r * 0.5, h * 0.1, TRIM).moved(0, r * 0.2, h * 0.7),
                 solids.gable(w + 2, r * 0.5, w * 0.2, TRIM).moved(0, r * 0.2, h * 0.8)]  # fmt: skip
        parts.append(Mesh.join(porch).moved(0, -r * 1.2))
    for side in range(int(rng.choice([0, 0, 2, 4]))):
        slim = _tower(rng, r * 0.12, h * rng.uniform(1.2, 2.0), 8, "cone")
        parts.append(slim.moved(0, -r * 1.25).moved(turn=np.pi / 4 + side * np.pi / 2))
    return Mesh.join(parts), (r * 1.7, r * 1.7, h)


def _castle(rng: Rng) -> tuple[Mesh, tuple]:
    w, d, h = rng.uniform(20, 36), rng.uniform(16, 30), rng.uniform(6, 11)
    parts = [solids.box(w, d, h, WALL, bay=(5, 5)), solids.merlons(w, d, 1.3).moved(z=h)]
    top = str(rng.choice(["cone", "crown", "flat", "pointed"]))
    sides, r = int(rng.choice([4, 6, 10])), rng.uniform(2.5, 4)
    for x in (-1, 1):
        for y in (-1, 1):
            if rng.random() < 0.85:
                parts.append(_tower(rng, r, h * rng.uniform(1.2, 1.9), sides, top, WALL).moved(x * w / 2, y * d / 2))
    kw, kd, kh = w * rng.uniform(0.25, 0.5), d * rng.uniform(0.3, 0.5), h * rng.uniform(1.6, 2.8)
    keep = [solids.box(kw, kd, kh, FACADE, bay=(5, 5))]
    keep += [solids.hip(kw, kd, kh * 0.3)] if rng.random() < 0.5 else [solids.merlons(kw, kd, 1.2)]
    keep[1] = keep[1].moved(z=kh)
    parts.append(Mesh.join(keep).moved(rng.uniform(-0.2, 0.2) * w, rng.uniform(-0.1, 0.2) * d))
    gate = rng.uniform(4, 7)
    parts.append(
        solids.box(gate, 2.5, h * 1.25, PORTAL, bay=(gate, h * 1.25)).moved(rng.uniform(-0.25, 0.25) * w, -d / 2 - 1)
    )
    return Mesh.join(parts), (w * 0.8, d * 0.8, h)


def _pagoda(rng: Rng) -> tuple[Mesh, tuple]:
    levels, sides = int(rng.integers(3, 8)), int(rng.choice([4, 4, 6, 8]))
    r, high, shrink, flare = rng.uniform(5, 9), rng.uniform(3, 5), rng.uniform(0.78, 0.94), rng.uniform(1.25, 1.7)
    parts, z = [solids.steps(r * 2.4, r * 2.4, 1.5, 3)], 1.5
    for _ in range(levels):
        parts.append(solids.turned([(r, z), (r, z + high)], sides, FACADE, bay=high))
        eave = [
            (r * flare * 0.98, z + high * 1.06),
            (r * flare, z + high),
            (r * 0.95, z + high * 1.35),
            (r * 0.7, z + high * 1.7),
        ]
        parts.append(solids.turned(eave, sides, [TRIM, ROOF, ROOF]))
        z, r, high = z + high * 1.45, r * shrink, high * rng.uniform(0.86, 1.0)
    parts.append(solids.turned([(r * 1.1, z), (r * 0.3, z + high), (0, z + high * rng.uniform(1.8, 3.2))], sides, ROOF))
    return Mesh.join(parts), (12.0, 12.0, 6.0)


def _mosque(rng: Rng) -> tuple[Mesh, tuple]:
    w, h, sides = rng.uniform(18, 28), rng.uniform(8, 13), int(rng.choice([8, 12]))
    parts = [solids.box(w, w, h, FACADE, bay=(5, h / 2))]
    kind = str(rng.choice(["round", "onion", "pointed"]))
    r = w * rng.uniform(0.26, 0.4)
    drum = h * rng.uniform(0.15, 0.5)
    parts.append(solids.turned([(r, h), (r, h + drum)], sides, ARCADE, drum))
    parts.append(solids.dome(r * 1.02, r * rng.uniform(0.8, 1.4), 14, DOME, kind, 6).moved(z=h + drum))
    if rng.random() < 0.6:
        small = solids.dome(w * 0.13, w * 0.15, 8, DOME, kind, 4).moved(z=h)
        parts += [small.moved(x * w * 0.34, y * w * 0.34) for x in (-1, 1) for y in (-1, 1)]
    iwan = w * rng.uniform(0.25, 0.45)
    parts.append(solids.box(iwan, 2.0, h * 1.3, PORTAL, bay=(iwan, h * 1.3)).moved(0, -w / 2 - 0.8))
    minarets, gap = int(rng.choice([1, 2, 2, 4])), rng.uniform(0.5, 0.75) * w
    spots = [(-gap, -gap), (gap, -gap), (gap, gap), (-gap, gap)][:minarets]
    slim, tall = w * 0.055, h * rng.uniform(2.0, 3.4)
    cap = str(rng.choice(["cone", "onion"]))
    for x, y in spots:
        parts.append(_tower(np.random.default_rng(3), slim, tall, 8, cap, TRIM).moved(x, y))
        parts.append(
            solids.turned(
                [(slim, tall * 0.62), (slim * 1.8, tall * 0.66), (slim * 1.8, tall * 0.69), (slim, tall * 0.69)],
                8,
                TRIM,
            ).moved(x, y)
        )
    return Mesh.join(parts), (w * 0.9, w * 0.9, h)


def _bridge(rng: Rng) -> tuple[Mesh, None]:
    n, span = int(rng.integers(2, 7)), rng.uniform(9, 15)
    h, d, length = rng.uniform(6, 12), rng.uniform(5, 8), 0.0
    length = n * span
    pointed = bool(rng.random() < 0.3)
    parts = [solids.arches(length, h, d, n, rng.uniform(0.15, 0.4), WALL, pointed=pointed)]
    parts += [solids.box(length, 0.5, 1.1, TRIM).moved(0, y * d / 2, h) for y in (-1, 1)]
    top = str(rng.choice(["cone", "crown", "spire", "flat"]))
    for x in ([], [-0.5, 0.5], [0], [-0.25, 0.25])[int(rng.integers(4))]:
        parts.append(_tower(np.random.default_rng(5), d * 0.55, h * rng.uniform(1.5, 2.4), 4, top).moved(x * length))
    if rng.random() < 0.4:  # a second tier, as of an aqueduct
        parts.append(solids.arches(length, h * 0.7, d * 0.6, 2 * n, 0.3, WALL, 4).moved(z=h))
    return Mesh.join(parts), None


def _pyramid(rng: Rng) -> tuple[Mesh, None]:
    w, h = rng.uniform(24, 40), rng.uniform(14, 26)
    levels = int(rng.choice([1, 4, 5, 7, 9]))
    if levels == 1:
        parts = [solids.hip(w, w, h, 0.0, 0.0, WALL)]
        for i in range(int(rng.integers(0, 3))):
            s = rng.uniform(0.3, 0.5)
            parts.append(solids.hip(w * s, w * s, h * s, 0.0, 0.0, WALL).moved((i - 0.5) * 1.7 * w, w * 0.2))
        return Mesh.join(parts), None
    parts, head = [], rng.uniform(0.25, 0.45)
    for i in range(levels):
        s, t = 1 - (1 - head) * i / levels, 1 - (1 - head) * (i + 0.6) / levels
        block = solids.turned([(w * s * 0.7, 0), (w * t * 0.7, h / levels), (0, h / levels + 0.01)], 4, [WALL, TRIM])
        parts.append(block.moved(z=i * h / levels))
    stair = rng.uniform(0.14, 0.26) * w
    ramp = [
        (-stair / 2, -w / 2 - 2, 0),
        (stair / 2, -w / 2 - 2, 0),
        (stair / 2, -w * head / 2, h),
        (-stair / 2, -w * head / 2, h),
    ]
    one = solids.quads([ramp], (1, levels * 2), TRIM)
    parts += [one.moved(turn=k * np.pi / 2) for k in range(int(rng.choice([1, 4])))]
    parts.append(solids.box(w * head * 0.7, w * head * 0.6, h * rng.uniform(0.15, 0.35), ARCADE, bay=(4, 5)).moved(z=h))
    return Mesh.join(parts), None


def _gate(rng: Rng) -> tuple[Mesh, None]:
    n, w, h, d = int(rng.choice([1, 3, 3, 5])), rng.uniform(14, 26), rng.uniform(12, 20), rng.uniform(5, 9)
    parts = [
        solids.arches(w, h, d, n, rng.uniform(0.3, 0.5), WALL, 8, bool(rng.random() < 0.25), rng.uniform(0.65, 0.85))
    ]
    parts.append(solids.box(w + 1.5, d + 1.5, h * 0.08, TRIM).moved(z=h))
    parts.append(
        solids.box(w, d, h * rng.uniform(0.12, 0.3), str_pick(rng, (WALL, ARCADE)), bay=(4, 3)).moved(z=h * 1.08)
    )
    top, z = str(rng.choice(["statue", "pediment", "towers", "hip", "none"])), h * 1.25
    if top == "statue":
        parts.append(solids.statue(h * 0.45, rng.random(), mounted=bool(rng.random() < 0.6)).moved(z=z))
    elif top == "pediment":
        parts.append(solids.gable(w, d, h * 0.25, TRIM).moved(z=z))
    elif top == "towers":
        parts += [_tower(np.random.default_rng(5), d * 0.5, h * 1.5, 8, "cone").moved(x * (w / 2)) for x in (-1, 1)]
    elif top == "hip":
        parts.append(solids.hip(w + 2, d + 2, h * 0.35).moved(z=z))
    if rng.random() < 0.6:
        columns = solids.colonnade(w * 0.94, h * 0.98, n + 1, 0.5)
        parts += [columns.moved(0, y * (d / 2 + 0.7)) for y in (-1, 1)]
    return Mesh.join(parts), None


def _palace(rng: Rng) -> tuple[Mesh, tuple]:
    w, d, h = rng.uniform(30, 48), rng.uniform(10, 15), rng.uniform(8, 15)
    storey = h / int(rng.integers(2, 4))
    parts = [
        solids.box(w, d, h, FACADE, bay=(storey * 0.9, storey)),
        solids.hip(w, d, h * rng.uniform(0.15, 0.5), 0.9).moved(z=h),
    ]
    cw, ch = w * rng.uniform(0.16, 0.34), h * rng.uniform(1.05, 1.5)
    parts.append(solids.box(cw, d * 1.35, ch, FACADE, bay=(storey, storey)))
    crown = str(rng.choice(["dome", "gable", "tower", "hip"]))
    if crown == "dome":
        parts.append(solids.turned([(cw * 0.4, ch), (cw * 0.4, ch + 3)], 12, ARCADE, 3))
        parts.append(
            solids.dome(cw * 0.42, cw * rng.uniform(0.35, 0.6), 12, DOME, str(rng.choice(["round", "bell"]))).moved(
                z=ch + 3
            )
        )
    elif crown == "gable":
        parts.append(solids.gable(cw, d * 1.35, cw * 0.3, TRIM).moved(z=ch))
    elif crown == "hip":
        parts.append(solids.hip(cw, d * 1.35, cw * 0.6, 0.4).moved(z=ch))
    else:
        parts.append(
            _tower(rng, cw * 0.3, ch * rng.uniform(0.5, 1.2), 4, str(rng.choice(["spire", "lantern", "bell"]))).moved(
                z=ch
            )
        )
    if rng.random() < 0.7:
        pw, ph = d * rng.uniform(0.8, 1.3), h * rng.uniform(0.9, 1.35)
        wing = [solids.box(pw, d * rng.uniform(1.3, 2.6), ph, FACADE, bay=(storey, storey))]
        wing.append(solids.hip(pw, pw * 1.4, ph * rng.uniform(0.2, 0.7), 0.1).moved(z=ph))
        parts += [Mesh.join(wing).moved(x * w / 2, -d * 0.3) for x in (-1, 1)]
    if rng.random() < 0.6:
        n = int(rng.choice([4, 6, 8]))
        parts.append(solids.colonnade(cw * 0.9, h * 0.7, n, 0.5).moved(0, -d * 0.68 - 1.5))
        parts.append(solids.box(cw, 3.0, h * 0.08, TRIM).moved(0, -d * 0.68 - 1, h * 0.7))
    return Mesh.join(parts), (w * 0.6, d, h * 0.7)


def _column(rng: Rng) -> tuple[Mesh, None]:
    base, shaft, h = rng.uniform(4, 8), rng.uniform(1.2, 2.4), rng.uniform(14, 32)
    parts = [solids.steps(base * 1.8, base * 1.8, 1.5, int(rng.integers(2, 6)))]
    plinth = rng.uniform(0.5, 1.2) * base
    parts.append(solids.box(base, base, plinth, str_pick(rng, (WALL, ARCADE, TRIM)), bay=(base, plinth)).moved(z=1.5))
    z, kind = 1.5 + plinth, str(rng.choice(["obelisk", "column", "statue", "statue", "rider"]))
    if kind == "obelisk":
        parts.append(solids.turned([(shaft * 1.5, z), (shaft, z + h), (0, z + h * 1.08)], 4, [WALL, TRIM]))
    elif kind == "column":
        parts.append(solids.column(shaft, h, 10).moved(z=z))
        parts.append(solids.statue(h * rng.uniform(0.2, 0.35), rng.random()).moved(z=z + h))
    else:
        parts.append(
            solids.statue(
                h * rng.uniform(0.5, 0.9), rng.random(), str_pick(rng, (DARK, TRIM, DOME)), kind == "rider"
            ).moved(z=z)
        )
    if rng.random() < 0.5:
        small = solids.statue(base * 0.6, rng.random(), TRIM)
        block = Mesh.join([solids.box(1.6, 1.6, 2), small.moved(z=2)])
        parts += [block.moved(x * base * 1.4, y * base * 1.4) for x in (-1, 1) for y in (-1, 1)]
    if rng.random() < 0.35:
        ring = [
            solids.column(0.5, 6, 6).moved(base * 2.6 * np.cos(a), base * 2.6 * np.sin(a))
            for a in np.arange(10) * np.pi / 5
        ]
        parts += ring
    return Mesh.join(parts), None


def _arena(rng: Rng) -> tuple[Mesh, None]:
    r, levels, sides = rng.uniform(18, 28), int(rng.integers(1, 5)), int(rng.choice([16, 20, 24]))
    high = rng.uniform(4, 6)
    ring = solids.arcade_ring(r, high * levels, sides, levels)
    squash = rng.uniform(0.65, 1.0)
    parts = [Mesh(ring.points * (1, squash, 1), ring.repeats, ring.texture)]
    if rng.random() < 0.5:
        spots = np.arange(4) * np.pi / 2 + np.pi / 4
        one = _tower(
            rng, r * 0.12, high * levels * rng.uniform(1.1, 1.6), 4, str(rng.choice(["cone", "crown", "flat"]))
        )
        parts += [one.moved(r * np.cos(a), r * squash * np.sin(a)) for a in spots]
    if rng.random() < 0.5:
        parts.append(
            solids.box(r * 0.4, 3, high * levels * 1.2, PORTAL, bay=(r * 0.4, high * levels * 1.2)).moved(
                0, -r * squash - 0.5
            )
        )
    return Mesh.join(parts), None


def _clock_tower(rng: Rng) -> tuple[Mesh, tuple]:
    r, h, sides = rng.uniform(3.5, 5.5), rng.uniform(18, 36), int(rng.choice([4, 4, 8]))
    parts, z, levels = [], 0.0, int(rng.integers(2, 5))
    for level in range(levels):
        high = h / levels
        parts.append(solids.turned([(r, z), (r, z + high)], sides, str_pick(rng, (WALL, FACADE, ARCADE)), bay=r))
        parts.append(
            solids.turned([(r * 1.08, z + high), (r * 1.08, z + high + 0.5), (0, z + high + 0.51)], sides, TRIM)
        )
        z, r = z + high + 0.5, r * (rng.uniform(0.75, 1.0) if level else 0.92)
    parts.append(solids.turned([(r * 1.02, z), (r * 1.02, z + 2 * r)], sides, ROSE, bay=2 * r))
    top = str(rng.choice(["spire", "cone", "onion", "round", "lantern", "crown"]))
    parts.append(_tower(rng, r, 0.5, sides, top, TRIM).moved(z=z + 2 * r))
    if rng.random() < 0.6:
        w, d, low = rng.uniform(12, 26), rng.uniform(8, 12), h * rng.uniform(0.25, 0.45)
        house = Mesh.join([solids.box(w, d, low, FACADE, bay=(4, 4)), solids.hip(w, d, low * 0.4, 0.7).moved(z=low)])
        parts.append(house.moved(rng.choice([-0.5, 0, 0.5]) * w, d * 0.4))
    return Mesh.join(parts), (10.0, 10.0, 8.0)


def _high_rise(rng: Rng) -> tuple[Mesh, tuple]:
    r, h, sides = rng.uniform(7, 11), rng.uniform(50, 90), int(rng.choice([4, 4, 6, 12]))
    parts, z, steps = [solids.box(r * 3, r * 2.6, 5, GLASS, bay=(4, 4))], 0.0, int(rng.integers(1, 5))
    twist = rng.choice([0.0, 0.0, 0.25])
    for step in range(steps):
        high = h / steps
        block = solids.turned(
            [(r, 0), (r, high), (0, high + 0.01)], sides, [str_pick(rng, (GLASS, FACADE)), TRIM], bay=4
        )
        parts.append(block.moved(z=z, turn=twist * step))
        z, r = z + high, r * rng.uniform(0.6, 0.95)
    top = str(rng.choice(["spire", "none", "pyramid", "dome", "twin"]))
    if top == "spire":
        parts.append(solids.turned([(r * 0.3, z), (0, z + h * 0.35)], 6, TRIM))
    elif top == "pyramid":
        parts.append(solids.turned([(r, z), (0, z + r * 2)], sides, ROOF))
    elif top == "dome":
        parts.append(solids.dome(r, r, 12, DOME).moved(z=z))
    elif top == "twin":
        mast = solids.turned([(r * 0.12, z), (r * 0.05, z + h * 0.25)], 5, TRIM)
        parts += [mast.moved(x * r * 0.5) for x in (-1, 1)]
    return Mesh.join(parts), (18.0, 18.0, 5.0)


KINDS: dict[str, Callable[[Rng], tuple[Mesh, tuple | None]]] = {
    "cathedral": _cathedral, "temple": _temple, "rotunda": _rotunda, "castle": _castle, "pagoda": _pagoda,
    "mosque": _mosque, "bridge": _bridge, "pyramid": _pyramid, "gate": _gate, "palace": _palace,
    "monument": _column, "arena": _arena, "clock tower": _clock_tower, "high-rise": _high_rise,
}  # fmt: skip


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
    kind = str(shared.choice(list(KINDS)))
    mesh, hall_size = KINDS[kind](rng)
    turn = rng.choice([0.0, rng.uniform(-0.5, 0.5)])
    name = "".join(rng.choice(WORDS, rng.integers(2, 4))).capitalize()
    return Landmark(f"{name} {kind.title()}", kind, family, mesh.moved(turn=turn), material, hall_size, seed)


def hall(rng: Rng, width: float, depth: float, height: float) -> Mesh:
    """A room seen from within, its middle at the origin: walls with windows, two rows of columns, a vault or a ceiling.

    >>> bool(hall(np.random.default_rng(0), 10, 20, 8).points[..., 2].max() >= 8)
    True
    """
    x, y = width / 2, depth / 2
    wall = int(rng.choice([FACADE, ARCADE, WALL, FACADE]))
    corners = [(-x, -y), (-x, y), (x, y), (x, -y)]
    faces, repeats, texture = [], [], []
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        faces.append([(ax, ay, 0), (bx, by, 0), (bx, by, height), (ax, ay, height)])
        repeats.append((max(1, round(np.hypot(bx - ax, by - ay) / (height * 0.7))), 1))
        texture.append(wall)
    faces.append([(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0)])
    repeats.append((width / 3, depth / 3))
    texture.append(FLOOR)
    parts = [solids.quads(faces, repeats, texture)]
    t = np.linspace(np.pi, 0, 9)
    kind = rng.choice(["barrel", "pointed", "flat", "timber"])
    rise = {"barrel": 0.45, "pointed": 0.75, "flat": 0.02, "timber": 0.4}[str(kind)] * width / 2
    shape = 1 - np.abs(np.cos(t)) ** (1.0 if kind == "timber" else 1.6) if kind in ("pointed", "timber") else np.sin(t)
    arc = np.stack([x * np.cos(t), height + rise * shape], 1)
    cover = [
        [(b[0], -y, b[1]), (a[0], -y, a[1]), (a[0], y, a[1]), (b[0], y, b[1])]
        for a, b in zip(arc, arc[1:], strict=False)
    ]
    parts.append(solids.quads(cover, (0.5, depth / 4), ROOF if kind == "timber" else TRIM))
    for end in (-1, 1):
        fan = [
            [(a[0], end * y, height), (b[0], end * y, height), (b[0], end * y, b[1]), (a[0], end * y, a[1])]
            for a, b in zip(arc, arc[1:], strict=False)
        ]
        parts.append(solids.quads(fan if end > 0 else [[p[1], p[0], p[3], p[2]] for p in fan], (0.5, 0.5), TRIM))
    aisle = float(rng.choice([0.0, 0.55, 0.65])) * x
    if aisle:
        count = int(np.clip(depth / rng.uniform(3.5, 6), 3, 8))
        one = solids.column(min(0.6, width * 0.04), height, 6)
        parts += [one.moved(side * aisle, at) for side in (-1, 1) for at in np.linspace(-y * 0.85, y * 0.85, count)]
    altar = str(rng.choice(["rose", "statue", "throne", "none"]))
    if altar == "rose":
        parts.append(
            solids.box(width * 0.36, 0.4, width * 0.36, ROSE, bay=(width * 0.36,) * 2).moved(0, y - 0.3, height * 0.45)
        )
    elif altar == "statue":
        parts.append(
            Mesh.join([solids.box(2.4, 2.4, 1.5), solids.statue(height * 0.5, rng.random(), DOME).moved(z=1.5)]).moved(
                0, y * 0.8
            )
        )
    elif altar == "throne":
        parts.append(solids.steps(width * 0.3, 4, 1.2, 3).moved(0, y * 0.75))
    bench = int(rng.integers(0, 6))
    parts += [
        solids.box(aisle or x * 0.6, 0.5, 0.9, COLUMN, ROOF).moved(0, at)
        for at in np.linspace(-y * 0.3, y * 0.5, bench)
    ]
    return Mesh.join(parts)
