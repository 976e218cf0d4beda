"""A folder in the Google Landmarks v2 layout: its tables, and the classes of its labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from landmark.data import tables
from landmark.data.archives import ImageStore, open_images
from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import atomic_path

NONLANDMARK = "nonlandmark"  # the split of images without a landmark


class GoogleLandmarks:
    """A folder in the Google Landmarks v2 layout; tables are read when first asked for.

    Attributes: `root`, `train`, `test`, `solution`, `nonlandmark` (DataFrames, see `tables`).
    """

    @file_errors()
    def __init__(self, root: str | Path):
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder: give one with train.csv and train/a/b/c/<id>.jpg")

    @cached_property
    def train(self) -> pd.DataFrame:
        """Rows of train.csv."""
        return tables.read_train(self.root / "train.csv")

    def labelled(self, min_images: int = 1, clean: bool = False) -> pd.DataFrame:
        """Rows (id, landmark_id) of the landmarks with at least `min_images` images, of the cleaned list if `clean`.

        Raises:
            InputError: nothing is left, or a table cannot be trusted.
        """
        listed = self.root / "train_clean.csv" if clean else None
        return tables.read_train(
            self.root / "train.csv", min_images=min_images, clean=listed, columns=("id", "landmark_id")
        )

    @cached_property
    def test(self) -> pd.DataFrame:
        """Rows of test.csv."""
        return tables.read_test(self.root / "test.csv")

    @cached_property
    def nonlandmark(self) -> pd.DataFrame:
        """Images without a landmark, for training and calibration: rows (id, url) of nonlandmark.csv.

        Without that table they are the images under nonlandmark/, their url ""; no rows where there are none.
        """
        if (self.root / "nonlandmark.csv").exists():
            return tables.read_nonlandmark(self.root / "nonlandmark.csv")
        images = ImageStore(self.root, NONLANDMARK)
        ids = images.ids()
        if images.junk and not ids:
            raise InputError(
                f"{self.root / 'nonlandmark'}: no image at its place: an image abc….jpg belongs to nonlandmark/a/b/c/"
            )
        return pd.DataFrame({"id": ids, "url": ""}, columns=["id", "url"], dtype=str)

    @cached_property
    def solution(self) -> pd.DataFrame:
        """Rows of recognition_solution_v2.1.csv."""
        return tables.read_solution(self.root / "recognition_solution_v2.1.csv")


class JoinedImages:
    """Images of two splits by id, as one: an id of the second bears its name, `nonlandmark/<id>`.

    Args:
        root: folder in the GLDv2 layout.
        first, second: the splits.
    """

    def __init__(self, root: str | Path, first: str, second: str):
        self.second = f"{second}/"
        self.stores = open_images(root, first), open_images(root, second)

    def _split(self, ids: Sequence[str]) -> tuple[np.ndarray, list[list[str]]]:
        """Which ids are of the second split (N,), and the ids of each split as its own store knows them."""
        of_second = np.array([image_id.startswith(self.second) for image_id in ids], bool)
        parts: list[list[str]] = [[], []]
        for image_id, number in zip(ids, of_second.tolist(), strict=True):
            parts[number].append(image_id.removeprefix(self.second))
        return of_second, parts

    def read(self, image_id: str) -> bytes:
        """Read the bytes of one image file; errors as of `ImageStore.read`."""
        return self.stores[image_id.startswith(self.second)].read(image_id.removeprefix(self.second))

    def shards(self, ids: Sequence[str]) -> np.ndarray:
        """Say where each image lies, (N,), as `ImageStore.shards`: the TARs of both splits are others."""
        of_second, parts = self._split(ids)
        first, second = (store.shards(part) for store, part in zip(self.stores, parts, strict=True))
        places = np.empty(len(ids), np.int32)
        places[~of_second] = first
        places[of_second] = np.where(second > 0, second + len(self.stores[0].tars), second)
        return places

    def fingerprint(self, ids: Sequence[str]) -> str:
        """Hash the ids and stamps of both splits; of images of the first one alone it is that of their own store."""
        first, second = self._split(ids)[1]
        own = self.stores[0].fingerprint(first)
        return f"{own} {self.second}{self.stores[1].fingerprint(second)}" if second else own


class LabelMap:
    """landmark_id ↔ class_index 0..K-1, in ascending order of landmark_id.

    >>> labels = LabelMap([30, 10, 30])
    >>> len(labels), labels.to_index(30), labels.to_landmark(0)
    (2, 1, 10)
    """

    def __init__(self, landmark_ids: Iterable[int]):
        self.landmark_ids = sorted({int(landmark_id) for landmark_id in landmark_ids})
        self._index = {landmark_id: index for index, landmark_id in enumerate(self.landmark_ids)}

    def __len__(self) -> int:
        return len(self.landmark_ids)

    def __contains__(self, landmark_id: int) -> bool:
        return landmark_id in self._index

    def to_index(self, landmark_id: int) -> int:
        """Class index of a landmark, -1 when it is not in the label set."""
        return self._index.get(int(landmark_id), -1)

    def to_landmark(self, class_index: int) -> int:
        """landmark_id of a class."""
        return self.landmark_ids[class_index]

    def check_same(self, other: LabelMap) -> None:
        """Refuse two label sets that differ, with the first differences: classes of one mean others in the other.

        Raises:
            InputError: they differ.
        """
        ours, theirs = set(self.landmark_ids), set(other.landmark_ids)
        if ours != theirs:
            raise InputError(
                f"the label sets differ: {len(ours)} and {len(theirs)} landmarks; only in the first: "
                f"{sorted(ours - theirs)[:5]}, only in the second: {sorted(theirs - ours)[:5]}"
            )

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        with atomic_path(path) as part:
            part.write_text(json.dumps({"landmark_ids": self.landmark_ids}) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> LabelMap:
        """Read what `save` wrote; InputError when the file is missing or is something else."""
        if not Path(path).exists():
            raise InputError(f"{path}: no such file: train again, for without it nobody knows which class is what")
        try:
            landmark_ids = json.loads(Path(path).read_text())["landmark_ids"]
            return cls(landmark_ids)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a label map ({type(error).__name__}: {error})") from None
