"""Draw a scene in software: a light with cast shadows, textured polygons in a depth buffer, upright pictures.

Geometry becomes two buffers first, which face a pixel shows and how deep it lies; all colour is computed afterwards for
all pixels at once, from the place in the world that each of them shows. NumPy and OpenCV only, no system OpenGL.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from landmark.world.render.camera import Camera

NEAR = 0.4  # metres


@dataclass(frozen=True)
class Light:
    """The hour and the weather: what colours a surface, how far one sees, whether lamps are lit; colours in 0..1."""

    sun: np.ndarray  # (3,) unit vector towards the sun (or the moon)
    sun_colour: np.ndarray  # (3,)
    ambient: np.ndarray  # (3,)
    haze_colour: np.ndarray  # (3,)
    night: float = 0.0  # 0 by day, 1 at night: windows and lamps glow, landmarks are floodlit
    haze: float = 0.0  # per metre: a surface fades to `haze_colour` as 1 - exp(-haze · distance)
    shadows: float = 1.0  # 1 in hard sun, 0 under cloud
    cloud: float = 0.4  # share of the sky


@dataclass(frozen=True)
class Mesh:
    """F quadrilaterals (a triangle repeats its last corner), counter-clockwise seen from outside."""

    points: np.ndarray  # (F, 4, 3)
    repeats: np.ndarray  # (F, 2) times the texture fits along the first edge and up from it
    texture: np.ndarray  # (F,) index into the textures

    @classmethod
    def join(cls, parts: list[Mesh]) -> Mesh:
        """Join several meshes into one."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("points", "repeats", "texture")))

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> Mesh:
        """Turn a mesh by `turn` radians about the z axis, then move it by metres."""
        c, s = np.cos(turn), np.sin(turn)
        spin = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        return Mesh(self.points @ spin + (x, y, z), self.repeats, self.texture)

    @functools.cached_property
    def normals(self) -> np.ndarray:
        """Outward unit normals (F, 3), from the diagonals so that a repeated corner does no harm."""
        normal = np.cross(self.points[:, 2] - self.points[:, 0], self.points[:, 3] - self.points[:, 1])
        return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


@dataclass(frozen=True)
class Textures:
    """Surfaces at five resolutions, so that a far one does not flicker."""

    flat: np.ndarray  # (N, 4) uint8 texels: RGB and glow
    starts: np.ndarray  # (5,) row of `flat` where each resolution starts
    size: int

    @classmethod
    def of(cls, surfaces: np.ndarray) -> Textures:
        """Build the pyramid of surfaces (T, S, S, 4) uint8, S a multiple of 16."""
        current = surfaces.astype(np.float32)
        levels = [current]
        for _ in range(4):
            count, half = len(current), current.shape[1] // 2
            current = current.reshape(count, half, 2, half, 2, 4).mean((2, 4))
            levels.append(current)
        levels = [level.reshape(-1, 4).astype(np.uint8) for level in levels]
        starts = np.cumsum([0] + [len(level) for level in levels[:-1]])
        return cls(np.concatenate(levels), starts, surfaces.shape[1])


def _clip(polygon: np.ndarray) -> np.ndarray:
    """Cut off the part of a polygon (N, 3) in camera axes that lies before the near plane."""
    out = []
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if a[2] >= NEAR:
            out.append(a)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            out.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
    return np.array(out)


def _shadow_map(mesh: Mesh, sun: np.ndarray, size: int = 192) -> Callable[[np.ndarray], np.ndarray]:
    """Make a function that says for world points (N, 3) how much of the sun reaches them, 0 to 1."""
    right = np.cross(sun, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(sun, right), sun])  # the last: height towards the sun
    turned = mesh.points @ axes.T
    low = turned.reshape(-1, 3).min(0)
    scale = (size - 3) / max(np.ptp(turned[..., 0]), np.ptp(turned[..., 1]), 1e-6)
    flat = ((turned[..., :2] - low[:2]) * scale + 1) * 16
    facing = np.nonzero(mesh.normals @ sun > 1e-3)[0]
    facing = facing[np.argsort(turned[facing, :, 2].mean(1))]  # the painter's order is good enough for a shadow
    owner = np.zeros((size, size), np.int32)
    for face, polygon in zip(facing.tolist(), flat[facing].astype(np.int32), strict=True):
        cv2.fillConvexPoly(owner, polygon, face + 1, cv2.LINE_8, 4)
    normal = mesh.normals @ axes.T
    offset = (normal * turned[:, 0]).sum(1)
    slant = np.where(np.abs(normal[:, 2]) > 1e-3, normal[:, 2], 1e-3)
    y, x = np.mgrid[:size, :size]
    place = np.stack([(x - 1) / scale + low[0], (y - 1) / scale + low[1]], -1)
    index = owner - 1
    top = (offset[index] - (normal[index, :2] * place).sum(-1)) / slant[index]
    top = np.where(owner > 0, top, -1e9).astype(np.float32)
    bias = 2.5 / scale

    def lit(points: np.ndarray) -> np.ndarray:
        p = points @ axes.T.astype(np.float32)
        xy = ((p[:, :2] - low[:2].astype(np.float32)) * np.float32(scale) + 1.5).astype(np.int32)
        inside = ((xy >= 0) & (xy < size)).all(1)
        xy = np.where(inside[:, None], xy, 0)
        return np.where(inside & (top[xy[:, 1], xy[:, 0]] > p[:, 2] + bias), np.float32(0), np.float32(1))

    return lit


class Frame:
    """A picture in the making: colour (H, W, 3) float in 0..1 and inverse depth (H, W), 0 where nothing stands.

    >>> camera = Camera(np.array([0.0, -10, 2]), np.array([0.0, 0, 2]), 60.0, 48, 32)
    >>> Frame(camera).colour.shape
    (32, 48, 3)
    """

    def __init__(self, camera: Camera):
        self.camera, self.rays = camera, camera.rays()
        self.colour = np.zeros((camera.height, camera.width, 3), np.float32)
        self.inverse_depth = np.zeros((camera.height, camera.width), np.float32)
        self.lit: Callable[[np.ndarray], np.ndarray] | None = None

    def cast_shadows(self, mesh: Mesh, light: Light) -> None:
        """Let everything drawn from now on stand in the shadow of `mesh`."""
        if light.shadows > 0.05 and len(mesh.points):
            self.lit = _shadow_map(mesh, light.sun)

    def sunlight(self, points: np.ndarray, light: Light) -> np.ndarray:
        """Compute the share of direct sun at world points (N, 3): 0 in full shadow, 1 outside."""
        if self.lit is None:
            return np.ones(len(points), np.float32)
        return 1 - np.float32(light.shadows) * (1 - self.lit(points))

    def fade(self, colour: np.ndarray, distance: np.ndarray, light: Light) -> np.ndarray:
        """Fade colours (N, 3) by the haze of `distance` (N,) metres."""
        clear = np.exp(-np.float32(light.haze) * distance)[:, None]
        return colour * clear + light.haze_colour.astype(np.float32) * (1 - clear)

    def draw(self, mesh: Mesh, textures: Textures, light: Light, flood: float = 1.0) -> None:
        """Draw textured faces; nearer ones hide farther ones, whatever was drawn first.

        Args:
            mesh: faces, seen only from outside.
            textures: of the faces.
            light: colours them.
            flood: how much floodlight they get at night.
        """
        owner = self._cover(mesh)
        rows, columns = np.nonzero(owner >= 0)
        if not len(rows):
            return
        face = owner[rows, columns]
        depth = 1 / self.inverse_depth[rows, columns]
        points = self.camera.eye.astype(np.float32) + self.rays[rows, columns] * depth[:, None]
        texel = self._texels(mesh, textures, face, points, depth)
        normal = mesh.normals.astype(np.float32)
        direct = np.maximum(normal @ light.sun.astype(np.float32), 0)[face] * self.sunlight(points, light)
        sky = (0.72 + 0.28 * normal[:, 2])[face] * np.minimum(0.8 + points[:, 2] / 15, 1)  # darker towards the ground
        shade = sky[:, None] * light.ambient.astype(np.float32) + direct[:, None] * light.sun_colour.astype(np.float32)
        if light.night and flood:  # lamps at the foot, warm, weaker with height
            lamp = flood * light.night * np.exp(-points[:, 2] / 30) * (0.75 - 0.25 * normal[face, 2])
            shade = shade + lamp[:, None] * np.array([0.85, 0.66, 0.38], np.float32)
        colour = texel[:, :3] * shade
        if light.night:
            colour += light.night * texel[:, 3:] * np.array([1.0, 0.78, 0.42], np.float32)
        self.colour[rows, columns] = self.fade(colour, depth, light)

    def _cover(self, mesh: Mesh) -> np.ndarray:
        """Fill the depth buffer, and give the face that each pixel now shows, -1 where it shows none of this mesh."""
        camera, axes = self.camera, self.camera.axes()
        owner = np.full(self.inverse_depth.shape, -1, np.int32)
        toward = ((mesh.points[:, 0] - camera.eye) * mesh.normals).sum(1)  # < 0: we see its outside
        in_camera = (mesh.points - camera.eye) @ axes.T  # (F, 4, 3)
        visible = np.nonzero((toward < -1e-4) & (in_camera[..., 2].max(1) > NEAR))[0]
        plane = (mesh.normals @ axes.T) / np.where(np.abs(toward) > 1e-6, toward, 1)[:, None]  # 1/depth along a ray
        x = ((np.arange(camera.width) + 0.5 - camera.width / 2) / camera.focal).astype(np.float32)
        y = ((np.arange(camera.height) + 0.5 - camera.height / 2) / camera.focal).astype(np.float32)
        centre = (camera.width / 2, camera.height / 2)
        flat = in_camera[..., :2] * camera.focal / np.maximum(in_camera[..., 2:], NEAR) + centre
        whole = in_camera[..., 2].min(1) > NEAR
        limit = np.array([camera.width, camera.height])
        for face in visible.tolist():
            polygon = flat[face]
            if not whole[face]:
                clipped = _clip(in_camera[face])
                polygon = clipped[:, :2] * camera.focal / clipped[:, 2:] + centre
            left, top = np.maximum(np.floor(polygon.min(0)), 0).astype(int).tolist()
            right, bottom = np.minimum(np.ceil(polygon.max(0)) + 1, limit).astype(int).tolist()
            if left >= right or top >= bottom:
                continue
            mask = np.zeros((bottom - top, right - left), np.uint8)
            corners = ((polygon - (left + 0.5, top + 0.5)) * 16).clip(-1e8, 1e8).astype(np.int32)
            cv2.fillConvexPoly(mask, corners, 1, cv2.LINE_8, 4)
            a, b, c = plane[face].astype(np.float32)
            near = a * x[None, left:right] + (b * y[top:bottom] + c)[:, None]
            window = self.inverse_depth[top:bottom, left:right]
            wins = (near > window) & (mask > 0)
            np.copyto(window, near, where=wins)
            np.copyto(owner[top:bottom, left:right], face, where=wins)
        return owner

    def _texels(
        self, mesh: Mesh, textures: Textures, face: np.ndarray, points: np.ndarray, depth: np.ndarray
    ) -> np.ndarray:
        """Look up texture values (N, 4) in 0..1 at world points, from a pyramid whose level fits the distance."""
        first, last = mesh.points[:, 1] - mesh.points[:, 0], mesh.points[:, 3] - mesh.points[:, 0]
        long = np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-6)
        along = first / long
        up = np.cross(mesh.normals, along)
        high = np.maximum((up * last).sum(1, keepdims=True), 1e-6)
        scale = np.concatenate([mesh.repeats[:, :1] / long, mesh.repeats[:, 1:] / high], 1).astype(np.float32)
        offset = points - mesh.points[:, 0].astype(np.float32)[face]
        u = (offset * along.astype(np.float32)[face]).sum(1) * scale[face, 0]
        v = -(offset * up.astype(np.float32)[face]).sum(1) * scale[face, 1]
        size = textures.size
        density = size * np.maximum(scale[:, 0], scale[:, 1])[face] * depth / self.camera.focal  # texels in a pixel
        level = np.clip(np.log2(np.maximum(density, 1)), 0, 4).astype(np.int32)
        side = size >> level
        column = np.floor(u * side).astype(np.int64) % side
        row = np.floor(v * side).astype(np.int64) % side
        texels = textures.flat[textures.starts[level] + (mesh.texture[face] * side + row) * side + column]
        return texels.astype(np.float32) / 255

    def paste(self, sprite: np.ndarray, place: np.ndarray, height: float, light: Light, glow: float = 0.0) -> None:
        """Stand a flat picture upright on the ground, hidden by what is nearer.

        Args:
            sprite: (h, w, 4) float in 0..1: RGB and cover.
            place: (2,) metres east and north, or (3,) with a height above the ground.
            height: of the picture, metres.
            light: colours it.
            glow: its own light at night.
        """
        foot = np.array([*place, 0.0][:3])
        (x, y), depth = self.camera.project(foot)
        if depth < 2 * NEAR:
            return
        high = height * self.camera.focal / depth
        wide = high * sprite.shape[1] / sprite.shape[0]
        if high < 1 or high > 4 * self.camera.height:
            return
        left, top = round(x - wide / 2), round(y - high)
        right, bottom = max(left + 1, round(x + wide / 2)), max(top + 1, round(y))
        rows, columns = (
            slice(max(top, 0), min(bottom, self.camera.height)),
            slice(max(left, 0), min(right, self.camera.width)),
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        small = cv2.resize(sprite, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        small = small[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        cover = small[..., 3:] * (self.inverse_depth[rows, columns] < 1 / depth)[..., None]
        sun = self.sunlight(foot[None].astype(np.float32) + np.array([0, 0, height / 2], np.float32), light)[0]
        shade = light.ambient + 0.75 * sun * light.sun_colour + light.night * np.array([0.16, 0.12, 0.07]) + glow
        pixels = (small[..., :3] * shade.astype(np.float32)).reshape(-1, 3)
        pixels = self.fade(pixels, np.full(len(pixels), depth, np.float32), light).reshape(small.shape[:2] + (3,))
        window = self.colour[rows, columns]
        window += cover * (pixels - window)
