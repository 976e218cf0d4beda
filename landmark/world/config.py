"""The settings of a miniature world, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from landmark.utils.errors import InputError


@dataclass(frozen=True)
class WorldConfig:
    """What a world is made of; equal settings give equal pixels.

    Args:
        landmarks: of the label set, those that the min-images filter keeps.
        images: train images of each of them, on average; the tail and the planted faults come on top.
        test: test images in all.
        size: longer side of every image, pixels.
        seed: of everything.
        pretraining: a world of other landmarks, disjoint from every world without it, to train backbones on.
        known, unknown: shares of the test images that show a landmark of the label set, or one outside it; the rest
            are distractors.
        siblings: landmarks in a family, on average.
        nonlandmarks: images that show no landmark, for training and calibration, none of them a test image; three for
            every ten test images when left out.
    """

    landmarks: int = 16
    images: int = 60
    test: int = 1000
    size: int = 160
    seed: int = 0
    pretraining: bool = False
    known: float = 0.3
    unknown: float = 0.1
    siblings: int = 2
    nonlandmarks: int | None = None

    def __post_init__(self) -> None:
        bounds = {"landmarks": (1, 20_000), "images": (2, 2_000), "test": (0, 500_000), "size": (32, 2048),
                  "seed": (0, 2**31), "siblings": (1, 50), "nonlandmarks": (0, 500_000)}  # fmt: skip
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value is None and name == "nonlandmarks":
                continue
            if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
                raise InputError(f"{name}={value!r}: give a whole number from {low} to {high}")
            object.__setattr__(self, name, int(value))  # NumPy's have no place in JSON
        for name in ("known", "unknown"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)!r}: give a share between 0 and 1")
        if self.known + self.unknown > 1 + 1e-9:
            raise InputError(f"known={self.known} and unknown={self.unknown} are more than all test images together")

    @property
    def min_images(self) -> int:
        """The filter that keeps the label set and drops the tail.

        >>> WorldConfig(images=40).min_images
        13
        """
        return max(2, self.images // 3)

    @property
    def nonlandmark_images(self) -> int:
        """How many images show no landmark, beside train and test.

        >>> WorldConfig(test=200).nonlandmark_images, WorldConfig(nonlandmarks=7).nonlandmark_images
        (60, 7)
        """
        return round(0.3 * self.test) if self.nonlandmarks is None else self.nonlandmarks
