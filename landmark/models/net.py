"""`LandmarkNet` = backbone + pooling or attention + fully connected head, and its recipes by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landmark.models.backbones import Backbone, create_backbone, freeze_prefix, freeze_stage
from landmark.models.heads.classifier import build_head
from landmark.models.layers import (
    AttentionPool,
    AveragePool,
    CompactBilinearPooling,
    GeM,
    MaxPool,
    Normalise,
    RandomProjection,
    Reshape,
    SelfAttention2d,
    Shuffle,
    SpatialAttention,
)
from landmark.models.recipes import BACKBONES, NORMALISED, RECIPES, Switches, check_switches, data_config, recipe
from landmark.models.weights import load_weights
from landmark.utils.device import float32_by_default, own_random_numbers, reseed
from landmark.utils.errors import InputError

SKETCH = 8192  # numbers of a compact bilinear embedding
MAPS = 8  # that a vector is laid out as
LEARNT = ("gamma", "p")  # single numbers worth watching while they learn


# pooling: the layers from a map (B, C, H, W) to a vector (B, D), for C channels, what normalises a bilinear vector, if
# anything does, and the switches
POOLING_LAYERS: dict[str, Callable[[int, list[nn.Module], Switches], list[nn.Module]]] = {
    "average": lambda c, norm, s: [AveragePool()],
    "max": lambda c, norm, s: [MaxPool()],
    "gem": lambda c, norm, s: [GeM()],
    "spatial": lambda c, norm, s: [AveragePool(), *laid_out(c, s), SpatialAttention(s.temperature), nn.Flatten()],
    "projection": lambda c, norm, s: [AveragePool(), RandomProjection(c, SKETCH)],
    "cbp": lambda c, norm, s: [AveragePool(), CompactBilinearPooling(c, SKETCH), *norm],
    "cbp_attention": lambda c, norm, s: [
        AveragePool(), CompactBilinearPooling(c, SKETCH), *norm, *laid_out(SKETCH, s),
        SelfAttention2d(MAPS, gamma=s.gamma), nn.Flatten(),
    ],
    "spatial_map": lambda c, norm, s: [AttentionPool(s.temperature)],
    "cbp_map": lambda c, norm, s: [CompactBilinearPooling(c, SKETCH), *norm],
    # A sketch holds products of two numbers, so that of a position times √a is a times the position's own. The softmax
    # is that of `AttentionPool`
    "cbp_spatial_map": lambda c, norm, s: [
        SpatialAttention(s.temperature * c**0.5, root=True), CompactBilinearPooling(c, SKETCH), *norm,
    ],
    "cbp_attention_map": lambda c, norm, s: [
        SelfAttention2d(c, gamma=s.gamma), CompactBilinearPooling(c, SKETCH), *norm,
    ],
}  # fmt: skip


def as_map(size: int) -> Reshape:
    """Lay out a vector of `size` numbers as `MAPS` maps, as square as can be.

    Raises:
        ValueError: the vector does not divide into so many maps.

    >>> as_map(2048), as_map(8192)  # as in the paper
    (Reshape(8×16×16), Reshape(8×32×32))
    >>> as_map(1280)
    Reshape(8×10×16)
    """
    places, rest = divmod(size, MAPS)
    if rest:
        raise ValueError(f"{size} numbers do not divide into {MAPS} maps")
    height = max(h for h in range(1, math.isqrt(places) + 1) if places % h == 0)
    return Reshape(MAPS, height, places // height)


def laid_out(size: int, switches: Switches) -> list[nn.Module]:
    """Lay out a vector as maps, in an order of its own when one is asked for.

    >>> laid_out(2048, Switches(shuffle=7))
    [Shuffle(2048, seed=7), Reshape(8×16×16)]
    """
    return [*([Shuffle(size, switches.shuffle)] if switches.shuffle else []), as_map(size)]


def map_channels(backbone: Backbone, name: str) -> int:
    """Channels C of a backbone's feature map, seen on a blank image; InputError when it gives no map of C channels."""
    channels = backbone.num_features
    with torch.no_grad():
        shape = tuple(backbone.eval().forward_features(torch.zeros(1, 3, 32, 32)).shape)
    backbone.train()
    if len(shape) != 4 or shape[1] != channels:
        raise InputError(f"backbone {name}: gives {shape} of an image, expected a map (1, {channels}, H, W)")
    return channels


def build_pooling(pooling: str, channels: int, switches: Switches | None = None) -> tuple[nn.Sequential, int]:
    """Build the layers from a map of `channels` channels to a vector; returns them and the vector's size D.

    Raises:
        InputError: the layers do not take such a map, or give no vector (B, D) of the same size for any map.

    >>> build_pooling("cbp", 1280)[1]
    8192
    """
    try:
        normal, switches = pooling in NORMALISED, switches or Switches()
        root, l2 = (normal if value is None else value for value in (switches.root, switches.l2))
        norm: list[nn.Module] = [Normalise(root, l2)] if root or l2 else []
        layers = POOLING_LAYERS[pooling](channels, norm, switches)
        pool = nn.Sequential(*layers).eval()  # in training it would move spectral norms
        with torch.no_grad():
            shapes = [tuple(pool(torch.zeros(1, channels, *places)).shape) for places in ((1, 1), (2, 3))]
    except (RuntimeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"pooling {pooling}: takes no map of {channels} channels ({reason})") from error
    if shapes[0] != shapes[1] or len(shapes[0]) != 2:
        raise InputError(f"pooling {pooling}: gives {shapes} of two maps, expected vectors (1, D) of one size")
    return pool.train(), shapes[0][1]


@torch.random.fork_rng(devices=[])
def embedding_sizes() -> dict[str, int]:
    """Size of every model's embedding, found without building its backbone's weights.

    >>> embedding_sizes()["xception_gem"]
    2048
    """
    with torch.device("meta"):  # shapes alone
        channels = {name: map_channels(create_backbone(name), name) for name in BACKBONES}
    return {name: build_pooling(pooling, channels[backbone])[1] for name, (backbone, pooling) in RECIPES.items()}


class LandmarkNet(nn.Module):
    """Backbone → pooling → head; the switches are those of `create_model`.

    Attributes: `backbone`, `pool` (map → embedding), `head` (embedding → logits, or identity), `num_features` (D of
    the embedding), `data_config` (mean and std of the input).
    """

    def __init__(self, name: str, num_classes: int, head: str = "mlp", **switches: Any):
        super().__init__()
        check_switches(name, head, **switches)
        self.backbone_name, pooling = recipe(name)
        self.name, self.num_classes, self.data_config = name, num_classes, data_config(name)
        self.backbone = create_backbone(self.backbone_name)
        channels = map_channels(self.backbone, self.backbone_name)
        self.pool, self.num_features = build_pooling(pooling, channels, Switches(**switches))
        self.head: nn.Module = nn.Identity()
        if num_classes:
            neck, self.head, self.num_features = build_head(head, self.num_features, num_classes)
            self.pool.extend(neck)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → feature map (B, C, H / 32, W / 32)."""
        return self.backbone.forward_features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature map → logits (B, K), or the embedding (B, D) when `pre_logits` or when there are no classes."""
        embedding = self.pool(x)
        return embedding if pre_logits else self.head(embedding)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → logits (B, K), or embeddings (B, D) of a network without classes."""
        return self.forward_head(self.forward_features(x))

    def learnt_numbers(self) -> dict[str, float]:
        """Name the numbers that the pooling learns one at a time: γ of self-attention, p of GeM.

        >>> LandmarkNet("resnet50_gem", 0).learnt_numbers()
        {'p': 3.0}
        """
        named = ((name.split(".")[-1], parameter) for name, parameter in self.pool.named_parameters())
        return {name: parameter.item() for name, parameter in named if name in LEARNT}

    @torch.no_grad()
    def shapes(self, image_size: int) -> list[tuple[str, tuple[int, ...], int]]:
        """Stages from image to logits as (name, shape without the batch, parameters), for a diagram.

        >>> [name for name, *_ in LandmarkNet("resnet50", 48).shapes(32)]
        ['image', 'resnet50', 'AveragePool', 'fully connected: 512, 48']
        """
        was_training = self.training
        self.eval()
        where = next(self.parameters()).device
        x = self.forward_features(torch.zeros(1, 3, image_size, image_size, dtype=torch.float32, device=where))
        parameters = sum(p.numel() for p in self.backbone.parameters())
        stages = [("image", (3, image_size, image_size), 0), (self.backbone_name, tuple(x.shape[1:]), parameters)]
        for layer in [*self.pool, self.head]:
            x = layer(x)
            count = sum(p.numel() for p in layer.parameters())
            stages.append((type(layer).__name__, tuple(x.shape[1:]), count))
        if widths := [str(layer.out_features) for layer in self.head.modules() if isinstance(layer, nn.Linear)]:
            stages[-1] = (f"fully connected: {', '.join(widths)}", *stages[-1][1:])
        self.train(was_training)
        return stages if self.num_classes else stages[:-1]


def create_model(
    name: str, num_classes: int, *, weights: str | Path | None = None, freeze: int | str = 0, seed: int = 0,
    head: str = "mlp", **switches: Any,
) -> LandmarkNet:  # fmt: skip
    """Build a network by name.

    Args:
        name: one of `list_models()`.
        num_classes: K; 0 gives a network that returns embeddings.
        weights: of the backbone, see `weights.load_weights`.
        freeze: the first N parameter tensors of the backbone, or all up to the named stage ("block7").
        seed: of the initial weights; the caller's random numbers are left as they are.
        head: a line of `recipes.HEADS`: what makes logits of the embedding.
        switches: `root`, `l2`, `temperature`, `gamma` and `shuffle`, see `recipes.Switches`.

    Raises:
        InputError: an unknown name, stage or number of classes, a switch of layers that the model does not have, or
            weights that cannot be used.

    >>> create_model("resnet50", 0, freeze="layer2").num_features
    2048

    Source: the paper, section 4.
    """
    if num_classes < 0:
        raise InputError(f"num_classes={num_classes}: give 0 (embeddings) or more")
    cpu = torch.device("cpu")
    with own_random_numbers(cpu), float32_by_default():
        reseed(seed, cpu)
        model = LandmarkNet(name, num_classes, head, **switches)
    load_weights(model.backbone, model.backbone_name, weights)
    if isinstance(freeze, str):
        freeze_stage(model.backbone, freeze)
    elif freeze:
        freeze_prefix(model.backbone, freeze)
    return model
