"""Flat pictures that stand upright in a scene: trees, bushes, people, lamps, cars. RGB and cover, floats in 0..1."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from landmark.world.render.materials import clouds

HIGH = 96  # pixels of a sprite
CLOTHES = np.array(
    [(62, 70, 94), (150, 60, 52), (214, 206, 190), (70, 92, 72), (40, 40, 44), (176, 148, 96), (110, 128, 150)]
)


def _blob(
    rng: np.random.Generator, height: int, width: int, lumps: list[tuple[float, float, float]], colour: object
) -> np.ndarray:
    """Leaves: discs (x, y, radius, in shares of the size) with a ragged edge, lit from above."""
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    ratio = width / height
    field = np.full((height, width), -1.0)
    for cx, cy, r in lumps:
        field = np.maximum(field, 1 - np.hypot((x - cx) * ratio, y - cy) / r)
    oy, ox = rng.integers(0, 256 - max(height, width), 2)
    rough = cv2.resize(clouds()[oy : oy + height // 2, ox : ox + width // 2], (width, height))
    fine = np.roll(clouds(), (oy, ox), (0, 1))[:height, :width]
    detail = fine - cv2.GaussianBlur(fine, (0, 0), 3)
    cover = np.clip((field + 0.1 * rough + 0.35 * detail) * 9, 0, 1)
    shade = np.clip(1.15 - 0.55 * y + 0.5 * detail + 0.14 * rough, 0.3, 1.5)
    return np.dstack([shade[..., None] * np.asarray(colour) / 255, cover]).astype(np.float32)


def _over(top: np.ndarray, base: np.ndarray) -> np.ndarray:
    cover = top[..., 3:]
    rgb = base[..., :3] + cover * (top[..., :3] - base[..., :3])
    return np.dstack([rgb, np.maximum(top[..., 3], base[..., 3])])


def _drawn(height: int, width: int, shapes: list[tuple]) -> np.ndarray:
    """Filled polygons and discs, (colour, points) or (colour, centre, radius), in shares of the size, smoothed."""
    big = np.zeros((height * 2, width * 2, 4), np.float32)
    for colour, points, *radius in shapes:
        value = (*(np.asarray(colour) / 255).tolist(), 1.0)
        pixels = (np.asarray(points) * (2 * width, 2 * height)).round().astype(np.int32)
        if radius:
            cv2.circle(big, pixels.tolist(), int(radius[0] * 2 * height), value, -1)
        else:
            cv2.fillPoly(big, [pixels], value)
    small = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)
    small[..., :3] = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    return small


@functools.cache
def trees() -> dict[str, list[np.ndarray]]:
    """Trees by kind: broad, conifer, palm, bush, bare."""
    rng = np.random.default_rng(21)
    out: dict[str, list[np.ndarray]] = {}
    greens = [(74, 98, 48), (92, 112, 56), (58, 84, 50), (110, 116, 58), (140, 104, 48)]
    bark = (84, 66, 50)
    trunk = [(0.47, 1), (0.53, 1), (0.515, 0.4), (0.485, 0.4)]
    out["broad"] = []
    for green in greens:
        lumps = [(0.5 + rng.normal(0, 0.14), 0.36 + rng.normal(0, 0.1), rng.uniform(0.16, 0.27)) for _ in range(7)]
        crown = _blob(rng, HIGH, 80, [*lumps, (0.5, 0.38, 0.27)], green)
        out["broad"].append(_over(crown, _drawn(HIGH, 80, [(bark, trunk)])))
    out["conifer"] = []
    for green in ((44, 70, 52), (56, 80, 48), (38, 62, 58)):
        shapes: list[tuple] = [(bark, [(0.46, 1), (0.54, 1), (0.54, 0.8), (0.46, 0.8)])]
        for i in range(6):
            top, foot, half = 0.02 + 0.13 * i, 0.24 + 0.13 * i, 0.14 + 0.06 * i
            shade = np.array(green) * rng.uniform(0.85, 1.15)
            shapes.append((shade, [(0.5, top), (0.5 + half, foot), (0.5, foot - 0.03), (0.5 - half, foot)]))
        out["conifer"].append(_drawn(HIGH, 56, shapes))
    out["palm"] = []
    for _ in range(2):
        shapes = [((126, 104, 78), [(0.48, 1), (0.53, 1), (0.52, 0.28), (0.49, 0.28)])]
        for angle in np.linspace(-2.9, -0.25, 9) + rng.normal(0, 0.1, 9):
            far = np.array([0.5 + 0.46 * np.cos(angle), 0.28 + 0.2 * np.sin(angle) + 0.1])
            middle = np.array([0.5 + 0.26 * np.cos(angle), 0.24 + 0.24 * np.sin(angle)])
            shapes.append(
                (np.array((84, 110, 58)) * rng.uniform(0.8, 1.2), [(0.5, 0.26), middle, far, middle + (0, 0.05)])
            )
        out["palm"].append(_drawn(HIGH, 80, shapes))
    out["bush"] = []
    for green in greens[:4]:
        lumps = [(rng.uniform(0.2, 0.8), rng.uniform(0.5, 0.8), rng.uniform(0.2, 0.34)) for _ in range(6)]
        out["bush"].append(_blob(rng, HIGH // 2, 72, lumps, green))
    out["bare"] = []
    for _ in range(2):
        shapes = [((70, 58, 50), trunk)]
        for _ in range(16):
            y = rng.uniform(0.3, 0.62)
            dx, dy = rng.uniform(-0.34, 0.34), rng.uniform(0.1, 0.28)
            shapes.append(((78, 66, 58), [(0.5, y), (0.5, y + 0.02), (0.5 + dx, y - dy)]))
        out["bare"].append(_drawn(HIGH, 72, shapes))
    return out


@functools.cache
def people() -> list[np.ndarray]:
    """Visitors, each in other clothes, some with a bag, a hat or a raised arm."""
    rng, out = np.random.default_rng(22), []
    for i in range(14):
        top, legs = CLOTHES[rng.integers(len(CLOTHES))], CLOTHES[rng.integers(len(CLOTHES))] * 0.7
        skin = np.array([(224, 184, 152), (188, 140, 106), (120, 84, 62)])[i % 3]
        stride = rng.uniform(0.04, 0.16)
        shapes = [
            (legs, [(0.36, 0.5), (0.5, 0.5), (0.5 - stride, 0.99), (0.4 - stride, 0.99)]),
            (legs * 0.85, [(0.5, 0.5), (0.64, 0.5), (0.6 + stride, 0.99), (0.5 + stride, 0.99)]),
            (top, [(0.3, 0.2), (0.7, 0.2), (0.66, 0.56), (0.34, 0.56)]),
            (top * 0.85, [(0.3, 0.2), (0.2, 0.24), (0.18, 0.5), (0.28, 0.5)]),
            (skin, (0.5, 0.1), 0.075),
            (CLOTHES[rng.integers(len(CLOTHES))] * 0.6, [(0.38, 0.1), (0.4, 0.03), (0.6, 0.03), (0.62, 0.1)]),
        ]
        arm = (
            [(0.7, 0.2), (0.78, 0.22), (0.9, 0.02), (0.84, 0.0)]
            if i % 4 == 0
            else [(0.7, 0.2), (0.8, 0.24), (0.8, 0.5), (0.72, 0.5)]
        )
        shapes.append((top * 0.9, arm))
        if i % 5 == 0:  # a skirt
            shapes.insert(2, (legs, [(0.34, 0.5), (0.66, 0.5), (0.74, 0.78), (0.26, 0.78)]))
        out.append(_drawn(HIGH, 36, shapes))
    return out


IRON, PANE = (52, 54, 58), (110, 130, 146)


def _car(*paint: int) -> np.ndarray:
    body = [(0.02, 0.55), (0.2, 0.5), (0.32, 0.18), (0.74, 0.18), (0.88, 0.5), (0.98, 0.56), (0.98, 0.85), (0.02, 0.85)]
    front, back = (
        [(0.24, 0.5), (0.34, 0.25), (0.51, 0.25), (0.51, 0.5)],
        [(0.54, 0.5), (0.54, 0.25), (0.71, 0.25), (0.82, 0.5)],
    )
    wheels = [((30, 30, 30), (x, 0.85), 0.13) for x in (0.2, 0.8)]
    return _drawn(40, 96, [(paint, body), (PANE, front), (PANE, back), *wheels])


@functools.cache
def furniture() -> dict[str, np.ndarray]:
    """Street furniture: lamp, bench, car, bus, flag, boat."""
    return {
        "lamp": _drawn(HIGH, 24, [(IRON, [(0.45, 1), (0.55, 1), (0.53, 0.12), (0.47, 0.12)]),
                                  (IRON, [(0.35, 1), (0.65, 1), (0.6, 0.94), (0.4, 0.94)]),
                                  ((250, 236, 190), (0.5, 0.07), 0.06)]),
        "bench": _drawn(40, 72, [((110, 78, 52), [(0.02, 0.3), (0.98, 0.3), (0.98, 0.55), (0.02, 0.55)]),
                                 (IRON, [(0.1, 0.3), (0.15, 0.3), (0.15, 1), (0.1, 1)]),
                                 (IRON, [(0.85, 0.3), (0.9, 0.3), (0.9, 1), (0.85, 1)]),
                                 ((96, 68, 46), [(0.02, 0.65), (0.98, 0.65), (0.98, 0.75), (0.02, 0.75)])]),
        "red car": _car(150, 44, 40), "white car": _car(216, 216, 212),
        "blue car": _car(58, 78, 112), "grey car": _car(120, 122, 126),
        "bus": _drawn(72, 110, [((178, 140, 60), [(0.02, 0.08), (0.98, 0.08), (0.98, 0.88), (0.02, 0.88)]),
                                (PANE, [(0.05, 0.18), (0.95, 0.18), (0.95, 0.5), (0.05, 0.5)]),
                                ((30, 30, 30), (0.22, 0.88), 0.1), ((30, 30, 30), (0.78, 0.88), 0.1)]),
        "flag": _drawn(HIGH, 40, [(IRON, [(0.1, 1), (0.14, 1), (0.14, 0.02), (0.1, 0.02)]),
                                  ((168, 52, 48), [(0.14, 0.04), (0.9, 0.08), (0.86, 0.22), (0.14, 0.2)])]),
        "boat": _drawn(64, 90, [((120, 76, 52), [(0.05, 0.75), (0.95, 0.75), (0.8, 1), (0.2, 1)]),
                                ((226, 222, 210), [(0.5, 0.02), (0.88, 0.68), (0.5, 0.68)]),
                                (IRON, [(0.48, 0), (0.5, 0), (0.5, 0.75), (0.48, 0.75)])]),
    }  # fmt: skip
