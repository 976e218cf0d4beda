"""Photographs of invented landmarks, and the bytes of each planned file."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from landmark.data.images import image_path
from landmark.utils.files import atomic_path
from landmark.world import distractors, scenery
from landmark.world.landmarks import Landmark, design
from landmark.world.plan import Shot
from landmark.world.render.renderer import Frame, Light

Rng = np.random.Generator

SHAPES = ((1.0, 0.75), (1.0, 2 / 3), (1.0, 0.75), (0.75, 1.0), (2 / 3, 1.0), (1.0, 1.0))
OVERSAMPLING = 1.5  # a scene is drawn this much larger than its photograph
QUALITY = (72, 96)  # of the JPEGs, the upper end left out
QUALITY_AGAIN = 60  # of a photograph saved once more
EXIF_ORIENTATION, EXIF_TURNED = 0x0112, 6  # the tag, and its value for a picture that lies on its side
VIEWS = {"whole": 0.78, "far": 0.03, "near": 0.12, "detail": 0.02, "crop": 0.03, "inside": 0.02}


def photograph(landmark: Landmark, rng: Rng, size: int, view: str | None = None) -> tuple[np.ndarray, str]:
    """One photograph of a landmark.

    Args:
        landmark: its subject.
        rng: decides on hour, weather, surroundings and camera.
        size: longer side, pixels.
        view: one of `VIEWS`; any when left out, `inside` only where one can go in.

    Returns:
        (H, W, 3) uint8 and the view.

    >>> picture, view = photograph(design(3), np.random.default_rng(0), 64, "whole")
    >>> max(picture.shape), view
    (64, 'whole')
    """
    width, height = (round(size * side) for side in SHAPES[rng.integers(len(SHAPES))])
    view = view or str(rng.choice(list(VIEWS), p=list(VIEWS.values())))
    if view == "inside" and landmark.hall is None:
        view = "whole"
    wide, high = int(width * OVERSAMPLING), int(height * OVERSAMPLING)
    frame, light = (_inside if view == "inside" else _outside)(landmark, rng, wide, high, view)
    return scenery.finish(frame, light, rng, width, height, outdoors=view != "inside"), view


def _outside(landmark: Landmark, rng: Rng, width: int, height: int, view: str) -> tuple[Frame, Light]:
    fov = rng.uniform(30, 58)
    fill = {"whole": (0.95, 1.35), "far": (0.5, 0.75), "near": (1.4, 2.1), "detail": (2.2, 3.2), "crop": (1.0, 1.6)}[
        view
    ]
    tall, half = np.tan(np.radians(fov / 2)), np.tan(np.radians(fov / 2)) * width / height
    distance = max(landmark.height / (1.8 * tall), landmark.radius * 0.9 / half) / rng.uniform(*fill)
    distance = max(distance, landmark.radius * 0.35) + landmark.radius * 0.7
    # Most people stand in front, but every side has been photographed
    azimuth = rng.normal(0, 0.4) if rng.random() < 0.9 else rng.uniform(-np.pi, np.pi)
    climb = rng.random()
    eye_z = 1.7 if climb < 0.7 else rng.uniform(3, 12) if climb < 0.88 else rng.uniform(0.3, 1.1) * landmark.height + 3
    eye = np.array([distance * np.sin(azimuth), -distance * np.cos(azimuth), eye_z])
    target = np.array([0.0, 0.0, landmark.height * rng.uniform(0.36, 0.5)])
    if view in ("detail", "near", "crop"):
        aside = {"detail": 0.55, "near": 0.25, "crop": 0.8}[view] * landmark.radius * rng.uniform(-1, 1)
        target += (aside * np.cos(azimuth), aside * np.sin(azimuth), 0)
        target[2] = landmark.height * (rng.uniform(0.25, 0.85) if view == "detail" else rng.uniform(0.35, 0.6))
    camera = scenery.camera_at(eye, target, fov, width, height, rng.normal(0, 1.5))
    light = scenery.sample_light(rng, facing=azimuth - np.pi / 2)
    frame = Frame(camera)
    scenery.draw_sky(frame, light, rng)
    frame.cast_shadows(landmark.mesh, light)
    scenery.draw_ground(frame, light, rng, clear=landmark.radius if landmark.kind != "bridge" else 0.0)
    scenery.draw_backdrop(frame, light, rng)
    frame.draw(landmark.mesh, landmark.textures, light)
    away = distance + landmark.radius
    scenery.scatter(frame, light, rng, away, away * 2.2, int(rng.integers(0, 8)), "tree")
    front = max(distance - landmark.radius, 4.0)
    scenery.scatter(frame, light, rng, min(4.0, front * 0.5), front, int(rng.integers(0, 3)))
    scenery.scatter(frame, light, rng, min(5.0, front * 0.6), front, int(rng.integers(0, 5)), "person")
    return frame, light


def _inside(landmark: Landmark, rng: Rng, width: int, height: int, view: str) -> tuple[Frame, Light]:
    assert landmark.hall, f"{landmark.name} has no hall"
    w, d, h = landmark.hall
    light = replace(scenery.indoor_light(rng), night=rng.uniform(0.5, 0.9))  # the windows shine
    eye = (rng.uniform(-0.2, 0.2) * w, rng.uniform(-0.46, -0.2) * d, rng.uniform(1.5, 2.2))
    target = (rng.uniform(-0.35, 0.35) * w, rng.uniform(0.2, 0.5) * d, rng.uniform(0.15, 0.7) * h)
    frame = Frame(scenery.camera_at(eye, target, rng.uniform(50, 78), width, height))
    frame.draw(landmark.interior(), landmark.textures, light, flood=0.0)
    return frame, light


@lru_cache(16)
def _landmark(seed: int, family: int) -> Landmark:
    return design(seed, family)


def _pixels(shot: Shot, rng: Rng) -> np.ndarray:
    """What the camera sees (H, W, 3) uint8, before the file's own faults."""
    if not isinstance(shot.subject, str):
        return photograph(_landmark(*shot.subject), rng, shot.size)[0]
    width, height = (round(shot.size * side) for side in SHAPES[rng.integers(len(SHAPES))])
    wide, high = int(width * OVERSAMPLING), int(height * OVERSAMPLING)
    frame, light = distractors.distractor(shot.subject, rng, wide, high)
    return scenery.finish(frame, light, rng, width, height, outdoors=shot.subject in ("nature", "street"))


def _picture(shot: Shot) -> bytes:
    """The bytes of one file."""
    rng = np.random.default_rng(shot.seed)
    pixels = _pixels(shot, rng)
    image, quality, exif = Image.fromarray(pixels), int(rng.integers(*QUALITY)), Image.Exif()
    if shot.fault == "rotated":
        image = image.rotate(shot.rotation, expand=True)
    if shot.fault == "exif":  # stored turned, with the tag that says how to turn it back
        image, exif[EXIF_ORIENTATION] = image.transpose(Image.Transpose.ROTATE_90), EXIF_TURNED
    if shot.fault in ("grey", "cmyk"):
        image = image.convert({"grey": "L", "cmyk": "CMYK"}[shot.fault])
    if shot.fault == "duplicate":  # the same photograph, saved again
        quality = QUALITY_AGAIN
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, exif=exif)
    data = out.getvalue()
    if shot.fault == "unreadable":
        data = (data[: len(data) // 2], b"", b"<!DOCTYPE html><title>404 Not Found</title>\n")[shot.rotation]
    return data


def _shoot(shots: list[Shot], root: Path) -> int:
    """Make the files of some shots, those that are there already excepted."""
    cv2.setNumThreads(1)  # the processes share the cores already
    for shot in shots:
        path = image_path(root, shot.split, shot.image_id)
        if path.exists():
            continue
        picture = _picture(shot)
        with atomic_path(path) as part:
            part.write_bytes(picture)
    return len(shots)
