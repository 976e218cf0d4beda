"""A small software renderer: a pinhole camera, a light, textured polygons in painter's order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in metres: x east, y north, z up, the ground at z = 0."""

    eye: np.ndarray  # (3,)
    target: np.ndarray  # (3,)
    fov: float  # vertical angle, degrees
    width: int
    height: int
    roll: float = 0.0  # degrees, clockwise

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return 0.5 * self.height / np.tan(np.radians(self.fov) / 2)

    def axes(self) -> np.ndarray:
        """Rows: right, down, forward, as unit vectors of the world (3, 3)."""
        forward = (self.target - self.eye) / np.linalg.norm(self.target - self.eye)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        c, s = np.cos(np.radians(self.roll)), np.sin(np.radians(self.roll))
        return np.stack([c * right + s * down, c * down - s * right, forward])

    def view(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the camera's own axes: right, down, depth."""
        return (points - self.eye) @ self.axes().T

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) and depths (...) of world points (..., 3); a depth <= 0 lies behind the camera."""
        seen = self.view(np.asarray(points, float))
        depth = seen[..., 2]
        centre = np.array([self.width / 2, self.height / 2])
        return centre + self.focal * seen[..., :2] / np.maximum(depth, 1e-6)[..., None], depth


@dataclass(frozen=True)
class Light:
    """The hour and the weather: what colours a face, how far one sees, whether lamps are lit; colours in 0..1."""

    sun: np.ndarray  # (3,) unit vector towards the sun (or the moon)
    sun_colour: np.ndarray  # (3,)
    ambient: np.ndarray  # (3,)
    night: float = 0.0  # 0 by day, 1 at night: windows and lamps glow
    haze: float = 0.0  # per metre: a face fades to `haze_colour` as 1 - exp(-haze * distance)
    haze_colour: np.ndarray | None = None  # (3,)
    shadows: float = 1.0  # 1 in hard sun, 0 under cloud
