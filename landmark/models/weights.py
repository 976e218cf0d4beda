"""Feature extractors from timm, where their weights come from, and how much of them is frozen."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from landmark import runtime
from landmark.recipes import BACKBONES
from landmark.runtime import InputError, data_root, quick
from landmark.transfer import fetch
from landmark.web import DownloadError


class CheckpointError(InputError):
    """A file of weights that is damaged, is not what its name says, or does not fit the network."""


def create_backbone(name: str) -> nn.Module:
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
    return timm.create_model(BACKBONES[name]["timm"], pretrained=False, num_classes=0)


def miniature_path(name: str) -> Path:
    """File of the weights trained on the miniature pretraining world (quick mode keeps its own)."""
    return data_root() / "weights" / f"miniature{'-quick' if quick() else ''}-{name}.safetensors"


def load_weights(backbone: nn.Module, name: str, weights: str | Path | None) -> None:
    """Fill a backbone with the public ImageNet weights, the miniature world's, those of a file, or none.

    Args:
        backbone: from `create_backbone(name)`.
        name: of the backbone.
        weights: "imagenet" (downloaded once, its sha256 checked before each load), "miniature", "none" or None,
            or a `.safetensors` or `.pth` file: a backbone's own tensors or a run's checkpoint.

    Raises:
        CheckpointError: the file is damaged or does not fit.
        InputError: it is missing and cannot be fetched.
    """
    if weights is None or weights == "none":
        return
    expected = ""
    if weights == "imagenet":
        facts = BACKBONES[name]
        path, expected = data_root() / "weights" / facts["url"].rsplit("/", 1)[1], facts["sha256"]
        if not path.exists():
            _fetch(facts, path)
    elif weights == "miniature":
        path = miniature_path(name)
        if not path.exists():
            raise InputError(f"{path}: no such file: the miniature weights are made by landmark.miniature_weights")
    else:
        path = Path(weights)
    tensors = read_tensors(path, expected)
    prefix = "backbone."
    if any(key.startswith(prefix) for key in tensors):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    tensors = {key: value for key, value in tensors.items() if not key.startswith(("fc.", "last_linear."))}
    load_tensors(backbone, tensors, path)


def _fetch(facts: Mapping, path: Path) -> None:
    """Fetch a file of weights; when that fails, say what else can be done."""
    try:
        fetch(facts["url"], path, sha256=facts["sha256"])
    except DownloadError as error:
        raise InputError(f'{error}; or use weights="miniature" or "none", or place the file at {path}') from None


def read_tensors(path: str | Path, sha256: str = "") -> dict[str, Tensor]:
    """Tensors of a `.safetensors` or `.pth` file, on the CPU; no code in the file is ever run.

    Args:
        path: the file.
        sha256: how its SHA-256 must begin, in hexadecimal; hashed anew before every load.

    Raises:
        CheckpointError: missing, damaged, or with another hash.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    damaged = f"damaged checkpoint {path} ({path.stat().st_size} bytes)"
    if sha256:
        found = runtime.sha256(path)
        if not found.startswith(sha256):
            raise CheckpointError(f"{damaged}: sha256 {found}, expected {sha256}…: delete it and fetch it again")
    try:
        if path.suffix == ".safetensors":
            return load_file(path, device="cpu")
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{damaged}: {error}: delete it and make or fetch it again") from None
    except Exception as error:  # torch.load raises a dozen types on bad bytes; each means the same to the user
        reason = str(error).split("\n")[0][:120]
        raise CheckpointError(f"{damaged}: not a file of plain tensors ({type(error).__name__}: {reason})") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{damaged}: holds {type(tensors).__name__}, expected named tensors only")
    return dict(tensors)


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy tensors into a module, or say which do not fit; then nothing is copied.

    Raises:
        CheckpointError: names the first tensors that are missing, unexpected or of another shape.
    """
    own = module.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # older files lack them
    wrong = {
        "missing": [key for key in own if key not in tensors and key not in counters],
        "unexpected": [key for key in tensors if key not in own],
        "of another shape": [
            f"{key} {tuple(tensors[key].shape)} for {tuple(own[key].shape)}"
            for key in own
            if key in tensors and tensors[key].shape != own[key].shape
        ],
    }
    told = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in wrong.items() if keys]
    if told:
        raise CheckpointError(f"{path}: weights of another network: {'; '.join(told)}")
    module.load_state_dict(tensors, strict=False)


def stage_names(backbone: nn.Module) -> list[str]:
    """Names of a backbone's stages from image to map, without the pooling and the classifier behind it.

    >>> stage_names(create_backbone("resnet50"))[-3:]
    ['layer2', 'layer3', 'layer4']
    """
    return [name for name, _ in backbone.named_children() if name not in ("global_pool", "fc")]


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
    """Freeze all children up to and including `stage`, BatchNorm statistics too, also after `.train()`.

    Returns:
        How many parameters no longer learn.

    Raises:
        InputError: no child of that name.

    >>> freeze_stage(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), "0")
    9
    """
    names = stage_names(module)
    if stage not in names:
        raise InputError(f"no stage {stage!r} to freeze: choose one of {', '.join(names)}")
    total = 0
    for name in names[: names.index(stage) + 1]:
        child = module.get_submodule(name)
        total += freeze_prefix(child, len(list(child.parameters())))
        child.eval()
        child.train = functools.partial(_stay_in_evaluation, child)  # copies and pickles refer to the copy's own child
    return total


def _stay_in_evaluation(module: nn.Module, mode: bool = True) -> nn.Module:
    """`train` of a frozen stage: `.train()` on the whole must not wake its BatchNorm statistics."""
    return module
