"""Castles, bridges, gates, palaces, monuments. Each takes random numbers; returns a mesh and its hall, if any."""

from __future__ import annotations

import numpy as np

from landmark.world.render import shapes
from landmark.world.render.materials import ARCADE, DARK, DOME, FACADE, GLASS, PORTAL, ROOF, TRIM, WALL
from landmark.world.render.renderer import Mesh

Rng = np.random.Generator


def castle(rng: Rng) -> tuple[Mesh, tuple]:
    """Walls, corner towers, a keep, a gate."""
    w, d, h = rng.uniform(20, 36), rng.uniform(16, 30), rng.uniform(6, 11)
    parts = [shapes.box(w, d, h, WALL, bay=(5, 5)), shapes.merlons(w, d, 1.3).moved(z=h)]
    top = str(rng.choice(["cone", "crown", "flat", "pointed"]))
    sides, r = int(rng.choice([4, 6, 10])), rng.uniform(2.5, 4)
    for x in (-1, 1):
        for y in (-1, 1):
            if rng.random() < 0.85:
                parts.append(
                    shapes.tower(rng, r, h * rng.uniform(1.2, 1.9), sides, top, WALL).moved(x * w / 2, y * d / 2)
                )
    kw, kd, kh = w * rng.uniform(0.25, 0.5), d * rng.uniform(0.3, 0.5), h * rng.uniform(1.6, 2.8)
    keep = [shapes.box(kw, kd, kh, FACADE, bay=(5, 5))]
    keep += [shapes.hip(kw, kd, kh * 0.3)] if rng.random() < 0.5 else [shapes.merlons(kw, kd, 1.2)]
    keep[1] = keep[1].moved(z=kh)
    parts.append(Mesh.join(keep).moved(rng.uniform(-0.2, 0.2) * w, rng.uniform(-0.1, 0.2) * d))
    gate = rng.uniform(4, 7)
    parts.append(
        shapes.box(gate, 2.5, h * 1.25, PORTAL, bay=(gate, h * 1.25)).moved(rng.uniform(-0.25, 0.25) * w, -d / 2 - 1)
    )
    return Mesh.join(parts), (w * 0.8, d * 0.8, h)


def bridge(rng: Rng) -> tuple[Mesh, None]:
    """Arches in a row, perhaps with towers or a second tier."""
    n, span = int(rng.integers(2, 7)), rng.uniform(9, 15)
    h, d, length = rng.uniform(6, 12), rng.uniform(5, 8), 0.0
    length = n * span
    pointed = bool(rng.random() < 0.3)
    parts = [shapes.arches(length, h, d, n, rng.uniform(0.15, 0.4), WALL, pointed=pointed)]
    parts += [shapes.box(length, 0.5, 1.1, TRIM).moved(0, y * d / 2, h) for y in (-1, 1)]
    top = str(rng.choice(["cone", "crown", "spire", "flat"]))
    for x in ([], [-0.5, 0.5], [0], [-0.25, 0.25])[int(rng.integers(4))]:
        parts.append(
            shapes.tower(np.random.default_rng(5), d * 0.55, h * rng.uniform(1.5, 2.4), 4, top).moved(x * length)
        )
    if rng.random() < 0.4:  # a second tier, as of an aqueduct
        parts.append(shapes.arches(length, h * 0.7, d * 0.6, 2 * n, 0.3, WALL, 4).moved(z=h))
    return Mesh.join(parts), None


def pyramid(rng: Rng) -> tuple[Mesh, None]:
    """Smooth with its satellites, or stepped with stairs and a shrine."""
    w, h = rng.uniform(24, 40), rng.uniform(14, 26)
    levels = int(rng.choice([1, 4, 5, 7, 9]))
    if levels == 1:
        parts = [shapes.hip(w, w, h, 0.0, 0.0, WALL)]
        for i in range(int(rng.integers(0, 3))):
            s = rng.uniform(0.3, 0.5)
            parts.append(shapes.hip(w * s, w * s, h * s, 0.0, 0.0, WALL).moved((i - 0.5) * 1.7 * w, w * 0.2))
        return Mesh.join(parts), None
    parts, head = [], rng.uniform(0.25, 0.45)
    for i in range(levels):
        s, t = 1 - (1 - head) * i / levels, 1 - (1 - head) * (i + 0.6) / levels
        block = shapes.turned([(w * s * 0.7, 0), (w * t * 0.7, h / levels), (0, h / levels + 0.01)], 4, [WALL, TRIM])
        parts.append(block.moved(z=i * h / levels))
    stair = rng.uniform(0.14, 0.26) * w
    ramp = [
        (-stair / 2, -w / 2 - 2, 0),
        (stair / 2, -w / 2 - 2, 0),
        (stair / 2, -w * head / 2, h),
        (-stair / 2, -w * head / 2, h),
    ]
    one = shapes.quads([ramp], (1, levels * 2), TRIM)
    parts += [one.moved(turn=k * np.pi / 2) for k in range(int(rng.choice([1, 4])))]
    parts.append(shapes.box(w * head * 0.7, w * head * 0.6, h * rng.uniform(0.15, 0.35), ARCADE, bay=(4, 5)).moved(z=h))
    return Mesh.join(parts), None


def gate(rng: Rng) -> tuple[Mesh, None]:
    """Arches, an attic, something on top."""
    n, w, h, d = int(rng.choice([1, 3, 3, 5])), rng.uniform(14, 26), rng.uniform(12, 20), rng.uniform(5, 9)
    parts = [
        shapes.arches(w, h, d, n, rng.uniform(0.3, 0.5), WALL, 8, bool(rng.random() < 0.25), rng.uniform(0.65, 0.85))
    ]
    parts.append(shapes.box(w + 1.5, d + 1.5, h * 0.08, TRIM).moved(z=h))
    parts.append(shapes.box(w, d, h * rng.uniform(0.12, 0.3), rng.choice((WALL, ARCADE)), bay=(4, 3)).moved(z=h * 1.08))
    top, z = str(rng.choice(["statue", "pediment", "towers", "hip", "none"])), h * 1.25
    if top == "statue":
        parts.append(shapes.statue(h * 0.45, rng.random(), mounted=bool(rng.random() < 0.6)).moved(z=z))
    elif top == "pediment":
        parts.append(shapes.gable(w, d, h * 0.25, TRIM).moved(z=z))
    elif top == "towers":
        parts += [
            shapes.tower(np.random.default_rng(5), d * 0.5, h * 1.5, 8, "cone").moved(x * (w / 2)) for x in (-1, 1)
        ]
    elif top == "hip":
        parts.append(shapes.hip(w + 2, d + 2, h * 0.35).moved(z=z))
    if rng.random() < 0.6:
        columns = shapes.colonnade(w * 0.94, h * 0.98, n + 1, 0.5)
        parts += [columns.moved(0, y * (d / 2 + 0.7)) for y in (-1, 1)]
    return Mesh.join(parts), None


def palace(rng: Rng) -> tuple[Mesh, tuple]:
    """A long wing, a centre, pavilions."""
    w, d, h = rng.uniform(30, 48), rng.uniform(10, 15), rng.uniform(8, 15)
    storey = h / int(rng.integers(2, 4))
    parts = [
        shapes.box(w, d, h, FACADE, bay=(storey * 0.9, storey)),
        shapes.hip(w, d, h * rng.uniform(0.15, 0.5), 0.9).moved(z=h),
    ]
    cw, ch = w * rng.uniform(0.16, 0.34), h * rng.uniform(1.05, 1.5)
    parts.append(shapes.box(cw, d * 1.35, ch, FACADE, bay=(storey, storey)))
    crown = str(rng.choice(["dome", "gable", "tower", "hip"]))
    if crown == "dome":
        parts.append(shapes.turned([(cw * 0.4, ch), (cw * 0.4, ch + 3)], 12, ARCADE, 3))
        parts.append(
            shapes.dome(cw * 0.42, cw * rng.uniform(0.35, 0.6), 12, DOME, str(rng.choice(["round", "bell"]))).moved(
                z=ch + 3
            )
        )
    elif crown == "gable":
        parts.append(shapes.gable(cw, d * 1.35, cw * 0.3, TRIM).moved(z=ch))
    elif crown == "hip":
        parts.append(shapes.hip(cw, d * 1.35, cw * 0.6, 0.4).moved(z=ch))
    else:
        parts.append(
            shapes.tower(
                rng, cw * 0.3, ch * rng.uniform(0.5, 1.2), 4, str(rng.choice(["spire", "lantern", "bell"]))
            ).moved(z=ch)
        )
    if rng.random() < 0.7:
        pw, ph = d * rng.uniform(0.8, 1.3), h * rng.uniform(0.9, 1.35)
        wing = [shapes.box(pw, d * rng.uniform(1.3, 2.6), ph, FACADE, bay=(storey, storey))]
        wing.append(shapes.hip(pw, pw * 1.4, ph * rng.uniform(0.2, 0.7), 0.1).moved(z=ph))
        parts += [Mesh.join(wing).moved(x * w / 2, -d * 0.3) for x in (-1, 1)]
    if rng.random() < 0.6:
        n = int(rng.choice([4, 6, 8]))
        parts.append(shapes.colonnade(cw * 0.9, h * 0.7, n, 0.5).moved(0, -d * 0.68 - 1.5))
        parts.append(shapes.box(cw, 3.0, h * 0.08, TRIM).moved(0, -d * 0.68 - 1, h * 0.7))
    return Mesh.join(parts), (w * 0.6, d, h * 0.7)


def column(rng: Rng) -> tuple[Mesh, None]:
    """A plinth that carries an obelisk, a column, a statue or a rider."""
    base, shaft, h = rng.uniform(4, 8), rng.uniform(1.2, 2.4), rng.uniform(14, 32)
    parts = [shapes.steps(base * 1.8, base * 1.8, 1.5, int(rng.integers(2, 6)))]
    plinth = rng.uniform(0.5, 1.2) * base
    parts.append(shapes.box(base, base, plinth, rng.choice((WALL, ARCADE, TRIM)), bay=(base, plinth)).moved(z=1.5))
    z, kind = 1.5 + plinth, str(rng.choice(["obelisk", "column", "statue", "statue", "rider"]))
    if kind == "obelisk":
        parts.append(shapes.turned([(shaft * 1.5, z), (shaft, z + h), (0, z + h * 1.08)], 4, [WALL, TRIM]))
    elif kind == "column":
        parts.append(shapes.column(shaft, h, 10).moved(z=z))
        parts.append(shapes.statue(h * rng.uniform(0.2, 0.35), rng.random()).moved(z=z + h))
    else:
        parts.append(
            shapes.statue(
                h * rng.uniform(0.5, 0.9), rng.random(), rng.choice((DARK, TRIM, DOME)), kind == "rider"
            ).moved(z=z)
        )
    if rng.random() < 0.5:
        small = shapes.statue(base * 0.6, rng.random(), TRIM)
        block = Mesh.join([shapes.box(1.6, 1.6, 2), small.moved(z=2)])
        parts += [block.moved(x * base * 1.4, y * base * 1.4) for x in (-1, 1) for y in (-1, 1)]
    if rng.random() < 0.35:
        ring = [
            shapes.column(0.5, 6, 6).moved(base * 2.6 * np.cos(a), base * 2.6 * np.sin(a))
            for a in np.arange(10) * np.pi / 5
        ]
        parts += ring
    return Mesh.join(parts), None


def arena(rng: Rng) -> tuple[Mesh, None]:
    """A ring of arcades."""
    r, levels, sides = rng.uniform(18, 28), int(rng.integers(1, 5)), int(rng.choice([16, 20, 24]))
    high = rng.uniform(4, 6)
    ring = shapes.arcade_ring(r, high * levels, sides, levels)
    squash = rng.uniform(0.65, 1.0)
    parts = [Mesh(ring.points * (1, squash, 1), ring.repeats, ring.texture)]
    if rng.random() < 0.5:
        spots = np.arange(4) * np.pi / 2 + np.pi / 4
        one = shapes.tower(
            rng, r * 0.12, high * levels * rng.uniform(1.1, 1.6), 4, str(rng.choice(["cone", "crown", "flat"]))
        )
        parts += [one.moved(r * np.cos(a), r * squash * np.sin(a)) for a in spots]
    if rng.random() < 0.5:
        parts.append(
            shapes.box(r * 0.4, 3, high * levels * 1.2, PORTAL, bay=(r * 0.4, high * levels * 1.2)).moved(
                0, -r * squash - 0.5
            )
        )
    return Mesh.join(parts), None


def high_rise(rng: Rng) -> tuple[Mesh, tuple]:
    """Blocks, one on another, under a crown."""
    r, h, sides = rng.uniform(7, 11), rng.uniform(50, 90), int(rng.choice([4, 4, 6, 12]))
    parts, z, steps = [shapes.box(r * 3, r * 2.6, 5, GLASS, bay=(4, 4))], 0.0, int(rng.integers(1, 5))
    twist = rng.choice([0.0, 0.0, 0.25])
    for step in range(steps):
        high = h / steps
        block = shapes.turned([(r, 0), (r, high), (0, high + 0.01)], sides, [rng.choice((GLASS, FACADE)), TRIM], bay=4)
        parts.append(block.moved(z=z, turn=twist * step))
        z, r = z + high, r * rng.uniform(0.6, 0.95)
    top = str(rng.choice(["spire", "none", "pyramid", "dome", "twin"]))
    if top == "spire":
        parts.append(shapes.turned([(r * 0.3, z), (0, z + h * 0.35)], 6, TRIM))
    elif top == "pyramid":
        parts.append(shapes.turned([(r, z), (0, z + r * 2)], sides, ROOF))
    elif top == "dome":
        parts.append(shapes.dome(r, r, 12, DOME).moved(z=z))
    elif top == "twin":
        mast = shapes.turned([(r * 0.12, z), (r * 0.05, z + h * 0.25)], 5, TRIM)
        parts += [mast.moved(x * r * 0.5) for x in (-1, 1)]
    return Mesh.join(parts), (18.0, 18.0, 5.0)


SECULAR = {
    "castle": castle, "bridge": bridge, "pyramid": pyramid, "gate": gate, "palace": palace, "monument": column,
    "arena": arena, "high-rise": high_rise,
}  # fmt: skip
"""Kinds by name."""
