"""`LandmarkNet` = backbone + pooling or attention + fully connected head, and its recipes by name."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landmark import distributed
from landmark.backbones import WEIGHTS, create_backbone, freeze_prefix, freeze_stage, load_weights
from landmark.functional import signed_sqrt, spatial_softmax
from landmark.layers import CompactBilinearPooling, SelfAttention2d, SpatialAttention
from landmark.runtime import InputError, own_random_numbers, reseed

SKETCH = 8192


class AveragePool(nn.Module):
    """Mean over places: (B, C, H, W) → (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map."""
        return x.mean(dim=(-2, -1))


class Reshape(nn.Module):
    """A vector laid out as a map, as the paper does with 2048 → 8×16×16: places here are not places of the image."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """(B, C·H·W) → (B, C, H, W)."""
        return x.reshape(len(x), *self.shape)

    def extra_repr(self) -> str:
        """The shape, for `print(model)`."""
        return "×".join(map(str, self.shape))


class AttentionPool(nn.Module):
    """Sum of a map's places weighted by parameter-free attention: (B, C, H, W) → (B, C).

    The softmax is taken of the channel *mean* times √C: the plain sum of 2048 channels is one-hot from the start.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map."""
        x = x.float()
        weights = spatial_softmax(x / x.shape[1] ** 0.5)  # (B, 1, H, W)
        return (x * weights).sum(dim=(-2, -1))


class Normalise(nn.Module):
    """Signed square root, then L2 norm one: what makes a bilinear vector easy to classify.

    Source: Gao et al., "Compact Bilinear Pooling", section 4.1.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) → (B, D)."""
        return F.normalize(signed_sqrt(x), dim=-1)


class Dropout(nn.Module):
    """Dropout whose mask follows from an image's place in the batch of all ranks: N ranks learn what one does."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop a share p of the numbers of vectors (B, D) in training mode, and scale the others up."""
        if not self.training:
            return x
        rank, size = distributed.rank(), distributed.size()
        kept = torch.rand(len(x) * size, *x.shape[1:], device=x.device)[rank::size] >= self.p
        return x * kept / (1 - self.p)


# name: (backbone, layers from the map (B, 2048, H, W) to the embedding, embedding size)
RECIPES = {
    "resnet50": ("resnet50", lambda: [AveragePool()], 2048),
    "xception": ("xception", lambda: [AveragePool()], 2048),
    "xception_spatial": (
        "xception",
        lambda: [AveragePool(), Reshape(8, 16, 16), SpatialAttention(), nn.Flatten()],
        2048,
    ),
    "xception_cbp": ("xception", lambda: [AveragePool(), CompactBilinearPooling(2048, SKETCH)], SKETCH),
    "xception_cbp_attention": (
        "xception",
        lambda: [
            AveragePool(),
            CompactBilinearPooling(2048, SKETCH),
            Reshape(8, 32, 32),
            SelfAttention2d(8),
            nn.Flatten(),
        ],
        SKETCH,
    ),
    "xception_spatial_map": ("xception", lambda: [AttentionPool()], 2048),
    "xception_cbp_map": ("xception", lambda: [CompactBilinearPooling(2048, SKETCH), Normalise()], SKETCH),
    "xception_cbp_attention_map": (
        "xception",
        lambda: [SelfAttention2d(2048), CompactBilinearPooling(2048, SKETCH), Normalise()],
        SKETCH,
    ),
}


def data_config(name: str) -> dict[str, tuple[float, ...]]:
    """Mean and std of the input of a recipe's backbone, without building it.

    >>> data_config("xception")["mean"]
    (0.5, 0.5, 0.5)
    """
    return {key: WEIGHTS[RECIPES[name][0]][key] for key in ("mean", "std")}


class LandmarkNet(nn.Module):
    """Backbone → pooling → fully connected layers (one hidden layer of `hidden` units, the same in every recipe).

    Attributes: `backbone`, `pool` (map → embedding), `head` (embedding → logits, or identity), `num_features` (D of
    the embedding), `data_config` (mean and std of the input).
    """

    def __init__(self, name: str, num_classes: int, hidden: int = 512):
        super().__init__()
        kind, layers, self.num_features = RECIPES[name]
        self.name, self.num_classes, self.backbone_name = name, num_classes, kind
        self.data_config = data_config(name)
        self.backbone = create_backbone(kind)
        self.pool = nn.Sequential(*layers())
        self.head = nn.Identity()
        if num_classes:
            # A norm first: embeddings of the recipes differ in scale by 10^4, and one learning rate must fit them all
            self.head = nn.Sequential(
                nn.LayerNorm(self.num_features), nn.Linear(self.num_features, hidden), nn.ReLU(),
                Dropout(0.2), nn.Linear(hidden, num_classes),
            )  # fmt: skip

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → feature map (B, 2048, H / 32, W / 32)."""
        return self.backbone.forward_features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature map → logits (B, K), or the embedding (B, D) when `pre_logits` or when there are no classes."""
        embedding = self.pool(x)
        return embedding if pre_logits else self.head(embedding)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → logits (B, K), or embeddings (B, D) of a network without classes."""
        return self.forward_head(self.forward_features(x))

    @torch.no_grad()
    def shapes(self, image_size: int) -> list[tuple[str, tuple[int, ...], int]]:
        """Stages from image to logits as (name, shape without the batch, parameters), for a diagram."""
        was_training = self.training
        self.eval()
        where = next(self.parameters()).device
        x = self.forward_features(torch.zeros(1, 3, image_size, image_size, device=where))
        parameters = sum(p.numel() for p in self.backbone.parameters())
        stages = [("image", (3, image_size, image_size), 0), (self.backbone_name, tuple(x.shape[1:]), parameters)]
        for layer in [*self.pool, self.head]:
            x = layer(x)
            count = sum(p.numel() for p in layer.parameters())
            name = "fully connected" if layer is self.head else type(layer).__name__
            stages.append((name, tuple(x.shape[1:]), count))
        self.train(was_training)
        return stages if self.num_classes else stages[:-1]


def list_models() -> list[str]:
    """Names that `create_model` knows: the paper's five, then the same ideas on the real feature map.

    >>> list_models()[:2]
    ['resnet50', 'xception']
    """
    return list(RECIPES)


def create_model(
    name: str, num_classes: int, *, weights: str | Path | None = None, freeze: int | str = 0, seed: int = 0
) -> LandmarkNet:
    """Build a network by name.

    Args:
        name: one of `list_models()`.
        num_classes: K; 0 gives a network that returns embeddings.
        weights: of the backbone, see `backbones.load_weights`.
        freeze: the first N parameter tensors of the backbone, or all up to the named stage ("block7").
        seed: of the initial weights; the caller's random numbers are left as they are.

    Raises:
        InputError: an unknown name, stage or number of classes, or weights that cannot be used.

    >>> create_model("resnet50", 0, freeze="layer2").num_features
    2048

    Source: the paper, section 4.
    """
    if name not in RECIPES:
        raise InputError(f"no model {name!r}: choose one of {', '.join(RECIPES)}")
    if num_classes < 0:
        raise InputError(f"num_classes={num_classes}: give 0 (embeddings) or more")
    cpu = torch.device("cpu")
    with own_random_numbers(cpu):
        reseed(seed, cpu)
        model = LandmarkNet(name, num_classes)
    load_weights(model.backbone, model.backbone_name, weights)
    if isinstance(freeze, str):
        freeze_stage(model.backbone, freeze)
    elif freeze:
        freeze_prefix(model.backbone, freeze)
    return model
