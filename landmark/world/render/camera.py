"""See the world from a place: a pinhole camera."""

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
        """Compute the axes of the picture: rows right, down, forward, as unit vectors of the world (3, 3)."""
        forward = (self.target - self.eye) / np.linalg.norm(self.target - self.eye)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        c, s = np.cos(np.radians(self.roll)), np.sin(np.radians(self.roll))
        return np.stack([c * right + s * down, c * down - s * right, forward])

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project world points (..., 3) to pixels (..., 2) and depths (...); a depth <= 0 lies behind the camera.

        >>> camera = Camera(np.array([0.0, -10, 2]), np.array([0.0, 0, 2]), 90.0, 200, 100)
        >>> [values.round(3).tolist() for values in camera.project(np.array([1.0, 0, 2]))]
        [[105.0, 50.0], 10.0]
        """
        in_camera = (np.asarray(points, float) - self.eye) @ self.axes().T
        depth = in_camera[..., 2]
        centre = np.array([self.width / 2, self.height / 2])
        return centre + self.focal * in_camera[..., :2] / np.maximum(depth, 1e-6)[..., None], depth

    def rays(self) -> np.ndarray:
        """Compute the direction (H, W, 3) of every pixel's centre, one metre of depth long."""
        right, down, forward = self.axes()
        x = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal
        y = (np.arange(self.height) + 0.5 - self.height / 2) / self.focal
        return (forward + x[None, :, None] * right + y[:, None, None] * down).astype(np.float32)
