"""The settings of a training run, checked when they are made."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

from landmark.models.recipes import recipe
from landmark.utils.errors import InputError
from landmark.utils.settings import check_settings, documented, setting

EPOCHS = 6  # of a run that is told neither epochs nor steps
SAVE_EVERY = 120.0  # seconds between saved states of a training


def place_of_weights(weights: str | Path | None) -> str:
    """What names weights from any folder: "imagenet", "miniature" or "none", else the whole path of a file.

    >>> place_of_weights("imagenet"), place_of_weights(None)
    ('imagenet', 'none')
    """
    name = str(weights or "none")
    return name if name in ("imagenet", "miniature", "none") else os.path.realpath(name)


@documented
@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns; the defaults are the paper's.

    {settings}

    Raises:
        InputError: a value that cannot be meant.

    >>> TrainConfig(model="resnet50", steps=20).steps
    20
    """

    model: str = setting("xception", "one of those that `landmark models` lists")
    size: int = setting(299, "side of the square input, pixels", least=32)
    batch_size: int = setting(64, "images in a step, of each process", least=2)
    epochs: int | None = setting(None, f"passes over the train images, {EPOCHS} without steps", least=1)
    steps: int | None = setting(None, "optimizer steps, in place of epochs", least=1)
    lr: float = setting(3e-4, "learning rate of Adam", above=0)
    warmup: int = setting(0, "optimizer steps in which lr rises from nothing; the paper has none", least=0)
    decay: bool = setting(False, "let lr fall along a half cosine to nothing; the paper keeps it constant")
    freeze: int | str = setting(
        85, "the first N parameter tensors of the backbone do not train, or all up to a stage such as block7 (all: the "
        "whole of it), which is faster: BatchNorm statistics rest too, so that what lies before is computed as for "
        "prediction", least=0,
    )  # fmt: skip
    int8: bool = setting(False, "8-bit integers in the frozen stages, such as --freeze block7: faster on an x86 CPU")
    views: int = setting(
        0, "flips and shifts of each image; what frozen stages make of them, and of dev and test images, is computed "
        "once for all runs and kept, see `landmark cache`; 0: new ones in every epoch, nothing kept", least=0,
    )  # fmt: skip
    weights: str = setting("imagenet", "of the backbone: imagenet, miniature, none, or a file")
    min_images: int = setting(100, "drop landmarks with fewer train images", least=1)
    clean: bool = setting(False, "only images of train_clean.csv")
    dev_fraction: float = setting(0.1, "share of each landmark's images held out", above=0, below=1)
    seed: int = setting(
        0, "of weights, order, split and dropout; flips and shifts follow from an image's id and the epoch", least=0
    )
    bad_limit: int | None = setting(
        None, "bad images that fail the run; 10 or 1 %, whichever is more, when left out", least=0
    )

    def __post_init__(self) -> None:
        check_settings(self)
        recipe(self.model)  # InputError for an unknown one
        for name in ("int8", "views"):
            if getattr(self, name) and not isinstance(self.freeze, str):
                raise InputError(
                    f"{name} is for stages that do not train, and freeze={self.freeze} names none: try block7"
                )
        if self.epochs is not None and self.steps is not None:
            raise InputError("epochs and steps are both given: choose one")
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", EPOCHS)
        object.__setattr__(self, "weights", place_of_weights(self.weights))

    @property
    def stage(self) -> str | None:
        """The last frozen stage; None where single tensors are frozen."""
        return self.freeze if isinstance(self.freeze, str) else None

    @classmethod
    def of(cls, settings: dict) -> TrainConfig:
        """From a mapping; InputError names a key that is no setting."""
        unknown = settings.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise InputError(f"no such training setting: {', '.join(sorted(map(str, unknown)))}")
        return cls(**settings)
