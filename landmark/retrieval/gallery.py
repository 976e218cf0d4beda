"""Photographs to search with, and the folder of landmarks to search in."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from landmark.data import tables
from landmark.data.archives import MAX_BYTES, ImageStore, open_images
from landmark.data.folder import GoogleLandmarks
from landmark.data.images import read_image
from landmark.utils.errors import ImageError, InputError, file_errors
from landmark.utils.files import stamp

log = logging.getLogger("landmark.retrieval")
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp"}  # of pictures that are read
OTHERS = set(".heic .heif .avif .jxl .tif .tiff .dng .cr2 .cr3 .nef .arw".split())  # and of those that people have, too
_SPLITS = {"train", "test", "index", "nonlandmark"}


class PhotoFiles:
    """Images by id, wherever they lie: what `ImageStore` is to a split of GLDv2.

    Args:
        paths: image id → file.
    """

    def __init__(self, paths: Mapping[str, Path]):
        self.paths = dict(paths)

    def read(self, image_id: str) -> bytes:
        """Read the bytes of an image file; ImageError when it cannot be."""
        path = self.paths[image_id]
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ImageError(path, f"{path.stat().st_size} bytes, limit {MAX_BYTES}")
            return path.read_bytes()
        except FileNotFoundError:
            raise ImageError(path, "no such file") from None
        except OSError as error:
            raise ImageError(path, f"cannot be read ({error.strerror})") from None

    def fingerprint(self, ids: Sequence[str]) -> str:
        """Hash paths and stamps of some files: what is stored about them is bound to it."""
        digest = hashlib.sha256()
        for image_id in ids:
            path = self.paths[image_id]
            digest.update(
                os.fsencode(path.absolute()) + f" {stamp(path.stat()) if path.is_file() else None}\n".encode()
            )
        return digest.hexdigest()


@dataclass(frozen=True)
class Photos:
    """Images with ids, to be embedded and looked at."""

    root: Path  # the folder that what is stored about them belongs to
    split: str
    ids: list[str]
    images: ImageStore | PhotoFiles
    names: dict[str, str] = field(default_factory=dict)  # image id → what people call the file, where it is not the id

    def name(self, image_id: str) -> str:
        """Name an image for people."""
        return self.names.get(image_id, image_id)

    def picture(self, image_id: str) -> Image.Image:
        """Decode an image; ImageError when it cannot be."""
        return read_image(self.images.read(image_id))


@dataclass(frozen=True)
class Gallery(Photos):
    """Images of landmarks."""

    landmark: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # (N,) landmark_id of each image
    landmarks: dict[int, str] = field(default_factory=dict)  # landmark_id → name, where it has one
    numbered: bool = True  # whether landmark ids are those of a data set, and not counted here
    others: Photos | None = None  # images that show no landmark


def open_photos(paths: Iterable[str | Path]) -> Photos:
    """Take photographs by their paths; one that is named twice counts once.

    Raises:
        InputError: no path.
    """
    files = {_id_of(os.path.abspath(path)): Path(path) for path in paths}
    if not files:
        raise InputError("0 photographs to search with: name one")
    return Photos(Path("."), "photos", list(files), PhotoFiles(files), {i: str(path) for i, path in files.items()})


def open_test(root: str | Path) -> Photos:
    """Take all test images of a GLDv2 folder; InputError when it has no test.csv."""
    data = GoogleLandmarks(root)
    return Photos(data.root, "test", data.test["id"].tolist(), open_images(root, "test"))


@file_errors()
def open_gallery(root: str | Path) -> Gallery:
    """Open a folder of landmarks: the train images of a GLDv2 folder, or one with a sub-folder for each landmark.

    In a plain folder the sub-folder's name is the landmark's; where all are whole numbers they are landmark ids.
    Images may lie deeper inside a sub-folder.

    Raises:
        InputError: no image, two folders of the same landmark, or the `index` split of GLDv2, whose landmark ids are
            others than those of train.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: give one with train.csv, or with a sub-folder for each landmark")
    if (root / "train.csv").exists():
        return _gldv2(root)
    if _is_split(root) or any(_is_split(root / name) for name in _SPLITS) or (root / "index.csv").exists():
        index = root.name == "index" or (root / "index").exists() or (root / "index.csv").exists()
        why = "the landmark ids of the index split are others than those of train" if index else "this is a part of it"
        raise InputError(f"{root}: {why}: give the folder that holds train.csv and train/")
    return _plain(root)


def _gldv2(root: Path) -> Gallery:
    data = GoogleLandmarks(root)
    rows, names = data.labelled(), tables.label_names(root)
    ids = data.nonlandmark["id"].tolist()
    others = Photos(root, "nonlandmark", ids, open_images(root, "nonlandmark")) if ids else None
    return Gallery(
        root, "train", rows["id"].tolist(), open_images(root, "train"), landmark=rows["landmark_id"].to_numpy(np.int64),
        landmarks=names["name"].to_dict() if "name" in names else {}, others=others,
    )  # fmt: skip


def _plain(root: Path) -> Gallery:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    beside = [path.name for path in root.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES]
    if beside:
        log.warning("%s: %d images lie in no sub-folder and are left out, such as %s", root, len(beside), beside[0])
    numbered = bool(folders) and all(re.fullmatch("[0-9]{1,18}", folder.name) for folder in folders)
    numbers: dict[str, Path] = {}  # what tells a landmark from another → its folder
    unread: list[Path] = []
    bare: list[Path] = []  # landmarks without an image
    paths: dict[str, Path] = {}
    landmark, landmarks = [], {}
    for count, folder in enumerate(folders):
        key = str(int(folder.name)) if numbered else _folded(folder.name)
        if key in numbers:
            raise InputError(
                f"{root}: {numbers[key].name!r} and {folder.name!r} are two folders of the same landmark: join them"
            )
        numbers[key] = folder
        before = len(paths)
        for path in sorted(folder.rglob("*")):
            if any(part.startswith(".") for part in path.relative_to(root).parts) or not path.is_file():
                continue
            if path.suffix.lower() in SUFFIXES:
                paths[_id_of(path.relative_to(root).as_posix())] = path
                landmark.append(int(key) if numbered else count)
            elif path.suffix.lower() in OTHERS:
                unread.append(path)
        if len(paths) == before:
            bare.append(folder)
        landmarks[int(key) if numbered else count] = folder.name
    if unread:
        log.warning("%s: %d pictures are left out: save them as JPEG, such as %s", root, len(unread), unread[0])
    if not paths:
        raise InputError(
            f"{root}: 0 images in {len(folders)} sub-folders: lay those of each landmark into one of its own"
        )
    if bare:
        log.warning("%s: %d landmarks have no image and are not found, such as %s", root, len(bare), bare[0].name)
    names = {image_id: path.relative_to(root).as_posix() for image_id, path in paths.items()}
    return Gallery(
        root, "photos", list(paths), PhotoFiles(paths), names, np.array(landmark, np.int64), landmarks, numbered
    )


def _is_split(folder: Path) -> bool:
    """Check whether images lie in a folder as in a split of GLDv2: below folders of one letter below such ones."""
    return any(len(path.parent.name) == 1 and path.is_dir() for path in folder.glob("?/?"))


def _folded(name: str) -> str:
    """Strip a name of what people do not tell apart: case, accents' encoding, blanks and underscores.

    >>> _folded("Eiffel_Tower") == _folded("eiffel tower ")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())


def _id_of(path: str) -> str:
    """Make an id like those of GLDv2 from a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
