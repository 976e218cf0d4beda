"""Tensors in 8-bit integers, one scale for each output channel, and the files of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

SCALE = ".scale"  # behind the name of a packed tensor: the name of its scales
LARGEST = 127


def stand_in_path(backbone: str) -> Path:
    """File of a backbone's stand-in weights; its card, a JSON object, has the same name and ends in `.json`.

    >>> stand_in_path("xception").name
    'xception.safetensors'
    """
    return Path(__file__).with_name(f"{backbone}.safetensors")


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round floats of two dimensions or more to 8-bit integers; vectors and whole numbers stay as they are.

    q = round(w / s), s = max |w| / 127 over an output channel (the first dimension), so that |w - s·q| <= s / 2.

    Args:
        tensors: by name, a network's.

    Returns:
        The same names; beside each packed tensor (O, ...) its scales (O,) float32 under `<name>.scale`.

    >>> packed = pack({"w": torch.tensor([[1.0, -0.5], [0.0, 0.0]])})
    >>> packed["w"].tolist(), unpack(packed)["w"][0, 0].item()
    ([[127, -64], [0, 0]], 1.0)
    """
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() < 2 or not tensor.is_floating_point():
            out[name] = tensor.contiguous()
            continue
        rows = tensor.detach().float().flatten(1)  # (O, I)
        scale = (rows.abs().amax(1) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)  # a channel may be all zero
        out[name] = (rows / scale[:, None]).round().to(torch.int8).reshape(tensor.shape)
        out[name + SCALE] = scale
    return out


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn what `pack` made back into float32; tensors that were never packed pass through.

    >>> unpack({"steps": torch.tensor(3)})
    {'steps': tensor(3)}
    """
    packed = {name for name in tensors if name + SCALE in tensors and tensors[name].dtype == torch.int8}
    scales = {name + SCALE for name in packed}
    return {
        name: tensor * tensors[name + SCALE].reshape(-1, *[1] * (tensor.dim() - 1)) if name in packed else tensor
        for name, tensor in tensors.items() if name not in scales
    }  # fmt: skip
