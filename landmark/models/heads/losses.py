"""What a network learns from: losses of logits and targets, summed over a batch, in float32.

A target is a class, `NONE` for an image that shows no landmark, or `NOTHING`, which has no loss and no gradient. What
knows of no `NONE` must not be given one. A loss has no parameters: those of a margin loss are its head's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from landmark.models.heads.classifier import SCALE
from landmark.utils import distributed
from landmark.utils.errors import InputError

NOTHING, NONE = -100, -1
ANGLE, COSINE = 0.5, 0.35  # margins of ArcFace and of CosFace, as in their papers
_STEEP = 1e-7  # of a squared sine: at 0 its root has no gradient, and nearer to 1 a cosine has no digits left

Loss = Callable[[Tensor, Tensor], Tensor]


def create_loss(
    name: str, *, smoothing: float = 0.0, sizes: Sequence[int] = (), where: torch.device | str = "cpu"
) -> Loss:
    """Make a loss by name: logits (B, K) and targets (B,) → their losses, summed.

    Args:
        name: a line of `recipes.LOSSES`.
        smoothing: share of a target that is spread over all classes; none for binary cross-entropy.
        sizes: (K,) train images of each class, for margins by class size.
        where: the device of the logits.

    Raises:
        InputError: no such loss.

    >>> round(create_loss("cross_entropy")(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
    0.6931
    """
    losses: dict[str, Callable[[], Loss]] = {
        "cross_entropy": lambda: partial(cross_entropy, smoothing=smoothing),
        "uniform": lambda: partial(uniform_for_none, smoothing=smoothing),
        "bce": lambda: binary_cross_entropy,
        "bce_ranked": lambda: partial(binary_cross_entropy, ranked=True),
        "arcface": lambda: partial(arcface, margins=ANGLE, smoothing=smoothing),
        "subcenter_arcface": lambda: partial(arcface, margins=class_margins(sizes).to(where), smoothing=smoothing),
        "cosface": lambda: partial(cosface, smoothing=smoothing),
    }
    if name not in losses:
        raise InputError(f"no loss {name!r}: choose one of {', '.join(losses)}")
    return losses[name]()


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum the cross-entropy `-Σ_k t_k log p_k`, t one-hot, or smoothed: `(1 - ε) one-hot + ε / K`.

    Args:
        logits: (B, K).
        targets: (B,) classes, or `NOTHING`.
        smoothing: ε.

    >>> cross_entropy(torch.tensor([[4.0, 0.0], [9.0, 0.0]]), torch.tensor([0, NOTHING])).item() < 0.02
    True

    Source: the paper, section 5.2; Szegedy et al., "Rethinking the Inception Architecture", section 7 (smoothing).
    """
    return F.cross_entropy(logits.float(), targets, reduction="sum", label_smoothing=smoothing)


def uniform_for_none(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum the cross-entropy, its target for an image without a landmark every class alike: `-(1/K) Σ_k log p_k`.

    Args:
        logits: (B, K).
        targets: (B,) classes, `NONE` or `NOTHING`.
        smoothing: of the targets that are classes.

    >>> round(uniform_for_none(torch.zeros(1, 4), torch.tensor([NONE])).exp().item(), 4)
    4.0

    Source: Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", section 4.3.
    """
    none = targets == NONE
    spread = -F.log_softmax(logits.float(), dim=1).mean(1)  # (B,)
    known = cross_entropy(logits, targets.masked_fill(none, NOTHING), smoothing)
    return known + spread.masked_fill(~none, 0.0).sum()


def binary_cross_entropy(logits: Tensor, targets: Tensor, ranked: bool = False) -> Tensor:
    """Sum binary cross-entropies over all classes, every one of them 0 for an image without a landmark.

    Ranked, the loss of an image's most likely class counts `1 + (n - r) / n` times: n images in the batch of all
    processes, r of them more confident. So a confident wrong answer costs most, as it does in GAP.

    Args:
        logits: (B, K).
        targets: (B,) classes, `NONE` or `NOTHING`.
        ranked: weigh by rank.

    >>> logits = torch.tensor([[0.0, 0.0]])
    >>> [round(binary_cross_entropy(logits, torch.tensor([NONE]), way).item(), 4) for way in (False, True)]
    [1.3863, 2.0794]

    Source: the 2018 entry "Xception + GeM", reweighted loss function; its code takes the order of the images for their
    ranks, its text says what is done here.
    """
    logits = logits.float()
    counts = targets != NOTHING
    wanted = F.one_hot(targets.clamp(min=0), logits.shape[1]) * (targets >= 0)[:, None]  # (B, K)
    losses = F.binary_cross_entropy_with_logits(logits, wanted.float(), reduction="none")  # (B, K)
    total = losses.sum(1)
    if ranked:
        confidence, likely = logits.max(1)
        total = total + rank_weights(confidence, counts) * losses.gather(1, likely[:, None])[:, 0]
    return total.masked_fill(~counts, 0.0).sum()


@torch.no_grad()
def rank_weights(confidence: Tensor, counts: Tensor) -> Tensor:
    """Weigh images by `(n - r) / n`, r of the n images of all processes being more confident.

    Args:
        confidence: (B,).
        counts: (B,) whether an image is one of the n.

    Returns:
        (B,), 1 for the most confident one.

    >>> rank_weights(torch.tensor([0.1, 0.9, 5.0]), torch.tensor([True, True, False]))[:2]
    tensor([0.5000, 1.0000])
    """
    everyone = torch.cat(distributed.gather(confidence[counts].cpu())).to(confidence.device)  # (n,)
    above = (everyone > confidence[:, None]).sum(1)
    return (len(everyone) - above) / max(1, len(everyone))


def class_margins(sizes: Sequence[int], low: float = 0.05, high: float = 0.5) -> Tensor:
    """Give each class a margin that falls with its images n: `n^(-1/4)`, mapped onto `low` (most) to `high` (fewest).

    Classes all of one size get the middle.

    Args:
        sizes: (K,) images of each class, at least one.
        low, high: angles, radians.

    Returns:
        (K,) float32.

    >>> class_margins([1, 16, 81], low=0.0, high=1.0)
    tensor([1.0000, 0.2500, 0.0000])

    Source: Ha et al., "Google Landmark Recognition 2020 Competition Third Place Solution", section 2.2.
    """
    falling = torch.tensor(sizes, dtype=torch.float64) ** -0.25
    least, most = falling.aminmax()
    share = (falling - least) / (most - least) if most > least else torch.full_like(falling, 0.5)
    return (low + (high - low) * share).float()


def arcface(
    logits: Tensor, targets: Tensor, margins: Tensor | float, smoothing: float = 0.0, scale: float = SCALE
) -> Tensor:
    """Sum the cross-entropy of `s cos θ_k`, in which the target's angle is made larger: `s cos(θ + m)`.

    Where θ + m would pass π, `s (cos θ - m sin m)` takes its place, which goes on falling. With sub-centres, θ is the
    angle to the nearest one of the class.

    Args:
        logits: (B, K) s times the cosine, of a `CosineClassifier`.
        targets: (B,) classes, or `NOTHING`.
        margins: m, radians, or (K,) one of each class.
        smoothing: of the targets.
        scale: s.

    >>> right = torch.tensor([[1.0, 0.0]])
    >>> arcface(right, torch.tensor([0]), torch.pi / 2, scale=1.0).isclose(cross_entropy(0 * right, torch.tensor([0])),
    ...     atol=1e-3)
    tensor(True)

    Source: Deng et al., "ArcFace", equation 3; "Sub-center ArcFace", equation 2.
    """
    m = torch.as_tensor(margins, dtype=torch.float32, device=logits.device).expand(logits.shape[1])
    m = m[targets.clamp(min=0)]  # (B,)

    def turned(cosine: Tensor) -> Tensor:
        sine = (1 - cosine**2).clamp(min=_STEEP).sqrt()
        return torch.where(cosine > -m.cos(), cosine * m.cos() - sine * m.sin(), cosine - m * m.sin())

    return cross_entropy(_with_target(logits, targets, turned, scale), targets, smoothing)


def cosface(
    logits: Tensor, targets: Tensor, margin: float = COSINE, smoothing: float = 0.0, scale: float = SCALE
) -> Tensor:
    """Sum the cross-entropy of `s cos θ_k`, in which the target's cosine is made smaller: `s (cos θ - m)`.

    Args:
        logits: (B, K) s times the cosine, of a `CosineClassifier`.
        targets: (B,) classes, or `NOTHING`.
        margin: m.
        smoothing: of the targets.
        scale: s.

    >>> even = torch.tensor([[0.5, 0.0]])
    >>> cosface(even, torch.tensor([0]), 0.5, scale=1.0) == cross_entropy(0 * even, torch.tensor([0]))
    tensor(True)

    Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", equation 4.
    """
    return cross_entropy(_with_target(logits, targets, lambda cosine: cosine - margin, scale), targets, smoothing)


def _with_target(logits: Tensor, targets: Tensor, change: Callable[[Tensor], Tensor], scale: float) -> Tensor:
    """Logits (B, K) with the cosine of each target changed."""
    logits, places = logits.float(), targets.clamp(min=0)[:, None]  # (B, 1)
    cosine = logits.gather(1, places)[:, 0] / scale
    return logits.scatter(1, places, scale * change(cosine)[:, None])
