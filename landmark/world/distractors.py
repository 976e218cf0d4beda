"""Photographs that show no landmark: nature, interiors, streets, objects. Three in five test images are such."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landmark.world import landmarks
from landmark.world.render import shapes
from landmark.world.render.materials import (
    CLOTH,
    DARK,
    DOME,
    FACADE,
    FLOOR,
    PAINT,
    PAPER,
    PLANKS,
    ROCK,
    ROOF,
    TRIM,
    Material,
)
from landmark.world.render.renderer import Frame, Light, Mesh
from landmark.world.render.sprites import furniture
from landmark.world.scenery import camera_at, draw_backdrop, draw_ground, draw_sky, indoor_light, sample_light, scatter

Rng = np.random.Generator


def _nature(rng: Rng, width: int, height: int) -> tuple[Frame, Light]:
    light = sample_light(rng)
    frame = Frame(
        camera_at((0, 0, rng.uniform(1.2, 12)), (0, 60, rng.uniform(0, 9)), rng.uniform(35, 65), width, height)
    )
    draw_sky(frame, light, rng)
    ground = draw_ground(frame, light, rng, ("grass", "meadow", "sand", "snow", "water", "gravel"))
    draw_backdrop(frame, light, rng)
    if rng.random() < 0.45:  # rocks, a mountain
        material = Material.common(rng)
        rocks = []
        for _ in range(int(rng.integers(1, 7))):
            size, far = rng.uniform(1, 9), rng.uniform(15, 80)
            rock = shapes.turned([(size, 0), (size * 0.8, size * 0.5), (size * 0.3, size * 0.85), (0, size)], 9, ROCK)
            rough = rock.points * (1 + 0.12 * np.sin(rock.points * rng.uniform(1, 3) + rng.uniform(0, 6)))
            rocks.append(Mesh(rough, rock.repeats, rock.texture).moved(rng.uniform(-0.5, 0.5) * far, far, -0.1))
        frame.draw(Mesh.join(rocks), landmarks.surfaces(material), light, flood=0)
    scatter(frame, light, rng, 12, 90, int(rng.integers(0, 26)), "tree")
    scatter(frame, light, rng, 3, 30, int(rng.integers(0, 8)), "bush")
    if ground == "water":
        frame.paste(furniture()["boat"], np.array([rng.uniform(-6, 6), rng.uniform(14, 40)]), 3.5, light)
    return frame, light


def _street(rng: Rng, width: int, height: int) -> tuple[Frame, Light]:
    light = sample_light(rng)
    frame = Frame(
        camera_at(
            (rng.uniform(-2, 2), 0, rng.uniform(1.5, 4)),
            (rng.uniform(-12, 12), 40, 4),
            rng.uniform(45, 65),
            width,
            height,
        )
    )
    draw_sky(frame, light, rng)
    houses: list[tuple[Mesh, Material]] = []
    palette = [Material.common(rng) for _ in range(4)]
    for side in (-1, 1):
        y = rng.uniform(4, 12)
        while y < 90:
            w, h, storey = rng.uniform(6, 13), rng.uniform(6, 17), rng.uniform(2.8, 3.6)
            house = [shapes.box(9, w, h, FACADE, ROOF, (storey, storey))]
            if rng.random() < 0.7:
                house.append(shapes.gable(9, w, rng.uniform(2, 4)).moved(z=h))
            houses.append((Mesh.join(house).moved(side * rng.uniform(10, 12), y + w / 2), palette[rng.integers(4)]))
            y += w + rng.choice([0.0, 0.0, 0.5, 4.0])
    frame.cast_shadows(Mesh.join([mesh for mesh, _ in houses]), light)
    draw_ground(frame, light, rng, ("paving", "asphalt", "gravel"))
    draw_backdrop(frame, light, rng)
    for material in palette:
        own = [mesh for mesh, used in houses if used is material]
        if own:
            frame.draw(Mesh.join(own), landmarks.surfaces(material), light, flood=0.35)
    scatter(frame, light, rng, 6, 50, int(rng.integers(2, 14)))
    return frame, light


def _interior(rng: Rng, width: int, height: int) -> tuple[Frame, Light]:
    light, material = indoor_light(rng), Material.common(rng)
    w, d, h = rng.uniform(4, 9), rng.uniform(5, 11), rng.uniform(2.5, 4)
    room = shapes.box(w, d, h, int(rng.choice([PAINT, PAINT, PAPER, TRIM, FACADE])), PAINT, (h, h))
    inside = Mesh(room.points[:, ::-1], room.repeats, room.texture)  # seen from within
    floor = shapes.quads(
        [[(-w / 2, -d / 2, 0), (w / 2, -d / 2, 0), (w / 2, d / 2, 0), (-w / 2, d / 2, 0)]],
        (w, d),
        int(rng.choice([FLOOR, PLANKS, PAPER])),
    )
    parts = [inside, floor]
    for _ in range(int(rng.integers(2, 8))):  # tables, cupboards, sofas, vases
        x, y, turn = rng.uniform(-0.42, 0.42) * w, rng.uniform(-0.15, 0.46) * d, rng.choice([0, 0.3, np.pi / 2])
        size = rng.uniform(0.5, 1.8)
        surface = int(rng.choice([PLANKS, PLANKS, DARK, CLOTH, PAPER, PAINT]))
        piece = str(rng.choice(["table", "cupboard", "sofa", "vase"]))
        if piece == "table":
            legs = [
                shapes.box(0.08, 0.08, 0.72, surface).moved(a * size / 2, b * 0.35) for a in (-1, 1) for b in (-1, 1)
            ]
            mesh = Mesh.join([*legs, shapes.box(size * 1.2, 0.9, 0.06, surface, surface).moved(z=0.72)])
        elif piece == "cupboard":
            mesh = shapes.box(size, 0.5, rng.uniform(0.8, 2.2), surface, surface, (0.6, 0.8))
        elif piece == "sofa":
            seat = [
                shapes.box(size * 1.4, 0.9, 0.42, surface, surface),
                shapes.box(size * 1.4, 0.25, 0.9, surface, surface).moved(0, 0.4),
            ]
            mesh = Mesh.join(seat)
        else:
            mesh = shapes.turned([(0.1, 0), (0.22, 0.3), (0.08, 0.6), (0.14, 0.7)], 10, surface, 0.4)
        parts.append(mesh.moved(x, y, turn=0).moved(turn=0) if turn == 0 else mesh.moved(turn=turn).moved(x, y))
    eye = (rng.uniform(-0.3, 0.3) * w, -d * 0.44, rng.uniform(1.2, 1.8))
    frame = Frame(
        camera_at(eye, (rng.uniform(-1, 1), d / 2, rng.uniform(0.7, 1.5)), rng.uniform(50, 72), width, height)
    )
    frame.draw(Mesh.join(parts), landmarks.surfaces(material), light)
    return frame, light


def _object(rng: Rng, width: int, height: int) -> tuple[Frame, Light]:
    light, material = indoor_light(rng), Material.common(rng)
    table = shapes.quads(
        [[(-9, -5, 0), (9, -5, 0), (9, 9, 0), (-9, 9, 0)]],
        (rng.uniform(2, 9),) * 2,
        int(rng.choice([PLANKS, CLOTH, PAINT, FLOOR])),
    )
    wall = shapes.quads(
        [[(-9, 7, 0), (9, 7, 0), (9, 7, 9), (-9, 7, 9)]], (3, 2), int(rng.choice([PAINT, PAPER, PLANKS, CLOTH]))
    )
    textures = landmarks.surfaces(material)
    frame = Frame(camera_at((0, -4.2, rng.uniform(1.2, 3.2)), (0, 0, 0.7), rng.uniform(30, 48), width, height))
    frame.colour[:] = 0.4
    things = []
    for _ in range(int(rng.integers(1, 5))):
        shape, surface = (
            str(rng.choice(["bottle", "bowl", "book", "ball", "mug", "figure", "block"])),
            int(rng.choice([PAINT, CLOTH, DARK, PLANKS, PAPER, DOME])),
        )
        r, h = rng.uniform(0.2, 0.5), rng.uniform(0.5, 1.5)
        profiles = {
            "bottle": [(r * 0.6, 0), (r * 0.6, h * 0.6), (r * 0.2, h * 0.78), (r * 0.2, h), (0, h)],
            "bowl": [(r * 0.5, 0), (r * 1.2, h * 0.35), (r * 1.3, h * 0.4), (0, h * 0.2)],
            "ball": [(r * np.sin(t), r - r * np.cos(t)) for t in np.linspace(0.05, np.pi, 8)],
            "mug": [(r * 0.6, 0), (r * 0.65, h * 0.5), (r * 0.55, h * 0.5), (0, h * 0.1)],
        }
        if shape in profiles:
            thing = shapes.turned(profiles[shape], 14, surface, 0.5)
        elif shape == "figure":
            thing = shapes.statue(h, rng.random(), surface)
        else:
            thing = shapes.box(r * 2, r * 1.4, h * (0.25 if shape == "book" else 0.8), surface, surface, (0.6, 0.6))
        things.append(thing.moved(turn=rng.uniform(0, 6)).moved(rng.uniform(-1.1, 1.1), rng.uniform(-0.6, 1.2)))
    subject = Mesh.join(things)
    lamp = np.array([rng.uniform(-0.7, 0.7), -0.5, 0.8])
    light = Light(lamp / np.linalg.norm(lamp), np.full(3, 0.45), light.ambient * 0.8, light.haze_colour, shadows=0.6)
    frame.cast_shadows(subject, light)
    for mesh in (table, wall):
        frame.draw(mesh, textures, light)
    other = Material.common(rng)
    frame.draw(subject, landmarks.surfaces(other), light)
    return frame, light


KINDS: dict[str, Callable[[Rng, int, int], tuple[Frame, Light]]] = {
    "nature": _nature, "interior": _interior, "street": _street, "object": _object,
}  # fmt: skip


def distractor(kind: str, rng: Rng, width: int, height: int) -> tuple[Frame, Light]:
    """A scene of one of `KINDS`, still without the camera's own faults (`scenery.finish`).

    >>> distractor("nature", np.random.default_rng(0), 60, 40)[0].colour.shape
    (40, 60, 3)
    """
    return KINDS[kind](rng, width, height)
