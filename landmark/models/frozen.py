"""Frozen stages of a network that learns, computed as fast as those of one that only predicts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landmark.models.backbones import split_stages
from landmark.models.folding import Folded, fold_batch_norms
from landmark.models.int8 import Ranges, measure
from landmark.models.net import LandmarkNet


def fast_prefix(model: LandmarkNet, stage: str, ranges: Ranges | None = None) -> Learner:
    """The same network for training, its stages up to `stage` computed as `fast_model` would: they are frozen.

    Args:
        model: a network of `create_model` with `freeze=stage`; what it returns learns in its place, for they share
            the parameters that learn.
        stage: "block7".
        ranges: of `prefix_ranges`, to compute these stages in 8-bit integers.

    >>> from landmark import create_model
    >>> model = create_model("resnet50", 3, freeze="layer2").eval()
    >>> x = torch.rand(2, 3, 64, 64)
    >>> bool((fast_prefix(model, "layer2").eval()(x) - model(x)).abs().max() < 0.1)
    True
    """
    return Learner(model, stage, ranges)


def prefix_ranges(model: LandmarkNet, stage: str, images: Tensor) -> Ranges:
    """What `fast_prefix` must know of the maps of the frozen stages; they do not change while the others learn.

    Args:
        model: a network of `create_model`.
        stage: the last frozen one.
        images: some images (B, 3, H, W) like those to come, `SAMPLE` are enough.

    Raises:
        InputError: there are no images, or the machine has no 8-bit integers.
    """
    return measure(fold_batch_norms(stages_of(model.backbone, stage)[0]), images)


def stages_of(backbone: nn.Module, stage: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Take a backbone apart: the stages up to and including the named one, and those from there to the map."""
    first, last = (nn.Sequential(*map(backbone.get_submodule, part)) for part in split_stages(backbone, stage))
    return first, last


class Rest(nn.Module):
    """What learns behind frozen stages: their maps → logits."""

    def __init__(self, model: LandmarkNet, stages: nn.Sequential, prefix: Folded):
        super().__init__()
        self.stages, self.pool, self.head = stages, model.pool, model.head
        self.opened = prefix.opened

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H', W') of `Learner.maps` → logits (B, K)."""
        # In the dtype of the stages to come: a shortcut in float32 would make all that follows float32
        kind = maps.device.type
        mixed = torch.is_autocast_enabled(kind)
        x = self.opened(maps, torch.get_autocast_dtype(kind) if mixed else torch.float32)
        x = x.contiguous(memory_format=torch.channels_last)
        return self.head(self.pool(self.stages(x)))


class Learner(nn.Module):
    """A network that learns behind frozen stages, see `fast_prefix`.

    Attributes: `prefix` (images → maps, fixed), `rest` (maps → logits, learns; a network of its own where the maps of
    the images are known already).
    """

    def __init__(self, model: LandmarkNet, stage: str, ranges: Ranges | None):
        super().__init__()
        first, last = stages_of(model.backbone, stage)
        self.prefix = Folded(first, ranges)
        self.rest = Rest(model, last, self.prefix)

    @torch.no_grad()
    def maps(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → maps (B, C, H', W') of the frozen stages, as they may be kept."""
        with torch.autocast(x.device.type, enabled=False):
            return self.prefix.maps(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → logits (B, K)."""
        return self.rest(self.maps(x))
