"""All that the maps of frozen stages depend on, beside the images themselves."""

from __future__ import annotations

import hashlib
import json
import os

import PIL
import torch
import torchvision
from torch import Tensor

from landmark.data.dataset import LandmarkDataset
from landmark.models.frozen import Prefix, stages_of
from landmark.models.int8 import Ranges, arithmetic
from landmark.models.net import LandmarkNet

VERSION = 1  # of how images become maps in this project: raise it when they become others


def weights_of(model: LandmarkNet, stage: str) -> str:
    """Hash the parameters and the BatchNorm statistics of a network's stages up to the named one.

    >>> from landmark import create_model
    >>> a, b = create_model("resnet50", 3), create_model("resnet50_gem", 9)
    >>> weights_of(a, "layer1") == weights_of(b, "layer1")
    True
    """
    digest = hashlib.sha256()
    for name, tensor in stages_of(model.backbone, stage)[0].state_dict().items():
        if not name.endswith("num_batches_tracked"):  # which decides nothing
            tensor = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def basis_of(model: LandmarkNet, stage: str, prefix: Prefix, dataset: LandmarkDataset, ranges: Ranges | None) -> dict:
    """List all that the maps of a dataset's images depend on, as JSON can hold it.

    Args:
        model: the network.
        stage: the last frozen one.
        prefix: the frozen stages.
        dataset: gives the images; its rows have no part in it.
        ranges: of the stages' 8-bit integers.
    """
    where = prefix.where
    integers = ranges and hashlib.sha256(json.dumps(ranges, default=Tensor.tolist, sort_keys=True).encode()).hexdigest()
    return {
        "backbone": model.backbone_name, "stage": stage, "weights": weights_of(model, stage),
        "arithmetic": arithmetic(where, ranges is not None), "form": prefix.form, "ranges": integers,
        "chip": _chip(where), "size": dataset.at_least, "transform": "train" if dataset.views else "eval",
        "seed": dataset.seed, "pixels": [repr(dataset.prepare), repr(dataset.augment)], "version": VERSION,
        "libraries": {module.__name__: module.__version__ for module in (torch, torchvision, PIL)},
    }  # fmt: skip


def _chip(where: torch.device) -> str:
    """Name the chip, or its instructions: others may round otherwise."""
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "all"
    return f"{where.type}, {torch.backends.cpu.get_cpu_capability()}, {allowed}"
