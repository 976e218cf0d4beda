"""Which pixels speak for a class: gradients and Grad-CAM, and the random maps that they must beat."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landmark.models.folding import portions
from landmark.utils.errors import InputError


class _InTwoParts(Protocol):
    """What `LandmarkNet` and the networks of timm have."""

    def forward_features(self, x: Tensor) -> Tensor: ...

    def forward_head(self, x: Tensor) -> Tensor: ...


@contextlib.contextmanager
def explained(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode without gradients of the weights; afterwards everything is as before."""
    was_training = {module: module.training for module in model.modules()}
    wanted = {p: p.requires_grad for p in model.parameters()}
    model.eval()
    for p in wanted:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p, value in wanted.items():
            p.requires_grad_(value)
        for module, value in was_training.items():
            module.training = value


@contextlib.contextmanager
def _with_gradients(model: nn.Module) -> Iterator[None]:
    """Do as `explained`, and let gradients be taken of what is computed inside, also under `torch.inference_mode`."""
    if any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
        raise InputError("a network made under torch.inference_mode has no gradients: make it outside")
    with torch.inference_mode(False), torch.enable_grad(), explained(model):
        yield


def class_of(logits: Tensor, target: Tensor | int | None) -> Tensor:
    """Choose class indices (B,): the given ones, else the predicted ones."""
    if not torch.isfinite(logits).all():
        raise InputError("the network's logits are not finite: check the images and the weights")
    if target is None:
        return logits.argmax(1)
    chosen = torch.as_tensor(target, device=logits.device).expand(len(logits))
    if chosen.min() < 0 or chosen.max() >= logits.shape[1]:
        raise InputError(f"target {chosen.tolist()}: the network has the classes 0 to {logits.shape[1] - 1}")
    return chosen


def _unit(maps: Tensor) -> Tensor:
    """Scale each map (B, H, W) to 0 at its smallest value and 1 at its largest; a constant one is 0 everywhere."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low).clamp_min(1e-30), 0.0)


def _gradient(model: nn.Module, x: Tensor, target: Tensor | int | None) -> Tensor:
    """Take the gradient of each image's logit by its pixels, of a few images at a time."""
    parts = portions(x.detach())
    sizes = [len(part) for part in parts]
    wanted = [None] * len(parts) if target is None else torch.as_tensor(target).expand(len(x)).split(sizes)
    gradients = []
    for part, classes in zip(parts, wanted, strict=True):
        part = part.clone(memory_format=torch.channels_last).requires_grad_()  # a CPU is faster so
        logits = model(part)
        score = logits.gather(1, class_of(logits.detach(), classes)[:, None]).sum()
        gradients.append(torch.autograd.grad(score, part)[0])
    return torch.cat(gradients)


def vanilla_gradient(model: nn.Module, x: Tensor, target: Tensor | int | None = None) -> Tensor:
    """Compute the largest absolute gradient of a class's logit over each pixel's colours: max_c |∂ logit / ∂ x_c|.

    Args:
        model: images (B, 3, H, W) → logits (B, K).
        x: images, normalised as the model wants them.
        target: class of all images or of each (B,); the predicted one when left out.

    Returns:
        Saliency (B, H, W) in [0, 1].

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    >>> vanilla_gradient(net, torch.rand(1, 3, 2, 2)).shape
    torch.Size([1, 2, 2])

    Source: Simonyan et al., "Deep inside convolutional networks", 2014; Figure 6 of the paper.
    """
    with _with_gradients(model):
        return _unit(_gradient(model, x, target).abs().amax(1))


def smooth_grad(
    model: nn.Module,
    x: Tensor,
    target: Tensor | int | None = None,
    samples: int = 16,
    noise: float = 0.1,
    seed: int = 0,
) -> Tensor:
    """Average the absolute gradients of noisy copies, which cancels their speckle.

    Args:
        model, x, target: as in `vanilla_gradient`.
        samples: noisy copies.
        noise: standard deviation as a share of each image's range.
        seed: of the noise.

    Returns:
        Saliency (B, H, W) in [0, 1].

    Source: Smilkov et al., "SmoothGrad", 2017.
    """
    if samples < 1:
        raise InputError(f"samples={samples}: give 1 or more")
    generator = torch.Generator().manual_seed(seed)
    sigma = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    with _with_gradients(model):
        total = torch.zeros_like(x[:, 0])
        with torch.no_grad():
            chosen = class_of(model(x), target)
        for _ in range(samples):
            copy = x + sigma * torch.randn(x.shape, dtype=torch.float32, generator=generator).to(x)
            total += _gradient(model, copy, chosen).abs().amax(1)
    return _unit(total)


def grad_cam(model: nn.Module, x: Tensor, target: Tensor | int | None = None, layer: nn.Module | None = None) -> Tensor:
    """Weight the channels of a feature map by their mean gradient: ReLU(Σ_c mean(∂ logit / ∂ A_c) · A_c).

    Args:
        model, x, target: as in `vanilla_gradient`.
        layer: the module whose map A (B, C, h, w) is explained; the last map (`forward_features`) when left out.

    Returns:
        Saliency (B, H, W) in [0, 1], enlarged to the size of the images.

    Source: Selvaraju et al., "Grad-CAM", 2017, section 3.
    """
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        maps.append(output if output.requires_grad else output.detach().requires_grad_())
        return maps[-1].clone()  # a copy, so that an in-place ReLU further on leaves the map alone

    with _with_gradients(model):
        x = x.detach().clone()
        if layer is None:
            parts = cast(_InTwoParts, model)
            maps.append(parts.forward_features(x).detach().requires_grad_())
            logits = parts.forward_head(maps[0].clone())
        else:
            handle = layer.register_forward_hook(keep)
            try:
                logits = model(x)
            finally:
                handle.remove()
        if not maps or maps[-1].ndim != 4:
            raise InputError("grad_cam needs a layer that is used and gives a feature map (B, C, h, w)")
        score = logits.gather(1, class_of(logits.detach(), target)[:, None]).sum()
        features = maps[-1]
        gradient = torch.autograd.grad(score, features)[0]
    weights = gradient.mean((2, 3), keepdim=True)
    cam = F.relu((weights * features.detach()).sum(1))  # (B, h, w)
    return _enlarged(cam, x)


def random_saliency(x: Tensor, seed: int = 0, positions: int | None = None) -> Tensor:
    """Draw maps (B, H, W) at random: what every explanation must beat.

    Args:
        x: images (B, 3, H, W).
        seed: of the draw.
        positions: a side of the map that is drawn and then enlarged as Grad-CAM's is, which makes smooth regions of it;
            each pixel by itself when left out.

    Returns:
        Saliency (B, H, W) in [0, 1].

    Raises:
        InputError: fewer than one position.

    >>> random_saliency(torch.zeros(2, 3, 8, 8), positions=4).shape
    torch.Size([2, 8, 8])
    """
    if positions is not None and positions < 1:
        raise InputError(f"positions={positions}: give 1 or more")
    generator = torch.Generator().manual_seed(seed)
    sides = x.shape[-2:] if positions is None else (positions, positions)
    maps = torch.rand(len(x), *sides, dtype=torch.float32, generator=generator).to(x.device)
    return maps if positions is None else _enlarged(maps, x)


def _enlarged(maps: Tensor, x: Tensor) -> Tensor:
    """Scale maps (B, h, w) to the size of the images and to [0, 1]."""
    return _unit(F.interpolate(maps[:, None], x.shape[-2:], mode="bilinear", align_corners=False)[:, 0])


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Compute the correlation (B,) of two maps (B, H, W) of each image; of a constant map it is 0.

    >>> correlation(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])).round(decimals=3)
    tensor([-1.], dtype=torch.float64)

    Source: Adebayo et al., "Sanity checks for saliency maps", 2018.
    """
    a, b = (x.flatten(1).double() - x.flatten(1).double().mean(1, keepdim=True) for x in (a, b))
    return F.cosine_similarity(a, b, dim=1)
