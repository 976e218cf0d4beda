"""Buildings of worship and their towers. Each takes random numbers; returns a mesh and the size of its hall, if any."""

from __future__ import annotations

import numpy as np

from landmark.world.render import shapes
from landmark.world.render.materials import ARCADE, DOME, FACADE, PORTAL, ROOF, ROSE, TRIM, WALL
from landmark.world.render.renderer import Mesh

Rng = np.random.Generator


def cathedral(rng: Rng) -> tuple[Mesh, tuple]:
    """Nave, aisles, towers, perhaps a transept and a dome."""
    w, d, h = rng.uniform(11, 17), rng.uniform(26, 48), rng.uniform(12, 20)
    parts = [shapes.box(w, d, h, FACADE, bay=(5, h)), shapes.gable(w, d, h * rng.uniform(0.4, 0.7)).moved(z=h)]
    parts.append(shapes.box(w * 1.7, d * 0.8, h * 0.5, FACADE, ROOF, (4, h * 0.5)))
    towers, top = int(rng.choice([0, 1, 2, 2, 4])), str(rng.choice(["spire", "flat", "crown", "onion", "cone"]))
    radius, rise, sides = w * rng.uniform(0.24, 0.34), h * rng.uniform(1.2, 2.1), int(rng.choice([4, 4, 8]))
    places: dict[int, list[tuple[float, float]]] = {0: [], 1: [(0, -d / 2)], 2: [(-w / 2, -d / 2), (w / 2, -d / 2)]}
    corners = [(x * w / 2, y * d / 2) for x in (-1, 1) for y in (-1, 1)]
    for x, y in places.get(towers, corners):
        parts.append(shapes.tower(np.random.default_rng(int(radius * 1e6)), radius, rise, sides, top).moved(x, y))
    if rng.random() < 0.6:
        tall = h * rng.uniform(1.3, 1.8)
        parts.append(
            shapes.tower(rng, w * 0.3, tall, 8, str(rng.choice(["round", "spire", "lantern"]))).moved(
                0, d * rng.uniform(0.05, 0.3)
            )
        )
    if rng.random() < 0.6:  # transept
        wide = w * rng.uniform(2.1, 3.0)
        cross = Mesh.join([shapes.box(w, wide, h, FACADE, bay=(5, h)), shapes.gable(w, wide, h * 0.5).moved(z=h)])
        parts.append(cross.moved(0, 0, 0, np.pi / 2).moved(0, d * 0.12))
    parts.append(
        shapes.turned([(w * 0.45, 0), (w * 0.45, h * 0.8), (0, h * 1.2)], 10, [FACADE, ROOF], bay=h * 0.4).moved(
            0, d / 2
        )
    )
    depth = -d / 2 - 0.35
    parts.append(shapes.box(w * 0.4, 0.6, h * 0.5, PORTAL, bay=(w * 0.4, h * 0.5)).moved(0, depth))
    parts.append(shapes.box(w * 0.4, 0.5, w * 0.4, ROSE, bay=(w * 0.4, w * 0.4)).moved(0, depth, h * 0.55))
    return Mesh.join(parts), (w * 1.6, d, h)


def temple(rng: Rng) -> tuple[Mesh, tuple]:
    """Columns around a hall, under a gable, a dome or an attic."""
    n = int(rng.integers(4, 9))
    w, h = n * rng.uniform(2.4, 3.6), rng.uniform(7, 13)
    d, base, r = w * rng.uniform(1.1, 2.2), rng.uniform(1, 4), rng.uniform(0.5, 0.9)
    parts = [shapes.steps(w + 2, d + 2, base, int(rng.integers(2, 5)))]
    parts.append(shapes.box(w * 0.72, d * 0.8, h, rng.choice((WALL, ARCADE)), bay=(5, h)).moved(z=base))
    for y in (-d / 2, d / 2):
        parts.append(shapes.colonnade(w, h, n, r).moved(0, y, base))
    if rng.random() < 0.6:
        for x in (-w / 2, w / 2):
            parts.append(shapes.colonnade(d, h, max(4, int(d / 4)), r).moved(turn=np.pi / 2).moved(x, 0, base))
    parts.append(shapes.box(w + 2, d + 2, h * 0.14, TRIM, bay=(4, h * 0.14)).moved(z=base + h))
    roof = str(rng.choice(["gable", "gable", "dome", "hip", "attic"]))
    z = base + h * 1.14
    if roof == "gable":
        parts.append(shapes.gable(w + 2, d + 2, w * rng.uniform(0.15, 0.3), TRIM, 0.3).moved(z=z))
    elif roof == "hip":
        parts.append(shapes.hip(w + 2, d + 2, h * 0.35).moved(z=z))
    elif roof == "dome":
        parts.append(shapes.turned([(w * 0.4, z), (w * 0.4, z + h * 0.35)], 12, ARCADE, h * 0.35))
        parts.append(shapes.dome(w * 0.4, w * rng.uniform(0.3, 0.5), 12, DOME).moved(z=z + h * 0.35))
    else:
        parts.append(shapes.box(w * 0.7, d * 0.7, h * 0.4, WALL).moved(z=z))
        parts.append(shapes.statue(h * 0.5, rng.random()).moved(0, -d * 0.3, z + h * 0.4))
    return Mesh.join(parts), (w * 0.9, d, h)


def rotunda(rng: Rng) -> tuple[Mesh, tuple]:
    """Drums, one on another, under a dome."""
    r, h, sides = rng.uniform(9, 15), rng.uniform(9, 16), int(rng.choice([8, 12, 16]))
    levels = int(rng.integers(1, 4))
    parts, z, radius = [], 0.0, r
    for _ in range(levels):
        high = h / levels * rng.uniform(0.8, 1.2)
        parts.append(
            shapes.turned([(radius, z), (radius, z + high)], sides, rng.choice((FACADE, ARCADE, WALL)), bay=high)
        )
        parts.append(
            shapes.turned([(radius, z + high), (radius * 1.05, z + high + 0.6), (0, z + high + 0.61)], sides, TRIM)
        )
        z, radius = z + high + 0.6, radius * rng.uniform(0.72, 0.92)
    kind = str(rng.choice(["round", "pointed", "onion", "bell"]))
    rise = radius * rng.uniform(0.6, 1.3)
    parts.append(shapes.dome(radius, rise, max(sides, 12), DOME, kind, 6).moved(z=z))
    parts.append(shapes.tower(rng, radius * 0.13, radius * 0.3, 8, "cone", TRIM).moved(z=z + rise * 0.97))
    if rng.random() < 0.7:
        n = int(rng.choice([4, 6, 8]))
        w = r * rng.uniform(0.9, 1.5)
        porch = [shapes.colonnade(w, h * 0.7, n, 0.6),
                 shapes.box(w + 2, r * 0.5, h * 0.1, TRIM).moved(0, r * 0.2, h * 0.7),
                 shapes.gable(w + 2, r * 0.5, w * 0.2, TRIM).moved(0, r * 0.2, h * 0.8)]  # fmt: skip
        parts.append(Mesh.join(porch).moved(0, -r * 1.2))
    for side in range(int(rng.choice([0, 0, 2, 4]))):
        slim = shapes.tower(rng, r * 0.12, h * rng.uniform(1.2, 2.0), 8, "cone")
        parts.append(slim.moved(0, -r * 1.25).moved(turn=np.pi / 4 + side * np.pi / 2))
    return Mesh.join(parts), (r * 1.7, r * 1.7, h)


def pagoda(rng: Rng) -> tuple[Mesh, tuple]:
    """Roofs with flared eaves, one on another."""
    levels, sides = int(rng.integers(3, 8)), int(rng.choice([4, 4, 6, 8]))
    r, high, shrink, flare = rng.uniform(5, 9), rng.uniform(3, 5), rng.uniform(0.78, 0.94), rng.uniform(1.25, 1.7)
    parts, z = [shapes.steps(r * 2.4, r * 2.4, 1.5, 3)], 1.5
    for _ in range(levels):
        parts.append(shapes.turned([(r, z), (r, z + high)], sides, FACADE, bay=high))
        eave = [
            (r * flare * 0.98, z + high * 1.06),
            (r * flare, z + high),
            (r * 0.95, z + high * 1.35),
            (r * 0.7, z + high * 1.7),
        ]
        parts.append(shapes.turned(eave, sides, [TRIM, ROOF, ROOF]))
        z, r, high = z + high * 1.45, r * shrink, high * rng.uniform(0.86, 1.0)
    parts.append(shapes.turned([(r * 1.1, z), (r * 0.3, z + high), (0, z + high * rng.uniform(1.8, 3.2))], sides, ROOF))
    return Mesh.join(parts), (12.0, 12.0, 6.0)


def mosque(rng: Rng) -> tuple[Mesh, tuple]:
    """A dome on a cube, an iwan, minarets."""
    w, h, sides = rng.uniform(18, 28), rng.uniform(8, 13), int(rng.choice([8, 12]))
    parts = [shapes.box(w, w, h, FACADE, bay=(5, h / 2))]
    kind = str(rng.choice(["round", "onion", "pointed"]))
    r = w * rng.uniform(0.26, 0.4)
    drum = h * rng.uniform(0.15, 0.5)
    parts.append(shapes.turned([(r, h), (r, h + drum)], sides, ARCADE, drum))
    parts.append(shapes.dome(r * 1.02, r * rng.uniform(0.8, 1.4), 14, DOME, kind, 6).moved(z=h + drum))
    if rng.random() < 0.6:
        small = shapes.dome(w * 0.13, w * 0.15, 8, DOME, kind, 4).moved(z=h)
        parts += [small.moved(x * w * 0.34, y * w * 0.34) for x in (-1, 1) for y in (-1, 1)]
    iwan = w * rng.uniform(0.25, 0.45)
    parts.append(shapes.box(iwan, 2.0, h * 1.3, PORTAL, bay=(iwan, h * 1.3)).moved(0, -w / 2 - 0.8))
    minarets, gap = int(rng.choice([1, 2, 2, 4])), rng.uniform(0.5, 0.75) * w
    spots = [(-gap, -gap), (gap, -gap), (gap, gap), (-gap, gap)][:minarets]
    slim, tall = w * 0.055, h * rng.uniform(2.0, 3.4)
    cap = str(rng.choice(["cone", "onion"]))
    for x, y in spots:
        parts.append(shapes.tower(np.random.default_rng(3), slim, tall, 8, cap, TRIM).moved(x, y))
        parts.append(
            shapes.turned(
                [(slim, tall * 0.62), (slim * 1.8, tall * 0.66), (slim * 1.8, tall * 0.69), (slim, tall * 0.69)],
                8,
                TRIM,
            ).moved(x, y)
        )
    return Mesh.join(parts), (w * 0.9, w * 0.9, h)


def clock_tower(rng: Rng) -> tuple[Mesh, tuple]:
    """A stepped shaft with four clocks."""
    r, h, sides = rng.uniform(3.5, 5.5), rng.uniform(18, 36), int(rng.choice([4, 4, 8]))
    parts, z, levels = [], 0.0, int(rng.integers(2, 5))
    for level in range(levels):
        high = h / levels
        parts.append(shapes.turned([(r, z), (r, z + high)], sides, rng.choice((WALL, FACADE, ARCADE)), bay=r))
        parts.append(
            shapes.turned([(r * 1.08, z + high), (r * 1.08, z + high + 0.5), (0, z + high + 0.51)], sides, TRIM)
        )
        z, r = z + high + 0.5, r * (rng.uniform(0.75, 1.0) if level else 0.92)
    parts.append(shapes.turned([(r * 1.02, z), (r * 1.02, z + 2 * r)], sides, ROSE, bay=2 * r))
    top = str(rng.choice(["spire", "cone", "onion", "round", "lantern", "crown"]))
    parts.append(shapes.tower(rng, r, 0.5, sides, top, TRIM).moved(z=z + 2 * r))
    if rng.random() < 0.6:
        w, d, low = rng.uniform(12, 26), rng.uniform(8, 12), h * rng.uniform(0.25, 0.45)
        house = Mesh.join([shapes.box(w, d, low, FACADE, bay=(4, 4)), shapes.hip(w, d, low * 0.4, 0.7).moved(z=low)])
        parts.append(house.moved(rng.choice([-0.5, 0, 0.5]) * w, d * 0.4))
    return Mesh.join(parts), (10.0, 10.0, 8.0)


SACRED = {
    "cathedral": cathedral, "temple": temple, "rotunda": rotunda, "pagoda": pagoda, "mosque": mosque,
    "clock tower": clock_tower,
}  # fmt: skip
"""Kinds by name."""
