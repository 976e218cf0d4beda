"""The settings of a training run, checked when they are made."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path

from landmark.models.recipes import recipe
from landmark.utils.errors import InputError

SAVE_EVERY = 120.0  # seconds between saved states of a training


def place_of_weights(weights: str | Path | None) -> str:
    """What names weights from any folder: "imagenet", "miniature" or "none", else the whole path of a file.

    >>> place_of_weights("imagenet"), place_of_weights(None)
    ('imagenet', 'none')
    """
    name = str(weights or "none")
    return name if name in ("imagenet", "miniature", "none") else os.path.realpath(name)


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
        freeze: the first N parameter tensors of the backbone do not train, or all up to the named stage ("all": the
            whole of it). A stage is faster: its BatchNorm statistics rest too, so that what lies before is computed as
            for prediction.
        int8: compute the frozen stages in 8-bit integers, see `frozen.fast_prefix`.
        views: flips and shifts of each image; with 0 every epoch draws new ones. The frozen stages are computed once
            for each view and their maps are kept in the run's folder until it is finished, see `frozen_maps.Views`.
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
        object.__setattr__(self, "weights", place_of_weights(self.weights))

    @classmethod
    def of(cls, settings: dict) -> TrainConfig:
        """From a mapping; InputError names a key that is no setting."""
        unknown = settings.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise InputError(f"no such training setting: {', '.join(sorted(map(str, unknown)))}")
        return cls(**settings)
