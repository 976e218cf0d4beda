"""A network with frozen stages learns and answers: from kept maps of the images where the cache holds them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from landmark.data.dataset import LandmarkDataset, Samples
from landmark.models.frozen import Learner, Prefix, fast_halves, fast_rest
from landmark.models.int8 import Ranges
from landmark.models.net import LandmarkNet
from landmark.training.frozen.basis import basis_of
from landmark.training.frozen.maps import FrozenMaps, kept_maps


@contextlib.contextmanager
def answering(
    model: LandmarkNet, stage: str, dataset: LandmarkDataset, *, keep: bool, **settings: Any
) -> Iterator[tuple[Samples, Callable[[], LandmarkNet]]]:  # fmt: skip
    """Prepare a network with frozen stages to predict a dataset, once or after each of some steps of learning.

    With maps or without, the answers are the same to the last bit.

    Args:
        model: the network, whose other stages may learn meanwhile.
        stage: the last frozen one.
        dataset: of the images.
        keep: the maps of the frozen stages in the cache.
        settings: of `kept_maps`.

    Yields:
        What to load, images or maps, and a function that gives the network as it is then, for these.
    """
    prefix = Prefix(model, stage)
    with _kept(model, stage, prefix, dataset, None, keep, settings) as kept:
        if kept is None:
            yield dataset, lambda: fast_halves(model, stage, prefix)
        else:
            yield kept, lambda: fast_rest(model, stage, prefix)


@contextlib.contextmanager
def learning(
    model: LandmarkNet, stage: str, learner: Learner, dataset: LandmarkDataset, ranges: Ranges | None, *, keep: bool,
    **settings: Any,
) -> Iterator[tuple[Samples, nn.Module, tuple[int, ...]]]:  # fmt: skip
    """Prepare a network with frozen stages to learn from a dataset; with maps or without it learns the same.

    Args:
        model: the network.
        stage: the last frozen one.
        learner: of `step.learner_of`.
        dataset: of the images.
        ranges: of the frozen stages' 8-bit integers.
        keep: the maps of the frozen stages in the cache.
        settings: of `kept_maps`.

    Yields:
        What to load, images or maps, what learns from these, and the shape of one of them.
    """
    with _kept(model, stage, learner.prefix, dataset, ranges, keep, settings) as kept:
        if kept is None:
            yield dataset, learner, (3, dataset.at_least, dataset.at_least)
        else:
            yield kept, learner.rest, kept.shape


@contextlib.contextmanager
def _kept(
    model: LandmarkNet, stage: str, prefix: Prefix, dataset: LandmarkDataset, ranges: Ranges | None, keep: bool,
    settings: dict[str, Any],
) -> Iterator[FrozenMaps | None]:  # fmt: skip
    if not keep:
        yield None
        return
    basis = basis_of(model, stage, prefix, dataset, ranges)
    with kept_maps(prefix, basis, dataset, **settings) as kept:
        if kept is not None:
            dataset.release()
        yield kept
