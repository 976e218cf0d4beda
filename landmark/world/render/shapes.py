"""Building blocks in metres, standing on z = 0 around the origin: boxes, turned solids, roofs, arches, figures.

Every function returns a `Mesh`; the front of a block looks south (towards -y).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from landmark.world.render.materials import ARCADE, COLUMN, DARK, DOME, FACADE, ROOF, TRIM, WALL
from landmark.world.render.renderer import Mesh


def quads(points: ArrayLike, repeats: ArrayLike, texture: ArrayLike) -> Mesh:
    """Faces from corners (F, 4, 3), counter-clockwise from outside, first edge along the foot."""
    corners = np.asarray(points, float).reshape(-1, 4, 3)
    times = np.broadcast_to(np.asarray(repeats, float), (len(corners), 2))
    return Mesh(corners, times, np.broadcast_to(np.asarray(texture, np.int64), len(corners)))


def _fit(length: float, bay: float) -> float:
    """A whole number of bays, at least one, so that no window is cut in two."""
    return max(1.0, round(length / bay))


def box(
    width: float, depth: float, height: float, side: int = WALL, top: int = TRIM, bay: tuple[float, float] = (4, 4),
    front: int | None = None,
) -> Mesh:  # fmt: skip
    """A cuboid whose sides carry a whole number of `bay` = (metres wide, metres high) repeats.

    >>> box(4, 2, 3).points.shape
    (5, 4, 3)
    """
    x, y = width / 2, depth / 2
    ring = [(-x, -y), (x, -y), (x, y), (-x, y)]
    walls, repeats = [], []
    for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True):
        walls.append([(ax, ay, 0), (bx, by, 0), (bx, by, height), (ax, ay, height)])
        repeats.append((_fit(np.hypot(bx - ax, by - ay), bay[0]), _fit(height, bay[1])))
    lid = [(-x, -y, height), (x, -y, height), (x, y, height), (-x, y, height)]
    surfaces = [side if front is None else front, side, side, side, top]
    return quads([*walls, lid], [*repeats, (width / 4, depth / 4)], surfaces)


def turned(profile: Sequence[tuple[float, float]], sides: int, surface: int | Sequence[int], bay: float = 4.0) -> Mesh:
    """A polygon of `sides` swept along a profile of (radius, height): towers, cones, domes, columns, bells.

    Args:
        profile: (radius, height) from the foot up; a radius of 0 closes a point.
        sides: corners of the plan; the first side faces south.
        surface: texture of all rings, or one for each.
        bay: metres of one repeat, around and up.

    >>> turned([(2, 0), (0, 3)], 6, ROOF).points.shape
    (6, 4, 3)
    """
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides - np.pi / 2 - 2 * np.pi / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    surfaces = np.broadcast_to(surface, len(profile) - 1).tolist()
    parts = []
    for (r0, z0), (r1, z1), texture in zip(profile, profile[1:], surfaces, strict=False):
        foot = np.column_stack([ring * r0, np.full(sides, z0)])
        head = np.column_stack([ring * r1, np.full(sides, z1)])
        points = np.stack([foot, np.roll(foot, -1, 0), np.roll(head, -1, 0), head], 1)
        if r0 == 0:  # a face needs its first edge: turn a cone on its tip around
            points = points[:, [2, 3, 0, 1]]
        side = 2 * max(r0, r1) * np.sin(np.pi / sides)
        parts.append(
            quads(points, (_fit(side, bay), max(0.5, round(2 * np.hypot(z1 - z0, r1 - r0) / bay) / 2)), texture)
        )
    return Mesh.join(parts)


def lid(radius: float, sides: int, height: float, surface: int = TRIM) -> Mesh:
    """The flat top of a turned solid."""
    return turned([(radius, height), (0, height + 1e-3)], sides, surface)


def dome(radius: float, height: float, sides: int, surface: int, kind: str = "round", rings: int = 5) -> Mesh:
    """A dome: `round`, `pointed`, `onion` or `bell`."""
    t = np.linspace(0, 1, rings + 1)
    late = np.maximum(t - 0.35, 0) / 0.65
    curve = {
        "round": np.cos(t * np.pi / 2),
        "pointed": 1 - t**1.8,
        "onion": np.where(t < 0.35, 0.86 + 0.3 * np.sin(t / 0.35 * np.pi / 2), 1.16 * (1 - late**0.8) ** 1.3),
        "bell": (1 - t) ** 1.7 * 0.9 + 0.1 * (1 - t),
    }[kind]
    rise = np.sin(t * np.pi / 2) if kind == "round" else t
    return turned(list(zip((radius * curve).tolist(), (height * rise).tolist(), strict=True)), sides, surface, radius)


def gable(width: float, depth: float, rise: float, wall: int = WALL, eaves: float = 0.4) -> Mesh:
    """A pitched roof with its ridge from south to north and gables at both ends."""
    x, y, e = width / 2 + eaves, depth / 2, eaves
    front = [(-x, -y, 0), (x, -y, 0), (0, -y, rise), (0, -y, rise)]
    back = [(x, y, 0), (-x, y, 0), (0, y, rise), (0, y, rise)]
    east = [(x, -y - e, 0), (x, y + e, 0), (0, y + e, rise), (0, -y - e, rise)]
    west = [(-x, y + e, 0), (-x, -y - e, 0), (0, -y - e, rise), (0, y + e, rise)]
    slope = np.hypot(x, rise)
    return quads(
        [front, back, east, west], [(width / 4, rise / 4)] * 2 + [(depth / 4, slope / 4)] * 2, [wall, wall, ROOF, ROOF]
    )


def hip(width: float, depth: float, rise: float, ridge: float = 0.4, eaves: float = 0.4, surface: int = ROOF) -> Mesh:
    """A roof that slopes to all sides; `ridge` is the length of its ridge as a share of the width."""
    x, y, r = width / 2 + eaves, depth / 2 + eaves, ridge * width / 2
    top = [(-r, 0, rise), (r, 0, rise)]
    faces = [
        [(-x, -y, 0), (x, -y, 0), top[1], top[0]], [(x, -y, 0), (x, y, 0), top[1], top[1]],
        [(x, y, 0), (-x, y, 0), top[0], top[1]], [(-x, y, 0), (-x, -y, 0), top[0], top[0]],
    ]  # fmt: skip
    return quads(faces, [(width / 4, rise / 3), (depth / 4, rise / 3)] * 2, surface)


def arches(
    length: float, height: float, depth: float, count: int, pier: float, surface: int = WALL, steps: int = 6,
    pointed: bool = False, crown: float = 0.85,
) -> Mesh:  # fmt: skip
    """A wall along x with `count` open arches through it, as of a bridge, a gate or an arcade.

    Args:
        length, height, depth: of the wall, metres.
        count: arches.
        pier: width of the piers as a share of a bay.
        surface: texture of the wall.
        steps: faces of each arch.
        pointed: a broken arch instead of a round one.
        crown: height of the openings as a share of the wall's.
    """
    bay = length / count
    half = bay * (1 - pier) / 2
    t = np.linspace(-1, 1, steps + 1)
    rise = min(half * (1.3 if pointed else 1.0), 0.8 * crown * height)
    spring = crown * height - rise
    curve = spring + rise * ((1 - np.abs(t) ** 1.4) if pointed else np.sqrt(np.maximum(1 - t**2, 0)))
    y, faces, repeats, texture = depth / 2, [], [], []

    def add(points: list, wide: float, high: float, kind: int) -> None:
        faces.append(points)
        repeats.append((wide / 4, high / 4))
        texture.append(kind)

    for i in range(count):
        left, right = i * bay - length / 2, (i + 1) * bay - length / 2
        middle = (left + right) / 2
        xs = middle + half * t
        for sign in (-1, 1):  # south face, then north face seen from the other side

            def wall(x0: float, x1: float, z0: float, z1: float, top: float, sign: int = sign) -> None:
                a, b, za, zb = (x0, x1, z0, z1) if sign < 0 else (x1, x0, z1, z0)
                points = [(a, sign * y, za), (b, sign * y, zb), (b, sign * y, top), (a, sign * y, top)]
                add(points, x1 - x0, top - min(z0, z1), surface)

            wall(left, middle - half, 0, 0, height)
            wall(middle + half, right, 0, 0, height)
            for x0, x1, z0, z1 in zip(xs, xs[1:], curve, curve[1:], strict=False):
                wall(x0, x1, z0, z1, height)
        for x0, x1, z0, z1 in zip(xs, xs[1:], curve, curve[1:], strict=False):  # the vault, from below
            add([(x1, -y, z1), (x0, -y, z0), (x0, y, z0), (x1, y, z1)], x1 - x0, depth, TRIM)
        add(
            [
                (middle - half, -y, 0),
                (middle - half, y, 0),
                (middle - half, y, curve[0]),
                (middle - half, -y, curve[0]),
            ],
            depth,
            spring,
            surface,
        )
        add(
            [
                (middle + half, y, 0),
                (middle + half, -y, 0),
                (middle + half, -y, curve[0]),
                (middle + half, y, curve[0]),
            ],
            depth,
            spring,
            surface,
        )
    x = length / 2
    add([(-x, -y, height), (x, -y, height), (x, y, height), (-x, y, height)], length, depth, TRIM)
    add([(x, -y, 0), (x, y, 0), (x, y, height), (x, -y, height)], depth, height, surface)
    add([(-x, y, 0), (-x, -y, 0), (-x, -y, height), (-x, y, height)], depth, height, surface)
    return quads(faces, repeats, texture)


def column(radius: float, height: float, sides: int = 8) -> Mesh:
    """A column with base, tapering shaft and capital."""
    foot, head = 0.06 * height, 0.92 * height
    shaft = [(radius * 1.3, 0), (radius * 1.3, foot), (radius, foot), (radius * 0.84, head), (radius * 1.35, height)]
    return turned(shaft, sides, [TRIM, TRIM, COLUMN, TRIM], bay=max(radius, 0.3))


def colonnade(length: float, height: float, count: int, radius: float) -> Mesh:
    """A row of `count` columns along x."""
    one = column(radius, height, 6 if count > 6 else 8)
    return Mesh.join([one.moved(x) for x in np.linspace(-length / 2, length / 2, count)])


def merlons(width: float, depth: float, size: float) -> Mesh:
    """Battlements along the four edges of a roof."""
    parts = []
    for side, length, offset in ((0, width, depth), (1, depth, width)):
        count = max(2, int(length / (2 * size)))
        for at in np.linspace(-length / 2 + size / 2, length / 2 - size / 2, count):
            for end in (-1, 1):
                block = box(size, size * 0.6, size * 1.2, bay=(4, 4))
                parts.append(block.moved(at, end * (offset / 2 - size * 0.3)).moved(turn=side * np.pi / 2))
    return Mesh.join(parts)


def steps(width: float, depth: float, height: float, count: int) -> Mesh:
    """A plinth of `count` steps, the highest `width` × `depth`."""
    tread = height / count * 1.4
    rise = height / count
    sizes = [(width + 2 * tread * (count - 1 - i), depth + 2 * tread * (count - 1 - i)) for i in range(count)]
    return Mesh.join([box(w, d, rise, TRIM, TRIM).moved(z=i * rise) for i, (w, d) in enumerate(sizes)])


def statue(height: float, pose: float, surface: int = DARK, mounted: bool = False) -> Mesh:
    """A robed figure, one arm raised as `pose` (0 down, 1 up) says, or a rider on a horse."""
    h = height
    robe = turned(
        [(0.2 * h, 0), (0.14 * h, 0.3 * h), (0.11 * h, 0.5 * h), (0.16 * h, 0.74 * h), (0.05 * h, 0.82 * h)], 8, surface
    )
    head = turned([(0.03 * h, 0.8 * h), (0.08 * h, 0.87 * h), (0.08 * h, 0.93 * h), (0.02 * h, h)], 8, surface)
    arm = turned([(0.05 * h, 0), (0.035 * h, 0.36 * h), (0.0, 0.38 * h)], 5, surface)
    tilt = np.pi * (0.85 - 0.75 * pose)
    lean = np.array([[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]])
    arm = Mesh(arm.points @ lean, arm.repeats, arm.texture).moved(0.14 * h, 0, 0.74 * h)
    figure = Mesh.join([robe, head, arm])
    if not mounted:
        return figure
    body = turned([(0.05 * h, 0), (0.15 * h, 0.1 * h), (0.15 * h, 0.5 * h), (0.05 * h, 0.6 * h)], 8, surface)
    lie = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    body = Mesh(body.points @ lie, body.repeats, body.texture).moved(0, 0.3 * h, 0.45 * h)
    legs = [
        box(0.05 * h, 0.05 * h, 0.4 * h, surface, surface).moved(x * h, y * h)
        for x in (-0.08, 0.08)
        for y in (-0.2, 0.2)
    ]
    neck = box(0.08 * h, 0.12 * h, 0.35 * h, surface, surface).moved(0, -0.26 * h, 0.45 * h)
    muzzle = box(0.08 * h, 0.22 * h, 0.09 * h, surface, surface).moved(0, -0.34 * h, 0.74 * h)
    rider = figure.moved(z=0.0)
    rider = Mesh(rider.points * 0.6 + (0, 0, 0.55 * h), rider.repeats, rider.texture)
    return Mesh.join([body, *legs, neck, muzzle, rider])


def arcade_ring(radius: float, height: float, sides: int, levels: int) -> Mesh:
    """Storeys of blind arches around a polygon, open above, with its inner wall: an amphitheatre."""
    outer = turned([(radius, 0), (radius, height)], sides, ARCADE, bay=height / levels)
    repeats = np.column_stack(
        [np.full(sides, _fit(2 * radius * np.sin(np.pi / sides), height / levels)), np.full(sides, levels)]
    )
    outer = Mesh(outer.points, repeats, outer.texture)
    rim = turned(
        [(radius, height), (radius * 0.9, height), (radius * 0.55, height * 0.15), (0, height * 0.1)],
        sides,
        [TRIM, WALL, WALL],
    )
    return Mesh.join([outer, rim])


def tower(rng: np.random.Generator, radius: float, height: float, sides: int, top: str, wall: int = FACADE) -> Mesh:
    """A shaft in storeys with a roof: spire, cone, dome, onion, flat, crown or lantern."""
    drum = float(rng.uniform(0.7, 0.88))
    parts = [turned([(radius, 0), (radius, height)], sides, wall, bay=max(radius * 0.9, 3))]
    ledge = [(radius, height), (radius * 1.12, height + 0.3), (radius * 1.12, height + 1.0)]
    parts.append(turned(ledge, sides, TRIM))
    z = height + 1.0
    if top in ("flat", "crown"):
        parts.append(lid(radius * 1.12, sides, z))
        if top == "crown":
            ring = np.arange(max(sides, 8)) * 2 * np.pi / max(sides, 8)
            block = box(radius * 0.4, radius * 0.25, radius * 0.45)
            parts += [block.moved(0, -radius, z).moved(turn=angle) for angle in ring]
    elif top in ("round", "pointed", "onion", "bell"):
        parts.append(lid(radius * 1.12, sides, z))
        parts.append(dome(radius, radius * float(rng.uniform(0.9, 1.7)), max(sides, 10), DOME, top).moved(z=z))
    elif top == "lantern":
        parts.append(lid(radius * 1.12, sides, z))
        parts.append(turned([(radius * drum * 0.7, z), (radius * drum * 0.7, z + radius * 1.2)], sides, ARCADE, radius))
        parts.append(turned([(radius * 0.75, z + radius * 1.2), (0, z + radius * 2.2)], sides, ROOF))
    else:
        rise = radius * {"spire": 4.5, "cone": 2.0}[top] * float(rng.uniform(0.8, 1.2))
        parts.append(turned([(radius * 1.15, z), (0, z + rise)], sides, ROOF))
    return Mesh.join(parts)
