"""The settings of a training run, checked when they are made."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from landmark.models.recipes import BINARY, COSINES, FOR_NONE, LOSSES, Switches, check_switches
from landmark.utils.errors import InputError
from landmark.utils.settings import check_settings, documented, setting

EPOCHS = 6  # of a run that is told neither epochs nor steps
WITHOUT = 0.2  # images without a landmark beside each with one, for a loss that learns from them: as in the 2018 entry
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
    head: str | None = setting(
        None, "what makes logits of a pooled vector: mlp, mlp_plain (without its LayerNorm), neck, or cosine and "
        "subcenter, which margin losses ask for; that of the loss when left out",
    )  # fmt: skip
    root: bool | None = setting(
        None, "signed square root of a bilinear vector; with it if the pooling is of a map, when left out"
    )
    l2: bool | None = setting(None, "norm one of a bilinear vector; as root when left out")
    temperature: float = setting(1.0, "of the softmax of spatial attention; the larger, the more even", above=0)
    gamma: float = setting(0.0, "of self-attention before it learns; at 0 the layer is switched off")
    shuffle: int = setting(
        0, "seed of the order that a vector's numbers are put into before they are laid out as a map; 0: their own",
        least=0,
    )  # fmt: skip
    loss: str = setting(
        "cross_entropy", "cross_entropy, arcface, subcenter_arcface or cosface; or of those that learn from images "
        "without a landmark: uniform, bce, bce_ranked",
    )  # fmt: skip
    label_smoothing: float = setting(0.0, "share of a target that is spread over all classes", least=0, below=1)
    nonlandmarks: float | None = setting(
        None, "images of nonlandmark/ that join the train images, at most so many for each of these; "
        f"{WITHOUT} for a loss that learns from them, when left out", least=0,
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
        if self.loss not in LOSSES:
            raise InputError(f"no loss {self.loss!r}: choose one of {', '.join(LOSSES)}")
        check_switches(self.model, **self.network)  # InputError for an unknown model, too
        if LOSSES[self.loss] in COSINES and self.network["head"] not in COSINES:
            raise InputError(f"loss={self.loss} is of cosines, which head={self.head} does not give: choose one of "
                             f"{', '.join(COSINES)}, or leave the head out")  # fmt: skip
        if self.label_smoothing and self.loss in BINARY:
            raise InputError(f"label_smoothing={self.label_smoothing} is for a softmax: loss={self.loss} has none")
        if self.nonlandmarks and self.loss not in FOR_NONE:
            raise InputError(f"loss={self.loss} cannot learn from images without a landmark, which nonlandmarks="
                             f"{self.nonlandmarks} asks for: choose one of {', '.join(FOR_NONE)}")  # fmt: skip
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
    def network(self) -> dict[str, Any]:
        """The switches of `create_model`."""
        head = LOSSES[self.loss] if self.head is None else self.head
        return {"head": head} | {switch.name: getattr(self, switch.name) for switch in fields(Switches)}

    @property
    def without(self) -> float:
        """Images without a landmark that are learnt from, at most, for each train image."""
        if self.nonlandmarks is None:
            return WITHOUT if self.loss in FOR_NONE else 0.0
        return self.nonlandmarks

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
