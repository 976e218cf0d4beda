"""What surrounds a subject: hour and weather, sky, ground, horizon, trees and people, and the camera's own faults.

All of it is drawn anew for every photograph, so that nothing but the subject says which landmark it is.
"""

from __future__ import annotations

import cv2
import numpy as np

from landmark.world.render.camera import Camera
from landmark.world.render.materials import clouds
from landmark.world.render.renderer import Frame, Light
from landmark.world.render.sprites import furniture, people, trees

Rng = np.random.Generator


def _colour(*rgb: int) -> np.ndarray:
    return np.array(rgb) / 255


def sample_light(rng: Rng, hour: str | None = None, facing: float | None = None) -> Light:
    """An hour and a weather: `clear`, `golden`, `overcast`, `fog` or `night`; any of them when left out.

    `facing` is the direction (radians) of a camera that would rather have the sun behind it.

    >>> sample_light(np.random.default_rng(0), "night").night
    1.0
    """
    hour = hour or str(rng.choice(["clear", "golden", "overcast", "fog", "night"], p=[0.52, 0.16, 0.21, 0.04, 0.07]))
    azimuth = rng.uniform(0, 2 * np.pi)
    if facing is not None and rng.random() < 0.75:
        azimuth = facing + rng.normal(0, 0.8)
    elevation = np.radians({"golden": rng.uniform(7, 18), "night": rng.uniform(20, 50)}.get(hour, rng.uniform(25, 62)))
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    level = rng.uniform(0.85, 1.1)
    # sun, ambient, colour of the haze; night, haze per metre, shadows, clouds
    colours = {
        "clear": ((0.86, 0.8, 0.7), (0.5, 0.52, 0.58), (0.78, 0.84, 0.9)),
        "golden": ((0.95, 0.62, 0.34), (0.46, 0.43, 0.47), (0.92, 0.76, 0.6)),
        "overcast": ((0.1, 0.1, 0.1), (0.8, 0.81, 0.83), (0.76, 0.78, 0.8)),
        "fog": ((0.1, 0.1, 0.09), (0.76, 0.76, 0.76), (0.8, 0.8, 0.79)),
        "night": ((0.05, 0.06, 0.09), (0.1, 0.11, 0.17), (0.07, 0.08, 0.14)),
    }
    air = {
        "clear": (0.0, rng.uniform(0.0004, 0.0015), 0.85, rng.uniform(0, 0.55)),
        "golden": (0.0, rng.uniform(0.001, 0.0025), 0.7, rng.uniform(0.1, 0.6)),
        "overcast": (0.0, rng.uniform(0.001, 0.003), 0.0, 1.0),
        "fog": (0.0, rng.uniform(0.003, 0.009), 0.0, 0.9),
        "night": (1.0, rng.uniform(0.0005, 0.002), 0.0, rng.uniform(0.1, 0.6)),
    }
    (shine, ambient, far), (night, haze, shadows, cloud) = colours[hour], air[hour]
    return Light(sun, np.array(shine) * level, np.array(ambient) * level, np.array(far), night, haze, shadows, cloud)


def _cut(rng: Rng, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The shared noise at coordinates in periods, shifted to a place of its own."""
    du, dv = rng.uniform(0, 1, 2)
    x, y = (((c + d) % 1 * 255).astype(np.float32) for c, d in ((u, du), (v, dv)))
    width = 512  # OpenCV does not take a row of more than 32,767
    pad = [(0, -x.size % width)]
    x, y = (np.pad(c.ravel(), pad).reshape(-1, width) for c in (x, y))
    return cv2.remap(clouds(), x, y, cv2.INTER_LINEAR).ravel()[: u.size].reshape(u.shape)


def draw_sky(frame: Frame, light: Light, rng: Rng) -> None:
    """Fill the whole picture with sky: a gradient, the sun's glow, a layer of clouds in perspective, stars at night."""
    rays = frame.rays / np.linalg.norm(frame.rays, axis=-1, keepdims=True)
    up = np.maximum(rays[..., 2:], 0)
    low = light.sun[2] < 0.35 and not light.night
    zenith = np.array([(0.2, 0.36, 0.66), (0.24, 0.42, 0.74), (0.34, 0.46, 0.62)])[rng.integers(3)]
    if light.night:
        zenith = np.array([(0.02, 0.025, 0.06), (0.05, 0.06, 0.12), (0.09, 0.06, 0.1)])[rng.integers(3)]
    elif light.shadows == 0:
        zenith = light.haze_colour * rng.uniform(0.78, 0.95)
    sky = light.haze_colour + (zenith - light.haze_colour) * np.minimum(up * 1.7, 1) ** 0.6
    toward = np.maximum((rays * light.sun).sum(-1, keepdims=True), 0)
    glow = 0.9 * toward**400 + (0.35 * toward**12 if low else 0.16 * toward**20)
    if light.night:
        glow = 0.8 * (toward > 0.9996) + 0.1 * toward**60
    sky = sky + glow * (np.array([1.0, 0.8, 0.55]) if low else np.array([1.0, 0.97, 0.9])) * (
        light.shadows > 0 or light.night > 0
    )
    height = np.maximum(rays[..., 2], 0.03)
    u, v = rays[..., 0] / height, rays[..., 1] / height
    scale = rng.uniform(0.03, 0.09)
    field = 0.75 * _cut(rng, u * scale, v * scale) + 0.35 * _cut(rng, u * scale * 4.3, v * scale * 4.3)
    threshold = 1.3 - 2.6 * light.cloud
    cover = np.clip((field - threshold) * 1.3, 0, 1) * np.clip(rays[..., 2] * 9, 0, 1)
    bright = np.clip(0.92 - 0.16 * (field - threshold), 0.55, 1)[..., None]
    white = bright * (np.array([1.0, 0.82, 0.7]) if low else np.array([0.98, 0.98, 1.0]))
    white = white * (0.14 if light.night else 0.85 if light.shadows == 0 else 1.0)
    sky = sky + cover[..., None] * (white - sky) * (0.9 if not light.night else 0.8)
    if light.night:
        stars = rng.random(sky.shape[:2]) > 0.9985
        sky[stars & (cover < 0.3) & (rays[..., 2] > 0.08)] += rng.uniform(0.3, 0.9)
    frame.colour[:] = sky


# mean colour, and how much it varies
GROUNDS = {
    "grass": (_colour(96, 112, 58), 0.3),
    "meadow": (_colour(128, 124, 66), 0.4),
    "sand": (_colour(206, 182, 138), 0.14),
    "gravel": (_colour(168, 158, 144), 0.16),
    "paving": (_colour(164, 158, 150), 0.1),
    "asphalt": (_colour(96, 97, 100), 0.1),
    "snow": (_colour(228, 232, 238), 0.06),
    "water": (_colour(66, 92, 104), 0.1),
}


def draw_ground(
    frame: Frame, light: Light, rng: Rng, kinds: tuple[str, ...] = tuple(GROUNDS), clear: float = 0.0
) -> str:
    """Fill everything below the horizon with one kind of ground, often with a path of another in it; returns the kind.

    Args:
        frame, light, rng: as everywhere here.
        kinds: of `GROUNDS`.
        clear: radius in metres around the origin that stays dry.
    """
    rows, columns = np.nonzero(frame.rays[..., 2] < -1e-4)
    kind, other = rng.choice(kinds, 2).tolist()
    if not len(rows):
        return kind
    rays, eye = frame.rays[rows, columns], frame.camera.eye.astype(np.float32)
    depth = -eye[2] / rays[:, 2]
    points = eye + rays * depth[:, None]
    colour = _surface(kind, points, depth, frame, light, rng)
    if clear or rng.random() < 0.6:  # a square around the subject, a path that leads there
        second = other if other != "water" else "gravel"
        angle, wide = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 5)
        across = points[:, 0] * np.cos(angle) + points[:, 1] * np.sin(angle)
        inside = np.linalg.norm(points[:, :2], axis=1) < clear * rng.uniform(1.05, 1.5)
        if kind != "water":
            inside |= np.abs(across + rng.uniform(-3, 3)) < wide
        if inside.any():
            colour[inside] = _surface(second, points[inside], depth[inside], frame, light, rng)
    frame.colour[rows, columns] = frame.fade(colour, depth, light)
    frame.inverse_depth[rows, columns] = 1 / depth
    return kind


def _surface(kind: str, points: np.ndarray, depth: np.ndarray, frame: Frame, light: Light, rng: Rng) -> np.ndarray:
    base, rough = GROUNDS[kind]
    base = np.clip(base * rng.uniform(0.85, 1.12) + rng.normal(0, 0.02, 3), 0, 1)
    u, v = points[:, 0], points[:, 1]
    coarse = _cut(rng, u / 60, v / 60).ravel()
    fine = _cut(rng, u / 5, v / 5).ravel() * np.exp(-depth / 40)
    field = 1 + rough * (0.45 * coarse + 0.55 * fine)
    if kind == "paving":
        size = rng.choice([0.8, 1.5, 2.5])
        joint = (np.minimum(u % size, v % size) < 0.06 * size) * np.exp(-depth / 18)
        field = field * (1 - 0.28 * joint) + 0.05 * (
            (np.floor(u / size) * 7 + np.floor(v / size) * 13) % 3 - 1
        ) * np.exp(-depth / 40)
    if kind == "water":
        ripple = _cut(rng, u / 9, v / 40).ravel()
        mirror = light.haze_colour * 0.75 if not light.night else light.haze_colour * 2 + 0.02
        mix = np.clip(0.35 + 0.25 * ripple + 0.3 * np.minimum(depth / 120, 1), 0, 1)[:, None]
        return (base * (light.ambient + 0.4 * light.sun_colour)) * (1 - mix) + mirror * mix
    direct = light.sun[2] * frame.sunlight(points.astype(np.float32), light)
    shade = light.ambient + direct[:, None] * light.sun_colour
    if light.night:
        shade = shade + 0.22 * np.exp(-np.linalg.norm(points[:, :2], axis=1) / 40)[:, None] * np.array([1.0, 0.78, 0.5])
    return field[:, None] * base * shade


def draw_backdrop(frame: Frame, light: Light, rng: Rng) -> None:
    """What closes the view: hills, mountains, a line of trees, the roofs of a town, or nothing."""
    kind = str(rng.choice(["hills", "mountains", "trees", "town", "town", "none"]))
    if kind == "none":
        return
    camera = frame.camera
    x = np.arange(camera.width)
    forward = camera.axes()[2]
    horizon = camera.height / 2 + camera.focal * np.tan(np.arcsin(np.clip(forward[2], -0.9, 0.9)))
    degree = camera.focal * np.pi / 180
    row, step = clouds()[rng.integers(256)], rng.uniform(1.5, 4)
    wave = np.interp(x / camera.width * 40 * step / 4, np.arange(256), row)
    rough = np.interp(x * 1.3, np.arange(256 * 8), np.tile(row, 8))
    high = {
        "hills": 2.2 + 1.1 * wave, "mountains": 5 + 3 * wave + 0.5 * rough, "trees": 1.3 + 0.25 * wave + 0.5 * rough,
        "town": 1.2 + 2.2 * np.repeat(rng.random(camera.width // 5 + 1) ** 2, 5)[: camera.width],
    }[kind]  # fmt: skip
    top = horizon - degree * np.maximum(high, 0.2)
    tone = {
        "hills": _colour(98, 112, 84),
        "mountains": _colour(110, 118, 134),
        "trees": _colour(70, 88, 56),
        "town": _colour(150, 132, 118),
    }[kind]
    lit = tone * (light.ambient + 0.45 * light.sun_colour)
    far = 0.45 if kind in ("trees", "town") else 0.68
    colour = lit * (1 - far) + light.haze_colour * far
    y = np.arange(camera.height)[:, None]
    inside = (y >= top) & (y <= horizon + 2) & (frame.inverse_depth < 1 / 250)
    pixels = (
        np.broadcast_to(colour, frame.colour.shape)[inside] * (1 + 0.05 * (y - top))[inside].clip(0.8, 1.1)[:, None]
    )
    if kind == "town":
        shades = np.repeat(rng.uniform(0.75, 1.2, camera.width // 5 + 1), 5)[: camera.width]
        pixels = pixels * np.broadcast_to(shades, inside.shape)[inside][:, None]
        if light.night:
            glow = (rng.random(inside.shape) < 0.06)[inside]
            pixels[glow] += np.array([0.6, 0.45, 0.2])
    frame.colour[inside] = pixels


def scatter(frame: Frame, light: Light, rng: Rng, near: float, far: float, count: int, what: str = "any") -> None:
    """Stand trees, people, lamps or cars between `near` and `far` metres from the camera, across the view.

    >>> camera = Camera(np.array([0.0, -30, 2]), np.array([0.0, 0, 2]), 50.0, 48, 32)
    >>> frame = Frame(camera)
    >>> scatter(frame, sample_light(np.random.default_rng(0), "clear"), np.random.default_rng(1), 5, 20, 3, "tree")
    >>> bool(frame.colour.max() > 0)
    True
    """
    forward = frame.camera.axes()[2]
    heading = np.arctan2(forward[1], forward[0])
    half = np.arctan(0.5 * frame.camera.width / frame.camera.focal)
    forest = str(rng.choice(["broad", "broad", "conifer", "palm", "bare"]))
    places = sorted(zip(rng.uniform(near, far, count), rng.uniform(-1.1, 1.1, count) * half, strict=True), reverse=True)
    for distance, aside in places:
        place = frame.camera.eye[:2] + distance * np.array([np.cos(heading + aside), np.sin(heading + aside)])
        kind = what if what != "any" else str(rng.choice(["tree", "bush", "person", "person", "thing"]))
        if kind == "tree":
            sprites, height = trees()[forest], rng.uniform(5, 13)
        elif kind == "bush":
            sprites, height = trees()["bush"], rng.uniform(0.8, 2.2)
        elif kind == "person":
            sprites, height = people(), rng.uniform(1.5, 1.9)
        else:
            name = str(
                rng.choice(["lamp", "lamp", "bench", "red car", "white car", "blue car", "grey car", "bus", "flag"])
            )
            height = {"lamp": 4.5, "bench": 0.9, "bus": 3.0, "flag": 7.0}.get(name, 1.5)
            frame.paste(furniture()[name], place, height, light, 0.5 * light.night * (name == "lamp"))
            continue
        sprite = sprites[rng.integers(len(sprites))]
        tint = np.array([*rng.uniform(0.85, 1.15, 3), 1], np.float32)
        frame.paste((sprite if rng.random() < 0.5 else sprite[:, ::-1]) * tint, place, height, light)


def indoor_light(rng: Rng) -> Light:
    """The even light of a room, warm or cold."""
    level, warm = rng.uniform(0.75, 1.05), rng.uniform(-0.08, 0.14)
    sun = np.array([0.3, -0.4, 0.86])
    return Light(sun, np.full(3, 0.16), level * np.array([1 + warm, 1.0, 1 - warm]), np.full(3, 0.6), shadows=0.0)


def finish(frame: Frame, light: Light, rng: Rng, width: int, height: int, outdoors: bool = True) -> np.ndarray:
    """Weather in the air, exposure, white balance, lens and sensor: colours as the (H, W, 3) uint8 of a photograph."""
    picture = cv2.resize(frame.colour, (width, height), interpolation=cv2.INTER_AREA)
    air = rng.random() if outdoors else 1.0
    if air < 0.03 and not light.night:
        picture = _streaks(picture, rng, width, height)
    elif air < 0.06:
        flakes = cv2.GaussianBlur((rng.random((height, width)) < 0.02).astype(np.float32), (0, 0), 0.8) * 2.2
        picture = picture + np.minimum(flakes, 1)[..., None] * (0.95 - picture)
    gain = np.exp(rng.normal(0, 0.1)) * np.exp(rng.normal(0, 0.035, 3))
    picture = picture * gain
    if rng.random() < 0.35:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        picture = picture * (1 - rng.uniform(0.1, 0.4) * (x**2 + y**2)[..., None] / 2)
    contrast, grey = rng.uniform(0.85, 1.2), picture.mean(-1, keepdims=True)
    picture = grey + (picture - grey) * rng.uniform(0.85, 1.2)
    picture = 0.45 + (picture - 0.45) * contrast
    blur = rng.random()
    if blur < 0.08:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 1.6))
    elif blur < 0.11:  # the hand moved
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        kernel[np.arange(length), np.arange(length) if rng.random() < 0.5 else length // 2] = 1 / length
        picture = cv2.filter2D(picture, -1, kernel)
    sigma = rng.uniform(0.003, 0.014) * (2.0 if outdoors and light.night else 1)
    picture = picture + rng.standard_normal(picture.shape, np.float32) * np.float32(sigma)
    picture = np.clip(picture, 0, 1)
    shoulder = picture * (1.12 - 0.12 * picture)  # highlights roll off
    return np.clip(shoulder * 255 + 0.5, 0, 255).astype(np.uint8)


def _streaks(picture: np.ndarray, rng: Rng, width: int, height: int) -> np.ndarray:
    """Rain."""
    drops = (rng.random((height, width)) < 0.012).astype(np.float32)
    kernel = np.zeros((9, 9), np.float32)
    kernel[np.arange(9), 4 + (np.arange(9) - 4) // 3] = 1
    return picture * 0.92 + np.minimum(cv2.filter2D(drops, -1, kernel), 1)[..., None] * 0.16


def camera_at(
    eye: tuple | np.ndarray, target: tuple | np.ndarray, fov: float, width: int, height: int, roll: float = 0.0
) -> Camera:
    """A camera from plain tuples."""
    return Camera(np.array(eye, float), np.array(target, float), fov, width, height, roll)
