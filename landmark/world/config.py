"""The settings of a miniature world, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from landmark.utils.errors import InputError
from landmark.utils.settings import check_settings, documented, setting


@documented
@dataclass(frozen=True)
class WorldConfig:
    """What a world is made of; equal settings give equal pixels. What known and unknown leave are distractors.

    {settings}

    Raises:
        InputError: a value that cannot be meant.
    """

    landmarks: int = setting(16, "in the label set, those that the min-images filter keeps", least=1, most=20_000)
    images: int = setting(
        60, "train images of each of them, on average; the tail and the planted faults come on top", least=2, most=2_000
    )
    test: int = setting(1000, "test images in all", least=0, most=500_000)
    size: int = setting(160, "longer side of every image, pixels", least=32, most=2048)
    seed: int = setting(0, "of everything: same seed, same pixels", least=0, most=2**31)
    pretraining: bool = setting(False, "a world of other landmarks, disjoint from every other, to train backbones on")
    known: float = setting(0.3, "share of the test images that show a landmark of the label set", least=0, most=1)
    unknown: float = setting(0.1, "share of the test images that show another landmark", least=0, most=1)
    siblings: int = setting(2, "landmarks in a family, on average", least=1, most=50)
    nonlandmarks: int | None = setting(
        None, "images that show no landmark, for training and calibration, none of them a test image; three for every "
        "ten test images when left out", least=0, most=500_000,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)
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
