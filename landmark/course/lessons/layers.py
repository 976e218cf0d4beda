"""Measure layers at work: sizes and gradients of stages, sketch errors, attention maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landmark.models.folding import portions
from landmark.models.functional import count_sketch, spatial_softmax, tensor_sketch
from landmark.models.layers import AttentionPool, SelfAttention2d, SpatialAttention
from landmark.models.net import LandmarkNet
from landmark.utils.device import own_random_numbers


def stage_sizes(module: nn.Module) -> list[tuple[str, int]]:
    """Count the parameters of a module's children, those without any left out."""
    sizes = [(name, sum(p.numel() for p in child.parameters())) for name, child in module.named_children()]
    return [(name, size) for name, size in sizes if size]


def frozen_stages(module: nn.Module) -> dict[str, float]:
    """Measure the share of the parameters of a module's children that does not train, where there is one.

    >>> pair = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    >>> _ = pair[0].requires_grad_(False), pair[1].bias.requires_grad_(False)
    >>> frozen_stages(pair)
    {'0': 1.0, '1': 0.5}
    """
    shares = {}
    for name, size in stage_sizes(module):
        resting = sum(p.numel() for p in module.get_submodule(name).parameters() if not p.requires_grad)
        if resting:
            shares[name] = resting / size
    return shares


def sketch_errors(dims: Sequence[int], repeats: int = 200, channels: int = 256, seed: int = 0) -> np.ndarray:
    """Measure the relative error of ⟨TS(x), TS(y)⟩ against ⟨x, y⟩², (len(dims), repeats), each time on new vectors."""
    generator = torch.Generator().manual_seed(seed)
    errors = np.empty((len(dims), repeats))
    for i, dim in enumerate(dims):
        for j in range(repeats):
            x, y = torch.rand(2, channels, generator=generator)
            h = torch.randint(0, dim, (2, channels), generator=generator)
            s = torch.randint(0, 2, (2, channels), generator=generator) * 2.0 - 1
            a, b = (tensor_sketch(v, h[0], s[0], h[1], s[1], dim) for v in (x, y))
            exact = float(x @ y) ** 2
            errors[i, j] = abs(float(a @ b) - exact) / exact
    return errors


def sketch_by_hand(x: Sequence[float], h: Sequence[int], s: Sequence[int], dim: int) -> list[float]:
    """Compute the count sketch of one short vector, as a list.

    >>> sketch_by_hand([1, 2, 3], [0, 1, 0], [1, 1, -1], 2)
    [-2.0, 2.0]
    """
    return count_sketch(torch.tensor(x, dtype=torch.float32), torch.tensor(h), torch.tensor(s), dim).tolist()


@torch.inference_mode()
def spatial_weights(model: LandmarkNet, images: Tensor) -> np.ndarray:
    """Compute the weights (B, H, W) of a network's spatial attention, on its map or on its reshaped vector."""
    images = images.to(next(model.parameters()).device)
    x = torch.cat([model.forward_features(part).float() for part in portions(images)])
    for layer in model.pool:
        if isinstance(layer, AttentionPool):
            x = x / x.shape[1] ** 0.5
        if isinstance(layer, (AttentionPool, SpatialAttention)):
            return spatial_softmax(x, layer.temperature)[:, 0].cpu().numpy()
        x = layer(x).float()
    raise ValueError(f"model: {model.backbone_name} with {model.pool} has no spatial attention")


def effective_positions(weights: np.ndarray) -> np.ndarray:
    """Count the positions that share the weight of each map, 1 / Σ w²: (B, H, W) → (B,).

    >>> effective_positions(np.array([[[1.0, 0.0]], [[0.5, 0.5]]])).tolist()
    [1.0, 2.0]
    """
    return 1 / np.square(weights).sum(axis=(1, 2))


def attention_layer(model: nn.Module) -> SelfAttention2d:
    """Find the self-attention layer of a network."""
    return next(module for module in model.modules() if isinstance(module, SelfAttention2d))


@torch.inference_mode()
def self_attention_from(model: LandmarkNet, images: Tensor, positions: Sequence[tuple[int, int]]) -> np.ndarray:
    """Compute the attention (B, H, W) of one position of each image's map to all; `positions` are B (row, column)."""
    x = model.forward_features(images.to(next(model.parameters()).device)).float()
    weights = attention_layer(model).attention(x)  # (B, N, N)
    height, width = x.shape[-2:]
    rows = [weights[i, r * width + c] for i, (r, c) in enumerate(positions)]
    return torch.stack(rows).view(-1, height, width).cpu().numpy()


def gradient_norms(model: LandmarkNet, images: Tensor, labels: Tensor) -> list[tuple[str, float]]:
    """Compute the norm of the loss's gradient in each child of the backbone, and in the head, for one batch."""
    model.zero_grad(set_to_none=True)
    with own_random_numbers(images.device):  # dropout draws some
        nn.functional.cross_entropy(model(images).float(), labels).backward()
    parts = [*model.backbone.named_children(), ("head", model.head)]
    learnt = ((name, list(part.parameters())) for name, part in parts)
    gradients = [(name, [p.grad for p in tensors if p.grad is not None]) for name, tensors in learnt if tensors]
    norms = [(name, float(nn.utils.get_total_norm(grads or [torch.zeros(1)]))) for name, grads in gradients]
    model.zero_grad(set_to_none=True)
    return norms
