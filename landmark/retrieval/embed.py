"""Vectors of images by a network, stored on disk so that only new images are embedded."""

from __future__ import annotations

import hashlib
import json
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from landmark.data.archives import open_images
from landmark.data.dataset import LandmarkDataset, eval_transform, whole_transform
from landmark.data.loader import make_loader
from landmark.models.folding import Folded, fast_model
from landmark.models.int8 import arithmetic
from landmark.models.net import LandmarkNet, create_model
from landmark.models.recipes import BACKBONES, backbone_of, is_foundation
from landmark.retrieval.foundation import FoundationNet
from landmark.retrieval.gallery import PhotoFiles
from landmark.utils.device import autocast, device
from landmark.utils.errors import InputError
from landmark.utils.files import CacheFile

PIECE = 4096  # images in a file, which is there whole or not at all
SCALES = (1.0, 2**0.5, 2.0)  # of a search, see `search_embedder`


class Embedder:
    """Turn images into vectors of length 1: the mean of the unit embeddings of an image's views.

    Attributes: `size` of the images that it takes, `name` of the network, `original`: the network as it was given,
    `network`: what its vectors depend on, as a hash; those of two embedders can be compared where it is the same.

    Args:
        model: any network of `create_model`, trained or not, left as it is; its embeddings are taken in front of its
            head. Or a `FoundationNet`.
        size: pixels, as the network was trained.
        scales: of the views, as shares of `size`.
        flip: look at the mirror image of each view as well.
        whole: look at whole pictures, whose shorter side has `size`: the map of each view is pooled twice, in the
            squares at the two ends of its longer side. Else at a picture's centred square.

    Raises:
        InputError: no scale, or a view of less than 32 pixels; a network that is the fast copy of another; other views
            of a `FoundationNet` than squares of its own size.

    Source: scales as in Radenović, Tolias & Chum, "Fine-tuning CNN image retrieval with no human annotation", 2018,
    section 3.6.
    """

    def __init__(
        self, model: LandmarkNet | FoundationNet, size: int, *, scales: Sequence[float] = (1.0,), flip: bool = False,
        whole: bool = False,
    ):  # fmt: skip
        self.sizes = [round(size * scale) for scale in scales]
        if not self.sizes or min(self.sizes) < 32:
            raise InputError(f"scales {list(scales)} of {size} pixels: give some, and none below {32 / size:.2f}")
        self.size, self.flip, self.whole = max(self.sizes), flip, whole
        self.name, self.data_config = model.name, model.data_config
        self.device = next(model.parameters()).device
        tensors = {key: value for key, value in model.state_dict().items() if not key.startswith("head.")}
        if isinstance(model, FoundationNet):
            if whole or self.sizes != [model.size]:
                raise InputError(f"{model.name} looks at squares of {model.size} pixels only: leave out scales, whole")
        elif isinstance(model.backbone, Folded):
            raise InputError(f"{model.name}: give the network itself: its fast copy does not tell its weights")
        digest = hashlib.sha256(json.dumps([model.name, self.sizes, flip, whole, arithmetic(self.device)]).encode())
        for key, value in tensors.items():
            digest.update(f"{key} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
        self.network = digest.hexdigest()
        self.original, self.model = model, fast_model(model) if isinstance(model, LandmarkNet) else model

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W), normalised, with a shorter side of `size`: unit vectors (B, D) on the CPU."""
        images = images.to(self.device)
        views = []
        for size in self.sizes:
            view = images if size == min(images.shape[2:]) else _resized(images, size)
            for shown in (view, view.flip(3)) if self.flip else (view,):
                with autocast(self.device):
                    maps = self.model.forward_features(shown)
                    parts = _parts(maps) if self.whole else [maps]
                    vectors = [self.model.forward_head(part, pre_logits=True) for part in parts]
                views.append(_mean(vectors))
        return _mean(views).cpu()


def _mean(vectors: list[Tensor]) -> Tensor:
    """Average the directions of vectors (B, D): unit vectors in float32."""
    return F.normalize(torch.stack([F.normalize(vector.float(), dim=1) for vector in vectors]).sum(0), dim=1)


def _resized(images: Tensor, size: int) -> Tensor:
    """Resize images (B, 3, H, W) to a shorter side of `size`."""
    short = min(images.shape[2:])
    shape = [round(size * side / short) for side in images.shape[2:]]
    return F.interpolate(images, shape, mode="bicubic", antialias=True, align_corners=False)


def _parts(maps: Tensor) -> list[Tensor]:
    """Cut maps (B, C, H, W) into the squares at both ends, which cover 2 : 1; a square is its own one part."""
    height, width = maps.shape[2:]
    side = min(height, width)
    return [maps] if height == width else [maps[..., :side, :side], maps[..., height - side :, width - side :]]


def create_embedder(
    name: str, weights: str | Path = "imagenet", *, scales: Sequence[float] = (1.0,), flip: bool = False,
    whole: bool = False,
) -> Embedder:  # fmt: skip
    """Make an embedder of a network by name, at the size that its weights were trained at.

    Args:
        name: one of `list_models()`, else a `FoundationNet`'s.
        weights: of the backbone, see `weights.load_weights`; a `FoundationNet` has its own for "imagenet".
        scales, flip, whole: see `Embedder`.

    >>> create_embedder("efficientnet_lite0", "none")(torch.zeros(2, 3, 224, 224)).shape
    torch.Size([2, 1280])
    """
    if is_foundation(name):
        network = FoundationNet(name, None if weights == "imagenet" else weights).to(device())
        return Embedder(network, network.size, scales=scales, flip=flip, whole=whole)
    size = BACKBONES[backbone_of(name)]["size"]
    return Embedder(create_model(name, 0, weights=weights).to(device()), size, scales=scales, flip=flip, whole=whole)


def search_embedder(name: str) -> Embedder:
    """Make the embedder of `landmark search`, of a network that was trained on something else than landmarks.

    It looks at whole pictures in three sizes, `SCALES`; a backbone's name alone means pooling by the generalised mean
    with its exponent of 3. All this was chosen on the dev worlds of `SearchConfig`, with its defaults: open GAP is .801
    without local features, .822 with SIFT and .842 with XFeat. By the mean of the centred square at the size of
    training it is .758, .769 and .812, by the generalised mean of the square in three sizes .787, .802 and .826.

    Args:
        name: one of `list_models()`, with ImageNet's weights; a `FoundationNet` looks at squares of its own size.

    >>> search_embedder("efficientnet_lite0").sizes
    [224, 317, 448]

    Source: Radenović, Tolias & Chum, "Fine-tuning CNN image retrieval with no human annotation", 2018, sections 3.2
    and 3.6; two squares that cover a picture are the coarsest regions of Tolias, Sicre & Jégou, "Particular object
    retrieval with integral max-pooling of CNN activations", 2016, section 4.
    """
    if is_foundation(name):
        return create_embedder(name)
    return create_embedder(f"{name}_gem" if name in BACKBONES else name, scales=SCALES, whole=True)


@dataclass(frozen=True)
class Embeddings:
    """Vectors of images, a row for each that could be read."""

    ids: list[str]
    vectors: np.ndarray  # (N, D) float32, of length 1
    bad: dict[str, str]  # id → why an image could not be read
    network: str  # see `Embedder`


def embed_images(
    embedder: Embedder, ids: Sequence[str], root: str | Path, split: str = "train", *, batch_size: int = 32,
    images: PhotoFiles | None = None, workers: int | None = None, keep: bool = True, progress: bool = True,
) -> Embeddings:  # fmt: skip
    """Embed images of a folder; those that were embedded before are read from its cache.

    What is stored is bound to the network and to the file or TAR that an image lies in, piece by piece, so that a pass
    that was stopped goes on. Any number of processes may do so at once: each writes files of its own.

    Args:
        embedder: of `create_embedder`, or of a trained network.
        ids: of the images; the vectors come in this order.
        root: GLDv2 folder, or another one with `images`.
        split: "train", "test", "nonlandmark" or "index"; what the cache calls them.
        batch_size: images at a time.
        images: what reads them, where they do not lie as in GLDv2.
        workers: processes that decode, see `make_loader`.
        keep: read and write the cache.
        progress: show a bar.

    Raises:
        InputError: no image can be read, an id is given twice, or the network gives numbers that are not finite.
    """
    ids = list(ids)
    twice = pd.Index(ids).duplicated()
    if twice.any():
        raise InputError(f"image {ids[twice.argmax()]} is given twice: name each image once")
    store = images or open_images(root, split)
    stamps = {image_id: store.fingerprint([image_id])[:32] for image_id in ids}
    rows = _cached(root, split, embedder.network, stamps) if keep else {}
    bad: dict[str, str] = {}
    missing = [image_id for image_id in ids if image_id not in rows]
    if missing:
        transform = whole_transform if embedder.whole else eval_transform
        prepare, augment = transform(embedder.size, **embedder.data_config)
        dataset = LandmarkDataset(pd.DataFrame({"id": missing}), root, split, None, prepare, augment, images=store)
        fresh: dict[str, np.ndarray] = {}
        bar = tqdm(total=len(missing), desc=f"embed {split}", unit="image", disable=not progress)
        with bar:
            # Whole pictures differ in shape: each is a batch of its own
            for batch in make_loader(dataset, 1 if embedder.whole else batch_size, workers=workers):
                bad |= {item.image_id: item.reason for item in batch.bad}
                if batch.ids:
                    fresh |= zip(batch.ids, _finite(embedder(batch.images).numpy(), batch.ids), strict=True)
                bar.update(len(batch.ids) + len(batch.bad))
                if len(fresh) >= PIECE:
                    rows |= _store(root, split, embedder.network, stamps, fresh, keep)
                    fresh = {}
        rows |= _store(root, split, embedder.network, stamps, fresh, keep)
    there = [image_id for image_id in ids if image_id in rows]
    if not there:
        files = images.paths if images else {}
        first = "; ".join(f"{files.get(image_id, image_id)}: {reason}" for image_id, reason in list(bad.items())[:3])
        place = "" if images else f"{root}/{split}: "
        raise InputError(f"{place}none of {len(ids)} images can be read{': ' if first else ''}{first}")
    return Embeddings(there, np.stack([rows[image_id] for image_id in there]), bad, embedder.network)


def _finite(vectors: np.ndarray, ids: list[str]) -> np.ndarray:
    wrong = [image_id for image_id, row in zip(ids, vectors, strict=True) if not np.isfinite(row).all()]
    if wrong:
        raise InputError(f"image {wrong[0]}: its embedding is not finite: check the weights")
    return vectors


def _piece(root: str | Path, split: str, network: str, name: str) -> CacheFile:
    return CacheFile(root, f"embeddings/{network[:32]}/{split}-{name}.npz")


def _store(
    root: str | Path, split: str, network: str, stamps: dict[str, str], fresh: dict[str, np.ndarray], keep: bool
) -> dict[str, np.ndarray]:
    """Write rows into a file of the cache, if there is a place for it, and give them back."""
    if keep and fresh:
        ids, vectors = np.array(list(fresh), "S"), np.stack(list(fresh.values()))
        bound = np.array([stamps[image_id] for image_id in fresh], "S")

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, ids=ids, stamps=bound, vectors=vectors)

        _piece(root, split, network, uuid.uuid4().hex).save(write)
    return fresh


def _cached(root: str | Path, split: str, network: str, stamps: dict[str, str]) -> dict[str, np.ndarray]:
    """Read from the cache the vectors of images whose files are as they were; a damaged file of it counts as none."""
    rows: dict[str, np.ndarray] = {}
    any_piece = _piece(root, split, network, "x")
    for folder in (any_piece.own.parent, any_piece.beside.parent):
        for path in sorted(folder.glob(f"{split}-*.npz")):
            try:
                with np.load(path, allow_pickle=False) as stored:
                    ids, bound, vectors = (stored[name] for name in ("ids", "stamps", "vectors"))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue
            for image_id, stamp, row in zip(ids.astype(str).tolist(), bound.astype(str).tolist(), vectors, strict=True):
                if stamps.get(image_id) == stamp:
                    rows[image_id] = row
    return rows
