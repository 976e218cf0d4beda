"""A number that checks a map: how soon the class goes when the map's first pixels are blurred away."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landmark.evaluation.saliency.maps import class_of, explained
from landmark.models.folding import portions
from landmark.utils.errors import InputError


def blurred(x: Tensor) -> Tensor:
    """Remove the detail of images, for the place of deleted pixels: three box blurs, a quarter of the side wide."""
    reach = max(x.shape[-1] // 8, 1)
    for _ in range(3):
        x = F.pad(x, (reach,) * 4, mode="replicate")
        for kernel in ((2 * reach + 1, 1), (1, 2 * reach + 1)):  # a box is a column of rows: k + k sums and not k · k
            x = F.avg_pool2d(x, kernel, stride=1)
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
    x = x.contiguous(memory_format=torch.channels_last)  # a CPU is faster so
    soft, pixels, curve = blurred(x), order.shape[1], []
    with explained(model):
        chosen = None
        for step in range(steps + 1):
            shown = torch.where(rank < pixels * step // steps, soft, x)
            logits = torch.cat([model(part).float() for part in portions(shown)])
            chosen = class_of(logits, target) if chosen is None else chosen
            curve.append(logits.softmax(1).gather(1, chosen[:, None])[:, 0])
    return torch.stack(curve, 1)


def deletion_score(
    model: nn.Module, x: Tensor, saliency: Tensor, target: Tensor | int | None = None, steps: int = 16
) -> Tensor:
    """Compute the area under `deletion_curve` (B,): the lower, the sooner the map's first pixels hid the class."""
    return torch.trapezoid(deletion_curve(model, x, saliency, target, steps), dx=1 / steps)


def deletion_table(curves: Mapping[str, Tensor], rival: str, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Compare methods by the area under their deletion curves, picture by picture against a rival.

    Args:
        curves: what `deletion_curve` gave for each method, of the same images.
        rival: the method from which the others are subtracted.
        resamples: draws of the images for the 95 % intervals.
        seed: of the draws.

    Returns:
        One row for each method: `score` (mean area, lower is better) with `low` and `high`, and its `difference` to the
        rival's with `difference_low` and `difference_high`: below 0 the method hides the class sooner.

    Raises:
        InputError: no such rival, or curves of different images.

    >>> curves = {"map": torch.tensor([[1.0, 0.0]] * 3), "random": torch.ones(3, 2)}
    >>> deletion_table(curves, "random")["difference"].tolist()
    [-0.5, 0.0]
    """
    if rival not in curves:
        raise InputError(f"no curves of {rival!r}: there are {', '.join(curves)}")
    areas = {k: torch.trapezoid(v.double(), dx=1 / (v.shape[1] - 1)).cpu().numpy() for k, v in curves.items()}  # (B,)
    count = len(areas[rival])
    if any(len(area) != count for area in areas.values()):
        raise InputError("the curves are of different images: compute them of the same")
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    rows = {}
    for name, area in areas.items():
        rows[name] = [*_mean_between(area, drawn), *_mean_between(area - areas[rival], drawn)]
    columns = ["score", "low", "high", "difference", "difference_low", "difference_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _mean_between(values: np.ndarray, drawn: np.ndarray) -> tuple[float, float, float]:
    """Compute a mean with its 95 % interval over draws of the images."""
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)
