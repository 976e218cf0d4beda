"""A training run as a folder: its settings, labels, log, checkpoints and result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import pandas as pd

from landmark.archives import open_images
from landmark.backbones import load_tensors, read_tensors
from landmark.data import LabelMap, LandmarkDataset, eval_transform, make_loader
from landmark.locks import LOCK
from landmark.models import LandmarkNet, create_model
from landmark.recipes import data_config, recipe
from landmark.runtime import InputError, atomic_path, device, fast_dtype

LOG = ("step", "epoch", "seconds", "train_loss", "dev_loss", "dev_gap", "dev_top1", "images_per_second", "lr")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns; the defaults are the paper's.

    Args:
        model: one of `list_models()`.
        size: side of the square input, pixels.
        batch_size: images in a step.
        epochs: passes over the train images; or
        steps: optimizer steps. Exactly one of the two; 6 epochs when both are left out.
        lr: of Adam.
        decay: let lr fall along a half cosine to nothing; the paper keeps it constant.
        freeze: the first N parameter tensors of the backbone do not train, or all up to the named stage. A stage is
            faster: its BatchNorm statistics rest too, so that what lies before is computed as for prediction.
        int8: compute the frozen stages in 8-bit integers, see `inference.fast_prefix`.
        views: flips and shifts of each image; with 0 every epoch draws new ones. The frozen stages are computed once
            for each view and their maps are kept in the run's folder until it is finished, see `views.Views`.
        weights: of the backbone: "imagenet", "miniature", "none" or a file.
        min_images: landmarks with fewer train images are dropped.
        clean: train on the images that train_clean.csv lists, and no others.
        dev_fraction: share of each landmark's images held out.
        seed: of weights, order, augmentation and dropout.
        bad_limit: bad images that fail the run; None for 10 or one in a hundred, whichever is more.

    Raises:
        InputError: a value that cannot be meant.

    >>> TrainConfig(model="resnet50", steps=20).steps
    20
    """

    model: str = "xception"
    size: int = 299
    batch_size: int = 64
    epochs: int | None = None
    steps: int | None = None
    lr: float = 3e-4
    decay: bool = False
    freeze: int | str = 85
    int8: bool = False
    views: int = 0
    weights: str = "imagenet"
    min_images: int = 100
    clean: bool = False
    dev_fraction: float = 0.1
    seed: int = 0
    bad_limit: int | None = None

    def __post_init__(self):
        recipe(self.model)  # InputError for an unknown one
        least = {
            "size": 32,
            "batch_size": 2,
            "epochs": 1,
            "steps": 1,
            "freeze": 0,
            "views": 0,
            "min_images": 1,
            "seed": 0,
            "bad_limit": 0,
        }
        for name, low in least.items():
            value = getattr(self, name)
            if (value is None and name in ("epochs", "steps", "bad_limit")) or (
                name == "freeze" and isinstance(value, str)
            ):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise InputError(f"{name}={value!r}: give a whole number of at least {low}")
        if not (isinstance(self.lr, (int, float)) and math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"lr={self.lr!r}: give a finite number above 0")
        if not (isinstance(self.dev_fraction, (int, float)) and 0 < self.dev_fraction < 1):
            raise InputError(f"dev_fraction={self.dev_fraction!r}: give a share between 0 and 1")
        for name in ("decay", "int8", "clean"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}={getattr(self, name)!r}: give true or false")
        for name in ("int8", "views"):
            if getattr(self, name) and not isinstance(self.freeze, str):
                raise InputError(
                    f"{name} is for stages that do not train, and freeze={self.freeze} names none: try block7"
                )
        if self.epochs is not None and self.steps is not None:
            raise InputError("epochs and steps are both given: choose one")
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", 6)
        object.__setattr__(self, "weights", str(self.weights or "none"))

    @classmethod
    def of(cls, settings: dict) -> TrainConfig:
        """From a mapping; InputError names a key that is no setting."""
        unknown = settings.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise InputError(f"no such training setting: {', '.join(sorted(map(str, unknown)))}")
        return cls(**settings)


def write_json(path: Path, content: dict) -> None:
    """Write a file of a run, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> dict:
    """Read a file of a run; InputError when it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: {path.parent} is not a training run") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}): delete the run's folder and train again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged (not a JSON object): delete the run's folder and train again")
    return content


@dataclass(frozen=True)
class Run:
    """A finished run. `result` holds the best dev scores, the counts, the time and the checkpoint's hash."""

    path: Path
    config: TrainConfig
    labels: LabelMap
    result: dict

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The log: one row for each evaluation of the whole dev set, see `LOG`."""
        return pd.read_csv(self.path / "metrics.csv")

    def model(self, which: str = "best") -> LandmarkNet:
        """The network of a checkpoint ("best" or "last"), in evaluation mode on the best device.

        Raises:
            InputError: no such checkpoint, or one that is damaged.
        """
        path = self.path / f"{which}.safetensors"
        tensors = read_tensors(path, self.result["sha256"] if which == "best" else "")
        model = create_model(self.config.model, len(self.labels))
        load_tensors(model, tensors, path)
        return model.to(device()).eval()

    def basis(self, table: pd.DataFrame, root: str | Path, split: str = "test") -> dict:
        """All that the network's answers to the images of a table depend on: what is kept of them is bound to it."""
        rows = table[[name for name in ("id", "landmark_id") if name in table]].to_csv(index=False)
        return {
            "weights": self.result["sha256"], "model": self.config.model, "size": self.config.size,
            "labels": _sha256(json.dumps(self.labels.landmark_ids)), "rows": _sha256(rows),
            "images": open_images(root, split).fingerprint(table["id"].tolist()),
            "arithmetic": str(fast_dtype(device())),
        }  # fmt: skip

    def loader(self, table: pd.DataFrame, root: str | Path, split: str = "test", *, workers: int | None = None,
               batch_size: int | None = None):  # fmt: skip
        """Batches of a table's images, prepared as this run's network wants them, in the table's order."""
        transform = eval_transform(self.config.size, **data_config(self.config.model))
        labels = self.labels if "landmark_id" in table else None
        dataset = LandmarkDataset(table, root, split, labels, transform)
        return make_loader(dataset, batch_size or self.config.batch_size, workers=workers)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def open_run(path: str | Path) -> Run:
    """Open a finished run.

    Raises:
        InputError: not a run, not finished, or damaged.
    """
    path = Path(path)
    config = saved_config(path)
    if not (path / "result.json").exists():
        raise InputError(f"{path}: this run is not finished: train with the same settings again to go on with it")
    result = read_json(path / "result.json")
    if "sha256" not in result:
        raise InputError(f"{path / 'result.json'}: damaged: delete the folder and train again")
    return Run(path, config, LabelMap.load(path / "labels.json"), result)


def saved_config(path: str | Path) -> TrainConfig:
    """Settings of a run, finished or not; InputError when its config.json is missing or damaged."""
    settings = read_json(Path(path) / "config.json").get("settings")
    if not isinstance(settings, dict):
        raise InputError(f"{path}/config.json: damaged (no settings): delete the folder and train again")
    return TrainConfig.of(settings)


def refuse_other(path: Path, wanted: dict) -> None:
    """Refuse a folder that holds another run, or other things; a new or empty one, or this very run, passes.

    Args:
        path: folder of a run.
        wanted: `settings` of the run and `data`, what tells its data set from another; `bad_limit` may differ, as it
            does not decide what is learnt.

    Raises:
        InputError: lists what differs.
    """
    if (path / "config.json").exists():
        found = read_json(path / "config.json")
        if isinstance(found.get("settings"), dict):  # what an older run could not be told was as by default
            found["settings"] = asdict(TrainConfig()) | found["settings"]
        changed = [
            f"{name}: {found.get(part, {}).get(name)} → {value}"
            for part, values in wanted.items() for name, value in values.items()
            if name != "bad_limit" and found.get(part, {}).get(name) != value
        ]  # fmt: skip
        if changed:
            what = "; ".join(changed)
            raise InputError(f"{path}: holds a run of other settings ({what}): choose another folder or delete it")
    elif path.exists() and (not path.is_dir() or any(entry.name != LOCK for entry in path.iterdir())):
        raise InputError(f"{path}: exists and is not a training run: choose a new folder")


@contextlib.contextmanager
def board_of(path: Path, wanted: bool) -> Iterator[object | None]:
    """A TensorBoard writer into a run's folder when one is wanted; InputError without TensorBoard."""
    if not wanted:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave it out") from None
    with SummaryWriter(path / "tensorboard") as writer:
        yield writer
