"""Frozen stages of a network and the rest of it, apart: one is computed as fast as may be, or once for all."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landmark.models.backbones import split_stages
from landmark.models.folding import CACHE, Fast, Folded, fold_batch_norms, with_backbone
from landmark.models.int8 import Ranges, measure
from landmark.models.net import LandmarkNet

MOST = 32  # images that frozen stages compute at a time; fewer where a CPU's cache holds no more


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


class Prefix(Folded):
    """Frozen stages in evaluation mode: what they make of an image does not depend on the others beside it.

    Numbers round by the size of a batch, so all batches are cut, and the last part filled up, to one size.

    Args:
        model: the network.
        stage: the last frozen one.
        ranges: of `prefix_ranges`, to compute in 8-bit integers.

    >>> from landmark import create_model
    >>> prefix, x = Prefix(create_model("efficientnet_lite0", 3), "blocks.0"), torch.rand(3, 3, 32, 32)
    >>> torch.equal(prefix.maps(x)[2:], prefix.maps(x[2:]))
    True
    """

    def __init__(self, model: LandmarkNet, stage: str, ranges: Ranges | None = None):
        super().__init__(stages_of(model.backbone, stage)[0], ranges)
        self.where = next(model.backbone.parameters()).device

    @torch.no_grad()
    def maps(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W), on any device → their maps (B, C, H', W'), as they may be kept."""
        x = x.to(self.where, memory_format=torch.channels_last, non_blocking=True)
        with torch.autocast(x.device.type, enabled=False):
            if self.form == "int8":  # integers do not round
                return super().maps(x)
            size = MOST
            while self.where.type == "cpu" and size > 1 and size * x.shape[2] * x.shape[3] > CACHE:
                size //= 2
            parts = [F.pad(part, (0, 0) * 3 + (0, size - len(part))) for part in x.split(size)]
            return torch.cat([super(Prefix, self).maps(part) for part in parts])[: len(x)]


def fast_rest(model: LandmarkNet, stage: str, prefix: Prefix) -> LandmarkNet:
    """Copy a network into one that predicts from what `prefix` makes of images, and can no longer learn.

    Args:
        model: any network of `create_model`, left as it is.
        stage: the last frozen one.
        prefix: the frozen stages, not in 8-bit integers.

    Returns:
        Maps (B, C, H', W') → logits (B, K).
    """
    sample = prefix.maps(torch.zeros(1, 3, 32, 32, dtype=torch.float32))
    return with_backbone(model, Folded(stages_of(model.backbone, stage)[1], None, sample))


def fast_halves(model: LandmarkNet, stage: str, prefix: Prefix) -> LandmarkNet:
    """Copy a network into one that predicts from images what `fast_rest` does from their maps, to the last bit.

    >>> from landmark import create_model
    >>> model, x = create_model("resnet50", 3).eval(), torch.rand(2, 3, 64, 64)
    >>> prefix = Prefix(model, "layer2")
    >>> whole, rest = (make(model, "layer2", prefix) for make in (fast_halves, fast_rest))
    >>> torch.equal(whole(x), rest(prefix.maps(x)))
    True
    """
    rest = fast_rest(model, stage, prefix)
    return with_backbone(rest, Halves(prefix, cast(Folded, rest.backbone)))


class Halves(Fast):
    """A backbone in two parts, one behind the other."""

    def __init__(self, prefix: Prefix, rest: Folded):
        super().__init__()
        self.prefix, self.rest = prefix, rest

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute the feature map (B, C, H', W') of images (B, 3, H, W), in float32."""
        return self.rest.forward_features(self.prefix.maps(x))


class Rest(nn.Module):
    """What learns behind frozen stages: their maps → logits."""

    def __init__(self, model: LandmarkNet, stages: nn.Sequential, prefix: Prefix):
        super().__init__()
        self.stages, self.pool, self.head = stages, model.pool, model.head
        self.opened = prefix.opened

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H', W') of `Prefix.maps` → logits (B, K)."""
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
        self.prefix = Prefix(model, stage, ranges)
        self.rest = Rest(model, stages_of(model.backbone, stage)[1], self.prefix)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → logits (B, K)."""
        return self.rest(self.prefix.maps(x))
