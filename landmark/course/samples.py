"""Pictures, names and batches for a notebook to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from landmark.course.answers import test_answers, truth_of
from landmark.data.archives import open_images
from landmark.data.csv.attribution import credit_lines
from landmark.data.dataset import Batch
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.images import read_image
from landmark.data.tables import label_names
from landmark.training.run import Run
from landmark.utils.errors import ImageError
from landmark.utils.files import atomic_path


class Pictures(list[np.ndarray]):
    """Pictures (H, W, 3), and lines that credit those who took them, which figures write below them."""

    credits: Sequence[str] = ()


def pictures(table: pd.DataFrame, root: str | Path, split: str = "train", size: int = 160) -> Pictures:
    """Read the images of a table's rows as arrays, the longer side at most `size` pixels; grey where one is damaged.

    They carry the credits of real photographs, see `data.credit_lines`.
    """
    images, out = open_images(root, split), Pictures()
    out.credits = credit_lines(root, table["id"].tolist())
    for image_id in table["id"]:
        try:
            image = read_image(images.read(image_id), at_least=size)
        except ImageError:
            image = Image.new("RGB", (size, size * 3 // 4), (150, 150, 150))
        image.thumbnail((size, size))
        out.append(np.asarray(image))
    return out


def sample_rows(table: pd.DataFrame, landmarks: Sequence[int], per_landmark: int, seed: int = 0) -> pd.DataFrame:
    """Draw rows of some landmarks at random, `per_landmark` of each, in the order of `landmarks`."""
    groups = (table[table["landmark_id"] == landmark_id] for landmark_id in landmarks)
    chosen = [g.sample(per_landmark, random_state=seed, replace=len(g) < per_landmark) for g in groups]
    return pd.concat(chosen, ignore_index=True)


def known_rows(data: GoogleLandmarks, labels: LabelMap) -> pd.DataFrame:
    """Select the rows of the test images that show a landmark of a label set."""
    truth = truth_of(data)
    return data.test[[any(x in labels for x in truth.get(i, ())) for i in data.test["id"]]]


def right_rows(run: Run, data: GoogleLandmarks) -> pd.DataFrame:
    """Select the rows of the test images that a run names correctly; all rows where it names none."""
    truth, answers = truth_of(data), test_answers(run, data)
    right = data.test[[i in answers and answers[i][0] in truth[i] for i in data.test["id"]]]
    return right if len(right) else data.test


def empty_rows(data: GoogleLandmarks) -> pd.DataFrame:
    """Select the rows of the test images that show no landmark: the distractors."""
    truth = truth_of(data)
    return data.test[[truth.get(i) == () for i in data.test["id"]]]


def names_of(data: GoogleLandmarks) -> dict[int, str]:
    """Map landmark_id → readable name, where the tables of names are present."""
    names = label_names(data.root)
    return names["name"].to_dict() if "name" in names else {}


def copy_photographs(rows: pd.DataFrame, data: GoogleLandmarks, folder: str | Path, split: str = "train") -> list[Path]:
    """Copy images out of a data set into a plain folder, as people keep their own photographs.

    Args:
        rows: with `id`; where there is `landmark_id`, too, a landmark's name is the sub-folder that its images go to.
        data: the folder in the GLDv2 layout.
        folder: to copy to, made where it is missing.
        split: "train" or "test".

    Returns:
        The files.
    """
    images, names, paths = open_images(data.root, split), names_of(data), []
    for row in rows.to_dict("records"):
        landmark_id = row.get("landmark_id")
        name = "" if landmark_id is None else names.get(landmark_id, str(landmark_id)).replace("/", "_")
        paths.append(Path(folder, name, f"{row['id']}.jpg"))
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(paths[-1]) as part:
            part.write_bytes(images.read(row["id"]))
    return paths


def planted_faults(data: GoogleLandmarks) -> pd.DataFrame:
    """Read the faults planted in a miniature world: id, fault; no rows for real data, where nobody knows."""
    path = data.root / "planted.csv"
    return pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame({"id": [], "fault": []}, dtype=str)


def batch_of(run: Run, table: pd.DataFrame, root: str | Path, split: str = "test") -> Batch:
    """Load the rows of a table as one batch for a run's network."""
    return next(iter(run.loader(table, root, split, workers=0, batch_size=max(len(table), 2))))


def squares(images: Tensor, table: pd.DataFrame | None = None, root: str | Path = "") -> Pictures:
    """Turn a normalised batch (B, 3, S, S) into pictures again, each stretched to its own range, for a figure.

    With the rows of the batch and their data set's root they carry the credits of real photographs, see `pictures`.
    """
    x = images.detach().float().cpu().permute(0, 2, 3, 1).numpy()
    low, high = x.min((1, 2, 3), keepdims=True), x.max((1, 2, 3), keepdims=True)
    out = Pictures((x - low) / np.maximum(high - low, 1e-6))
    if table is not None:
        out.credits = credit_lines(root, table["id"].tolist())
    return out
