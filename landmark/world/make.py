"""The miniature world: photographs of invented landmarks in the exact layout of Google Landmarks v2, made from a seed.

Like the real set it has a long tail, wrong labels, rotated, grey, CMYK and broken files, near-duplicates, and a test
set that is mostly distractors. Unlike the real one it also says which is which, in `planted.csv`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from landmark import distractors, scenery
from landmark.architecture import Landmark, design
from landmark.config import WorldConfig
from landmark.images import image_path
from landmark.locks import LOCK, alone
from landmark.process import settle_sockets, usable_cpus
from landmark.renderer import Frame, Light
from landmark.runtime import InputError, atomic_path
from landmark.sacred import SACRED

Rng = np.random.Generator
VERSION = 2  # raise it when the same settings give other pixels
SHAPES = ((1.0, 0.75), (1.0, 2 / 3), (1.0, 0.75), (0.75, 1.0), (2 / 3, 1.0), (1.0, 1.0))
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
    wide, high = int(width * 1.5), int(height * 1.5)
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
    w, d, h = landmark.hall
    light = replace(scenery.indoor_light(rng), night=rng.uniform(0.5, 0.9))  # the windows shine
    eye = (rng.uniform(-0.2, 0.2) * w, rng.uniform(-0.46, -0.2) * d, rng.uniform(1.5, 2.2))
    target = (rng.uniform(-0.35, 0.35) * w, rng.uniform(0.2, 0.5) * d, rng.uniform(0.15, 0.7) * h)
    frame = Frame(scenery.camera_at(eye, target, rng.uniform(50, 78), width, height))
    frame.draw(landmark.interior(), landmark.textures, light, flood=0.0)
    return frame, light


@dataclass(frozen=True)
class _Shot:
    """One row of a table, and all that its file depends on."""

    split: str
    image_id: str
    label: int | None  # as the table says
    subject: tuple[int, int] | str  # (geometry seed, family seed), or a kind of distractor
    truth: int | None  # landmark that is to be seen
    fault: str = ""  # wrong_label, rotated, grey, cmyk, exif, duplicate, unreadable
    rotation: int = 0
    source: str = ""  # id whose picture this one repeats
    size: int = 160
    seed: tuple[int, ...] = ()


@lru_cache(16)
def _landmark(seed: int, family: int) -> Landmark:
    return design(seed, family)


def _picture(shot: _Shot) -> bytes:
    """The bytes of one file."""
    rng = np.random.default_rng(shot.seed)
    if isinstance(shot.subject, str):
        width, height = (round(shot.size * side) for side in SHAPES[rng.integers(len(SHAPES))])
        frame, light = distractors.distractor(shot.subject, rng, int(width * 1.5), int(height * 1.5))
        outdoors = shot.subject in ("nature", "street")
        pixels = scenery.finish(frame, light, rng, width, height, outdoors=outdoors)
    else:
        pixels, _ = photograph(_landmark(*shot.subject), rng, shot.size)
    image, quality, exif = Image.fromarray(pixels), int(rng.integers(72, 96)), Image.Exif()
    if shot.fault == "rotated":
        image = image.rotate(shot.rotation, expand=True)
    if shot.fault == "exif":  # stored turned, with the tag that says how to turn it back
        image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
    if shot.fault in ("grey", "cmyk"):
        image = image.convert({"grey": "L", "cmyk": "CMYK"}[shot.fault])
    if shot.fault == "duplicate":  # the same photograph, saved again
        quality = 60
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, exif=exif)
    data = out.getvalue()
    if shot.fault == "unreadable":
        data = (data[: len(data) // 2], b"", b"<!DOCTYPE html><title>404 Not Found</title>\n")[shot.rotation]
    return data


def _shoot(shots: list[_Shot], root: Path) -> int:
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


def _sizes(config: WorldConfig, rng: Rng) -> np.ndarray:
    """Train images of each landmark of the label set: a long tail of the wanted mean above the filter."""
    share = 1 / np.arange(1, config.landmarks + 1) ** 0.6
    extra = config.landmarks * (config.images - config.min_images)
    sizes = config.min_images + np.floor(extra * share / share.sum()).astype(int)
    sizes[: config.landmarks * config.images - sizes.sum()] += 1
    return rng.permutation(sizes)


def plan(config: WorldConfig) -> tuple[list[_Shot], pd.DataFrame]:
    """Every file of a world before any is made, and its landmarks (landmark_id, name, kind, family, role).

    >>> shots, landmarks = plan(WorldConfig(landmarks=4, images=6, test=10))
    >>> landmarks["role"].value_counts()["known"].item()
    4
    """
    rng = np.random.default_rng((config.seed, config.pretraining, 31))
    tail, others = max(2, config.landmarks // 3), max(2, config.landmarks // 4)
    count = config.landmarks + tail + others
    ids = np.sort(rng.choice(200_000, count, replace=False)) + 1
    role = rng.permutation(["known"] * config.landmarks + ["tail"] * tail + ["unknown"] * others)
    families = rng.integers(2**30, size=max(1, round(count / config.siblings))) * 2 + config.pretraining
    family = rng.permutation(np.resize(families, count))  # as equal in size as can be
    subject = {int(i): (int(s) * 2 + config.pretraining, int(f))
               for i, s, f in zip(ids, rng.choice(2**30, count, replace=False), family, strict=True)}  # fmt: skip
    known, rest = ids[role == "known"], ids[role != "known"]
    shots: list[_Shot] = []

    def add(split: str, label: int | None, shown: int | str | None, **more) -> None:
        truth = shown if isinstance(shown, int) else None
        key = f"{config.seed}/{config.pretraining}/{split}/{len(shots)}"
        seed = more.pop("seed", (config.seed, int(config.pretraining), 32, len(shots)))
        shots.append(_Shot(split, hashlib.sha256(key.encode()).hexdigest()[:16], label,
                           subject[truth] if truth else shown, truth, size=config.size, seed=seed, **more))  # fmt: skip

    def any_distractor() -> str:
        return str(rng.choice(list(distractors.KINDS)))

    for landmark_id, size in zip(known.tolist(), _sizes(config, rng).tolist(), strict=True):
        for _ in range(size):
            add("train", landmark_id, landmark_id)
    at = rng.permutation(len(shots)).tolist()
    for fault, share in (("rotated", 0.02), ("grey", 0.02), ("cmyk", 0.01), ("exif", 0.01)):
        for _ in range(max(1, round(share * len(shots)))):
            if not at:
                break
            i = at.pop(0)
            turn = int(rng.choice([90, 180, 270])) if fault == "rotated" else 90 * (fault == "exif")
            shots[i] = replace(shots[i], fault=fault, rotation=turn)
    sound = [shot for shot in shots if not shot.fault]
    for landmark_id in ids[role == "tail"].tolist():
        for _ in range(int(rng.integers(1, config.min_images))):
            add("train", landmark_id, landmark_id)
    regular = len(shots)
    for _ in range(max(1, round(0.03 * regular))):  # half a picture of nothing, half one of another landmark
        label = int(rng.choice(known))
        other = int(rng.choice(known[known != label])) if rng.random() < 0.5 and len(known) > 1 else any_distractor()
        add("train", label, other, fault="wrong_label")
    for i in rng.choice(len(sound), round(0.02 * regular), replace=False).tolist():
        add("train", sound[i].label, sound[i].truth, fault="duplicate", source=sound[i].image_id, seed=sound[i].seed)
    for i in range(max(3, round(0.003 * regular))):
        label = int(rng.choice(known))
        add("train", label, label, fault="unreadable", rotation=i % 3)
    shares = np.array([config.known, config.unknown])
    n_known, n_unknown = np.round(shares * config.test).astype(int)
    for _ in range(n_known):
        landmark_id = int(rng.choice(known))
        add("test", landmark_id, landmark_id)
    for _ in range(n_unknown):
        landmark_id = int(rng.choice(rest))
        add("test", landmark_id, landmark_id)
    for _ in range(config.test - n_known - n_unknown):
        add("test", None, any_distractor())
    designs = [design(*subject[i]) for i in ids.tolist()]
    rows = [(i, x.name, x.kind, x.family, r) for i, x, r in zip(ids.tolist(), designs, role.tolist(), strict=True)]
    return shots, pd.DataFrame(rows, columns=["landmark_id", "name", "kind", "family", "role"])


def _write_tables(root: Path, config: WorldConfig, shots: list[_Shot], landmarks: pd.DataFrame) -> None:
    rng = np.random.default_rng((config.seed, config.pretraining, 33))
    train = [s for s in shots if s.split == "train"]
    test = [s for s in shots if s.split == "test"]
    train, test = [train[i] for i in rng.permutation(len(train))], [test[i] for i in rng.permutation(len(test))]
    public = set(rng.permutation(len(test))[: len(test) // 3].tolist())
    sacred = landmarks["kind"].isin(list(SACRED))
    category = "https://example.org/Category:" + landmarks["name"].str.replace(" ", "_")
    planted = [
        (s.split, s.image_id, s.fault, s.truth, 0 if s.fault == "unreadable" else s.rotation) for s in shots if s.fault
    ]
    tables = {
        "train.csv": pd.DataFrame(
            [(s.image_id, f"https://example.org/{s.image_id}.jpg", s.label) for s in train],
            columns=["id", "url", "landmark_id"],
        ),
        "test.csv": pd.DataFrame({"id": [s.image_id for s in test]}),
        "recognition_solution_v2.1.csv": pd.DataFrame(
            [(s.image_id, "" if s.label is None else str(s.label), "Public" if i in public else "Private")
             for i, s in enumerate(test)], columns=["id", "landmarks", "Usage"],
        ),
        "train_label_to_category.csv": pd.DataFrame({"landmark_id": landmarks["landmark_id"], "category": category}),
        "train_label_to_hierarchical.csv": pd.DataFrame(
            {"landmark_id": landmarks["landmark_id"], "category": category, "supercategory": landmarks["kind"],
             "hierarchical_label": np.where(sacred, "religious building", "secular building"),
             "natural_or_human_made": "human-made"}
        ),
        "landmarks.csv": landmarks,
        "planted.csv": pd.DataFrame(
            planted, columns=["split", "id", "fault", "true_landmark_id", "rotation"]
        ).astype({"true_landmark_id": "Int64"}),
    }  # fmt: skip
    for name, table in tables.items():
        with atomic_path(root / name) as part:
            table.to_csv(part, index=False, lineterminator="\n")


def make_world(
    out: str | Path, config: WorldConfig | None = None, *, workers: int | None = None, progress: bool = True, **settings
) -> Path:
    """Make a miniature world, or return it when it is there already.

    Writes train.csv, test.csv, recognition_solution_v2.1.csv, the two tables of names, the images under
    train/a/b/c and test/a/b/c, and beside them what the real set does not tell: planted.csv (every fault),
    landmarks.csv (names, families, roles) and, last of all, world.json. Stopped, it goes on where it was.

    Args:
        out: folder to write to: new, empty, or a world of the same settings.
        config: settings; the defaults when left out.
        workers: processes; as many as there are cores when left out. The pixels do not depend on it.
        progress: show a bar.
        settings: fields of `WorldConfig` to change.

    Returns:
        `out`.

    Raises:
        InputError: the folder holds something else, or a setting is out of range.
    """
    root = Path(out)
    try:
        config = replace(config or WorldConfig(), **settings)
    except TypeError as error:
        raise InputError(f"no such setting of a world: {error}") from None
    wanted = {"version": VERSION, **asdict(config)}
    if _holds(root / "world.json", wanted):
        return root
    with alone(root / LOCK, waiting=f"{root}: another process makes this world: waiting for it"):
        if not _holds(root / "world.json", wanted):  # looked at again: whoever was inside may have made it meanwhile
            if not _holds(root / "world.part.json", wanted) and any(not p.name.startswith(".") for p in root.iterdir()):
                raise InputError(f"{root}: exists and is not a miniature world: choose a new folder")
            _make(root, config, wanted, workers, progress)
    return root


def _holds(path: Path, wanted: dict) -> bool:
    """Whether a file tells of the wanted world; InputError when it tells of another one."""
    if not path.exists():
        return False
    try:
        found = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}): delete the folder and make the world again") from None
    if found != wanted:
        changed = ", ".join(f"{k}: {found.get(k)} → {v}" for k, v in wanted.items() if found.get(k) != v)
        told = f"{path.parent}: holds a world of other settings ({changed})"
        raise InputError(f"{told}: choose another folder or delete it")
    return True


def _make(root: Path, config: WorldConfig, wanted: dict, workers: int | None, progress: bool) -> None:
    for leftover in root.glob("t*/?/?/?/.*.part"):  # of a killed process
        leftover.unlink(missing_ok=True)
    with atomic_path(root / "world.part.json") as part:
        part.write_text(json.dumps(wanted, indent=1) + "\n")
    shots, landmarks = plan(config)
    workers = workers or usable_cpus()
    # Neighbours in the plan show the same landmark: chunks keep its mesh and textures in one process
    chunks = [shots[i : i + 16] for i in range(0, len(shots), 16)]
    if len(shots) < 300:  # starting processes would take longer
        done = (_shoot(chunk, root) for chunk in chunks)
    else:
        settle_sockets()
        pool = joblib.Parallel(workers, return_as="generator", pre_dispatch="4 * n_jobs")
        done = pool(joblib.delayed(_shoot)(chunk, root) for chunk in chunks)
    with tqdm(total=len(shots), unit="image", desc=f"world {root.name}", disable=not progress) as bar:
        for count in done:
            bar.update(count)
    _write_tables(root, config, shots, landmarks)
    os.replace(root / "world.part.json", root / "world.json")
