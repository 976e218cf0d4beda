"""Feature extractors from timm, the facts of their weights, and how much of them is frozen."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import timm
import torch
from torch import Tensor, nn

from landmark.models.recipes import BACKBONES
from landmark.utils.errors import InputError


class Backbone(nn.Module):
    """Declare what a network of timm has beyond `nn.Module`."""

    num_features: int  # channels C of its map
    forward_features: Callable[[Tensor], Tensor]  # images (B, 3, H, W) → map (B, C, H / 32, W / 32)


def create_backbone(name: str) -> Backbone:
    """Build a network without its classifier: its `forward_features` gives (B, num_features, H / 32, W / 32).

    Args:
        name: a line of `recipes.BACKBONES`.

    Raises:
        InputError: an unknown name.

    >>> create_backbone("resnet50").num_features
    2048
    """
    if name not in BACKBONES:
        raise InputError(f"no backbone {name!r}: choose one of {', '.join(BACKBONES)}")
    backbone = timm.create_model(BACKBONES[name]["timm"], pretrained=False, num_classes=0)
    if hasattr(backbone, "pre_logits"):  # VGG's two wide layers behind the map: nine tenths of its weights
        backbone.pre_logits = nn.Identity()
    return cast(Backbone, backbone)


def stage_names(backbone: nn.Module) -> list[str]:
    """List a backbone's stages from image to map, without the pooling and the classifier behind it.

    What timm puts together as `blocks`, or as VGG's `features`, counts one by one.

    >>> stage_names(create_backbone("resnet50"))[-3:]
    ['layer2', 'layer3', 'layer4']
    >>> stage_names(create_backbone("efficientnet_lite0"))[-4:]
    ['blocks.5', 'blocks.6', 'conv_head', 'bn2']
    """
    names: list[str] = []
    for name, child in backbone.named_children():
        if name in ("blocks", "features"):
            names += [f"{name}.{number}" for number, _ in child.named_children()]
        elif name not in ("global_pool", "fc", "classifier", "pre_logits", "head"):
            names.append(name)
    return names


def middle_stage(backbone: nn.Module) -> str:
    """Name the last stage whose map has a sixteenth of an image's sides: where local features are still local.

    Raises:
        InputError: there is none.

    >>> middle_stage(create_backbone("resnet50")), middle_stage(create_backbone("efficientnet_lite0"))
    ('layer3', 'blocks.4')

    Source: Noh et al., "Large-scale image retrieval with attentive deep local features", 2017, section 4.1, whose
    features are those of ResNet50's layer3.
    """
    x, middle = torch.zeros(1, 3, 64, 64, device=next(backbone.parameters()).device), ""
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        for name in stage_names(backbone):
            x = backbone.get_submodule(name)(x)
            middle = name if x.shape[2:] == (4, 4) else middle
    backbone.train(training)
    if not middle:
        raise InputError("no stage of this backbone has a map of a sixteenth of the image: take another one")
    return middle


def split_stages(backbone: nn.Module, stage: str) -> tuple[list[str], list[str]]:
    """List the stages up to and including the named one ("all": the last), and those behind it.

    Raises:
        InputError: no stage of that name.

    >>> split_stages(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), "0")
    (['0'], ['1'])
    """
    names = stage_names(backbone)
    if stage not in (*names, "all"):
        raise InputError(f"no stage {stage!r} to freeze: choose one of {', '.join(names)}, or all")
    cut = len(names) if stage == "all" else names.index(stage) + 1
    return names[:cut], names[cut:]


def freeze_prefix(module: nn.Module, tensors: int = 85) -> int:
    """Freeze the first `tensors` parameter tensors (BatchNorm statistics still move): the 2019 code's "85 layers".

    Returns:
        How many parameters no longer learn.

    >>> freeze_prefix(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), 2)
    9
    """
    frozen = list(module.parameters())[:tensors]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return sum(parameter.numel() for parameter in frozen)


def freeze_stage(module: nn.Module, stage: str) -> int:
    """Freeze the stages up to and including `stage` ("all": every one), also their BatchNorm statistics in `.train()`.

    Returns:
        How many parameters no longer learn.

    Raises:
        InputError: no stage of that name.

    >>> freeze_stage(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), "0")
    9
    """
    total = 0
    for name in split_stages(module, stage)[0]:
        child = module.get_submodule(name)
        total += freeze_prefix(child, len(list(child.parameters())))
        child.eval()
        # copies and pickles refer to the copy's own child
        child.train = functools.partial(_stay_in_evaluation, child)  # type: ignore[method-assign]  # of this one alone
    return total


def _stay_in_evaluation(module: nn.Module, mode: bool = True) -> nn.Module:
    """`train` of a frozen stage: `.train()` on the whole must not wake its BatchNorm statistics."""
    return module
