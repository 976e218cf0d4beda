"""Labels and turns that a trained network doubts: what to look at first in a data set."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torch import Tensor
from tqdm.auto import tqdm

from landmark.data.dataset import Batch, LandmarkDataset, eval_transform
from landmark.data.loader import make_loader
from landmark.evaluation.neighbours import find_nearest, unit
from landmark.models.folding import fast_model
from landmark.models.net import LandmarkNet
from landmark.utils.device import autocast, float32_by_default
from landmark.utils.errors import InputError

NEIGHBOURS = 60
SHARE = 0.975  # of neighbours with another label, from which on a label is suspected
TURN = 2.5  # gain from which on a picture is suspected to lie on its side
_FOLDS = 5


def neighbours_far_off(embedding: np.ndarray, label: Sequence[int], k: int = 5) -> np.ndarray:
    """Compute the suspicion (N,) that a label is wrong: the share of k nearest neighbours (cosine) with another label.

    Args:
        embedding: (N, D).
        label: N whole numbers.
        k: neighbours, from 1 to N − 1.

    >>> x = np.array([[1.0, 0], [1, 0.1], [1, 0.2], [0, 1]])
    >>> neighbours_far_off(x, [1, 1, 2, 2], k=2).tolist()
    [0.5, 0.5, 1.0, 0.5]
    """
    labels, vectors = np.asarray(label), unit(embedding)
    if not 1 <= k < len(vectors):
        raise InputError(f"k={k} neighbours among {len(vectors)} images: give a number from 1 to {len(vectors) - 1}")
    others = find_nearest(vectors, vectors, k, own=np.arange(len(vectors))).rows
    return (labels[others] != labels[:, None]).mean(1)


@float32_by_default()
def turn_gains(embeddings: np.ndarray, ridge: float = 0.001) -> np.ndarray:
    """Compute how much better each image would fit the others' uprights if it were turned.

    Most pictures are upright, so the data teach what upright is: a linear map W from embeddings to the four turns,
    W = argmin Σ ‖xW − t‖² + λ‖W‖², learnt on four fifths of the images and asked about the last fifth. The gain of
    a turn is the summed answer over the four embeddings if the image lay that way, less that for upright.

    Args:
        embeddings: (4, N, D), of each image turned counter-clockwise by 0, 90, 180 and 270 degrees.
        ridge: λ, in mean squares of an embedding's numbers.

    Returns:
        (N, 4) gains; the first column is 0. Column q: the image is upright once it is turned by q · 90 degrees,
        counter-clockwise.
    """
    count, width = embeddings.shape[1:]
    if count < _FOLDS:
        raise InputError(f"{count} images are too few to learn what upright is: give {_FOLDS} or more")

    def rows(places: Tensor) -> Tensor:
        return torch.nn.functional.normalize(torch.as_tensor(embeddings)[:, places].float(), dim=2)  # (4, n, D)

    folds = [torch.arange(part, count, _FOLDS) for part in range(_FOLDS)]
    target = torch.eye(4) - 0.25
    squares, products = torch.zeros(_FOLDS, width, width), torch.zeros(_FOLDS, width, 4)
    for part, fold in enumerate(folds):
        for places in fold.split(2048):
            x = rows(places)
            squares[part] += x.flatten(0, 1).T @ x.flatten(0, 1)
            products[part] += x.sum(1).T @ target
    square, product = squares.sum(0), products.sum(0)
    weight = (ridge * square.trace() / width + 1e-9) * torch.eye(width)
    answer = torch.empty(4, count, 4)
    for part, fold in enumerate(folds):
        solved = torch.linalg.solve(square - squares[part] + weight, product - products[part])  # (D, 4)
        for places in fold.split(2048):
            answer[:, places] = rows(places) @ solved
    # Turned by q to be upright, it is upright in embedding q, and embedding p shows it turned by p − q
    nothing = torch.zeros(count)
    fit = torch.stack([sum((answer[p, :, (p - q) % 4] for p in range(4)), nothing) for q in range(4)], 1)  # (N, 4)
    return (fit - fit[:, :1]).numpy()


@torch.inference_mode()
def embed_turned(model: LandmarkNet, loader: Iterable[Batch], progress: bool = True) -> tuple[list[str], np.ndarray]:
    """Embed square images turned by 0, 90, 180 and 270 degrees: ids, and (4, N, D) in half precision.

    Args:
        model: any network, in whatever mode; it is left in evaluation mode.
        loader: batches of `loader.make_loader`.
        progress: show a bar.
    """
    where, ids, rows = next(model.parameters()).device, [], []
    model.eval()
    fast = fast_model(model)
    for batch in tqdm(loader, desc="embed", unit="batch", disable=not progress):
        if not batch.ids:
            continue
        images = batch.images.to(where, memory_format=torch.channels_last)
        with autocast(where):
            turned = [_embedding(fast, images.rot90(q, (2, 3))) for q in range(4)]
        rows.append(torch.stack(turned).half().cpu())
        ids.extend(batch.ids)
    if not ids:
        raise InputError("0 images that can be read: nothing to embed")
    return ids, torch.cat(rows, 1).numpy()


def _embedding(model: LandmarkNet, images: Tensor) -> Tensor:
    embedding = model.forward_head(model.forward_features(images), pre_logits=True).float()
    return torch.nn.functional.normalize(embedding, dim=1)  # half precision holds no large numbers


def find_suspects(
    model: LandmarkNet, table: pd.DataFrame, root: str | Path, *, size: int, split: str = "train", batch_size: int = 32,
    workers: int | None = None, progress: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Find suspected wrong labels and turns among the images of a table, by the embeddings of a network.

    A label is suspected when at least `SHARE` of the image's neighbours carry another one (60 neighbours, in a small
    set one for every sixteen images); a turn when its gain is `TURN` or more. Both limits give the best F1 on two
    miniature worlds of other seeds and other landmarks than the course's, with a network that had seen neither.

    Args:
        model: any `LandmarkNet`; its labels need not be those of the table.
        table: rows with id and landmark_id; landmarks of one or two images have no neighbours and are always doubted.
        root: GLDv2 folder.
        size: pixels, as the network was trained.
        split: "train", "test" or "index".
        batch_size: images at a time.
        workers: processes that decode.
        progress: show a bar.

    Returns:
        A row for each readable image: id, landmark_id, suspicion (share of neighbours), turn (degrees
        counter-clockwise that would make it upright), gain, wrong_label (bool), rotated (bool).
    """
    dataset = LandmarkDataset(table, root, split, None, *eval_transform(size, **model.data_config))
    ids, embeddings = embed_turned(model, make_loader(dataset, batch_size, workers=workers), progress)
    suspects = table.set_index("id").loc[ids, ["landmark_id"]].reset_index()
    k = min(NEIGHBOURS, max(len(ids) // 16, 5), len(ids) - 1)
    gains = turn_gains(embeddings)
    suspects["suspicion"] = neighbours_far_off(embeddings[0], suspects["landmark_id"], k)
    suspects["turn"], suspects["gain"] = gains.argmax(1) * 90, gains.max(1)
    return suspects.assign(wrong_label=suspects["suspicion"] >= SHARE, rotated=suspects["gain"] >= TURN)


def detector_scores(flagged: Mapping[str, Collection[str]], planted: pd.DataFrame) -> pd.DataFrame:
    """Compute precision and recall of detectors against the faults that were planted.

    Args:
        flagged: ids by detector, named like the faults.
        planted: columns id, fault; a miniature world's planted.csv.

    Returns:
        A row for each detector: planted, found, precision and recall with the ends of their 95 % intervals (Wilson);
        NaN where nothing was found or planted.

    >>> planted = pd.DataFrame({"id": ["a", "b"], "fault": ["grey", "grey"]})
    >>> detector_scores({"grey": ["a", "c"]}, planted).loc["grey"].round(2).tolist()
    [2.0, 2.0, 0.5, 0.09, 0.91, 0.5, 0.09, 0.91]
    """
    rows = {}
    for name, ids in flagged.items():
        true, alarms = set(planted.loc[planted["fault"] == name, "id"]), set(ids)
        hits = len(true & alarms)
        rows[name] = len(true), len(alarms), *_share(hits, len(alarms)), *_share(hits, len(true))
    shares = [f"{share}{end}" for share in ("precision", "recall") for end in ("", "_low", "_high")]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["planted", "found", *shares])


def _share(hits: int, of: int) -> tuple[float, float, float]:
    """Compute a share and the ends of Wilson's 95 % interval."""
    return (hits / of, *binomtest(hits, of).proportion_ci(method="wilson")) if of else (np.nan, np.nan, np.nan)
