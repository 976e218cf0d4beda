"""A submission written while predicting: constant memory, several ranks, and it goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from landmark.data.dataset import LandmarkDataset
from landmark.data.folder import LabelMap
from landmark.data.loader import Quarantine, check_coverage, choose_bad_limit, load_batches
from landmark.evaluation.confidence import DEFAULT, named_rule
from landmark.evaluation.prediction import joined, predictions
from landmark.evaluation.submission import write_submission
from landmark.models.folding import SAMPLE, fast_model
from landmark.models.int8 import arithmetic
from landmark.models.net import LandmarkNet
from landmark.utils import distributed
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path, claimed, resolve_file, write_json
from landmark.utils.locks import lock_of

ROWS = 2048  # of the dataset in one part


def write_predictions(
    model: nn.Module, dataset: LandmarkDataset, labels: LabelMap, out: str | Path, *, score: str = DEFAULT,
    batch_size: int = 32, bad_limit: int | None = None, workers: int | None = None, progress: bool = True,
    int8: bool = False,
) -> dict:  # fmt: skip
    """Write one row for each image of a dataset, in its order; one that is missing or unreadable has an empty cell.

    Parts of 2,048 rows are written beside `out` as they are ready and joined at the end. Started again after a stop,
    it goes on with the parts of the same network, images and rule. Each process of `torchrun` predicts its share.

    Args:
        model: images (B, 3, S, S) → logits (B, K), on its device.
        dataset: the images, prepared as the network wants them; loose or in TARs.
        labels: landmark_id of the K classes.
        out: the submission.
        score: name of a rule, see `confidence.RULES`.
        batch_size: images at a time.
        bad_limit: missing or unreadable images that fail it; None for 10 or one in a hundred, whichever is more.
        workers: processes that decode images, see `make_loader`.
        progress: show a bar.
        int8: compute in 8-bit integers, see `folding.fast_model`; their ranges are measured on the first images of
            the dataset, whichever rows are left to predict.

    Returns:
        `rows` and `predictions` counted, and `bad`: image id → reason; empty on all ranks but the first.

    Raises:
        InputError: no such rule, too many bad images, another process that writes `out`, or `int8` on a machine or
            of a network that lacks it; `out` is then as it was.
        WriteError: `out` cannot be written, which is checked before the work, or the disk is full by now.
    """
    out, ids = resolve_file(out), dataset.ids.astype(str).tolist()
    named_rule(score)
    if int8 and not isinstance(model, LandmarkNet):
        raise InputError(f"{type(model).__name__} has no form in 8-bit integers: a LandmarkNet has one")
    limit = choose_bad_limit(bad_limit, len(ids))
    parts = out.parent / f".{out.name}.parts"
    busy = f"{out}: another process is writing it: wait for it or choose another --out"
    numbers = range(-(-len(ids) // ROWS))
    with distributed.group(), distributed.first_alone(lock_of(out), busy):
        check_coverage(pd.DataFrame({"id": ids}), dataset.root, dataset.split, limit)
        if distributed.rank() == 0:
            where = next(model.parameters()).device
            _claim(parts, {
                "network": _digest_of(model), "labels": _digest(labels.landmark_ids), "rows": _digest(ids),
                "images": dataset.images.fingerprint(ids), "pixels": _nameless(*_pixels(dataset)),
                "score": score, "batch_size": batch_size, "parts": ROWS, "int8": int8,
                "arithmetic": arithmetic(where, int8),
            })  # fmt: skip
        distributed.gather(None)  # nobody writes before the folder is there
        mine = [k for k in numbers if k % distributed.size() == distributed.rank() and not _part(parts, k).exists()]
        if mine:
            if int8 and isinstance(model, LandmarkNet):
                model = fast_model(model, _sample(dataset))
            bar = tqdm(total=sum(len(_rows(k, ids)) for k in mine), unit="img", desc="predict",
                       disable=not progress or distributed.rank() > 0)  # fmt: skip
            with bar:
                _predict(model, dataset, labels, parts, mine, score, batch_size, workers, Quarantine(limit), bar)
        distributed.gather(None)  # nobody joins before all parts are there
        return _join(parts, len(numbers), out, limit) if distributed.rank() == 0 else {}


def _part(parts: Path, number: int) -> Path:
    return parts / f"{number:06}.json"


def _rows(number: int, ids: list[str]) -> range:
    """List the rows of a part."""
    return range(number * ROWS, min((number + 1) * ROWS, len(ids)))


def _claim(parts: Path, plan: dict) -> None:
    """Keep the parts that were made by this very plan, drop those of any other."""
    if not claimed(parts / "plan.json", plan):
        shutil.rmtree(parts, ignore_errors=True)
        write_json(parts / "plan.json", plan)


def _digest(items: list) -> str:
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def _digest_of(model: nn.Module) -> str:
    """Hash a network: its layers, and every tensor that they hold, whatever they hold it as."""
    digest = hashlib.sha256(_nameless(type(model), model).encode())
    for name, module in model.named_modules():
        held = vars(module) | module._parameters | module._buffers
        for key in sorted(held):
            if isinstance(held[key], Tensor):
                tensor = held[key].detach().cpu()
                tensor = (tensor.to_dense() if tensor.is_mkldnn else tensor).contiguous()
                digest.update(f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _nameless(*things: object) -> str:
    """Describe things as `repr` does, without the address in memory that it shows of some."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(things))


def _pixels(dataset: LandmarkDataset) -> Iterator[object]:
    """Name what decides the pixels of a dataset's images: its transforms, and what these hold without showing it."""
    for transform in (dataset.prepare, dataset.augment):
        yield transform
        yield getattr(transform, "__dict__", None)


def _sample(dataset: LandmarkDataset) -> Tensor:
    """Load the first images of a dataset."""
    (batch,) = load_batches(dataset, [[(0, row) for row in range(min(SAMPLE, len(dataset)))]], 0)
    return batch.images


def _predict(
    model: nn.Module, dataset: LandmarkDataset, labels: LabelMap, parts: Path, numbers: list[int], score: str,
    batch_size: int, workers: int | None, quarantine: Quarantine, bar: tqdm,
) -> None:  # fmt: skip
    """Predict the rows of some parts, with one loader for all of them; no batch is of two parts."""
    ids = dataset.ids.astype(str).tolist()
    batches = [[(0, row) for row in _rows(k, ids)[start : start + batch_size]]
               for k in numbers for start in range(0, len(_rows(k, ids)), batch_size)]  # fmt: skip
    answered, queue, done = [], iter(numbers), 0
    for some in predictions(model, load_batches(dataset, batches, workers)):
        quarantine.add(some.bad)
        answered.append(some)
        bar.update(len(batches[done]))
        done += 1
        if done == len(batches) or batches[done][0][1] // ROWS > batches[done - 1][0][1] // ROWS:  # the part is whole
            part = joined(answered)
            answers, number = part.mapping(labels, score), next(queue)
            content = {"rows": [[ids[row], *answers.get(ids[row], (None, None))] for row in _rows(number, ids)],
                       "bad": {item.image_id: item.reason for item in part.bad}}  # fmt: skip
            with atomic_path(_part(parts, number)) as path:
                path.write_text(json.dumps(content))
            answered = []


def _join(parts: Path, count: int, out: Path, limit: int) -> dict:
    """Join all parts into one submission."""
    rows: list[list] = []
    bad: dict[str, str] = {}
    for number in range(count):
        try:
            content = json.loads(_part(parts, number).read_text())
        except ValueError as error:
            raise InputError(f"{_part(parts, number)}: damaged ({error}): delete it and predict again") from None
        rows += content["rows"]
        bad |= content["bad"]
    quarantine = Quarantine(limit)
    quarantine.reasons.update(bad)
    quarantine.add([])
    write_submission(out, *([row[column] for row in rows] for column in range(3)))
    shutil.rmtree(parts)
    return {"rows": len(rows), "predictions": len(rows) - len(bad), "bad": bad}
