"""Which pixels speak for a class: gradients, Grad-CAM, and a score that checks the maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landmark.utils.errors import InputError


class _InTwoParts(Protocol):
    """What `LandmarkNet` and the networks of timm have."""

    def forward_features(self, x: Tensor) -> Tensor: ...

    def forward_head(self, x: Tensor) -> Tensor: ...


@contextlib.contextmanager
def _explained(model: nn.Module) -> Iterator[None]:
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
    """Do as `_explained`, and let gradients be taken of what is computed inside, also under `torch.inference_mode`."""
    if any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
        raise InputError("a network made under torch.inference_mode has no gradients: make it outside")
    with torch.inference_mode(False), torch.enable_grad(), _explained(model):
        yield


def _target(logits: Tensor, target: Tensor | int | None) -> Tensor:
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


def _gradient(model: nn.Module, x: Tensor, target: Tensor | int | None) -> tuple[Tensor, Tensor]:
    x = x.detach().clone().requires_grad_()
    logits = model(x)
    chosen = _target(logits.detach(), target)
    score = logits.gather(1, chosen[:, None]).sum()
    return torch.autograd.grad(score, x)[0], chosen


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
        return _unit(_gradient(model, x, target)[0].abs().amax(1))


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
            chosen = _target(model(x), target)
        for _ in range(samples):
            copy = x + sigma * torch.randn(x.shape, dtype=torch.float32, generator=generator).to(x)
            total += _gradient(model, copy, chosen)[0].abs().amax(1)
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
        score = logits.gather(1, _target(logits.detach(), target)[:, None]).sum()
        features = maps[-1]
        gradient = torch.autograd.grad(score, features)[0]
    weights = gradient.mean((2, 3), keepdim=True)
    cam = F.relu((weights * features.detach()).sum(1, keepdim=True))  # (B, 1, h, w)
    return _unit(F.interpolate(cam, x.shape[-2:], mode="bilinear", align_corners=False)[:, 0])


def random_saliency(x: Tensor, seed: int = 0) -> Tensor:
    """Draw maps (B, H, W) at random: what every explanation must beat."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(x), *x.shape[-2:], dtype=torch.float32, generator=generator).to(x.device)


def blurred(x: Tensor) -> Tensor:
    """Remove the detail of images, for the place of deleted pixels: three box blurs, a quarter of the side wide."""
    reach = max(x.shape[-1] // 8, 1)
    for _ in range(3):
        x = F.avg_pool2d(F.pad(x, (reach,) * 4, mode="replicate"), 2 * reach + 1, stride=1)
    return x


@torch.no_grad()
def deletion_curve(
    model: nn.Module, x: Tensor, saliency: Tensor, target: Tensor | int | None = None, steps: int = 16
) -> Tensor:
    """Compute the class's probability as the most salient pixels are blurred away, first none of them, at last all.

    Args:
        model, x, target: as in `vanilla_gradient`.
        saliency: (B, H, W); only the order of the pixels matters.
        steps: equal shares of the pixels.

    Returns:
        Probabilities (B, steps + 1).

    Raises:
        InputError: saliency of another size, or not finite.

    Source: Petsiuk, Das & Saenko, "RISE", 2018 (deletion metric).
    """
    if saliency.shape != (len(x), *x.shape[-2:]) or not torch.isfinite(saliency).all():
        raise InputError(f"saliency must be finite and of shape {(len(x), *x.shape[-2:])}, got {tuple(saliency.shape)}")
    if steps < 1:
        raise InputError(f"steps={steps}: give 1 or more")
    order = saliency.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1], device=x.device).expand_as(order))
    rank = rank.view_as(saliency)[:, None]  # (B, 1, H, W)
    soft, pixels, curve = blurred(x), order.shape[1], []
    with _explained(model):
        chosen = None
        for step in range(steps + 1):
            logits = model(torch.where(rank < pixels * step // steps, soft, x)).float()
            chosen = _target(logits, target) if chosen is None else chosen
            curve.append(logits.softmax(1).gather(1, chosen[:, None])[:, 0])
    return torch.stack(curve, 1)


def deletion_score(
    model: nn.Module, x: Tensor, saliency: Tensor, target: Tensor | int | None = None, steps: int = 16
) -> Tensor:
    """Compute the area under `deletion_curve` (B,): the lower, the sooner the map's first pixels hid the class."""
    return torch.trapezoid(deletion_curve(model, x, saliency, target, steps), dx=1 / steps)
