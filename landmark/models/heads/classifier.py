"""What makes logits of a pooled vector, by name: an embedding neck, if there is one, and a classifier."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landmark.models.layers import Dropout

SCALE = 45.0  # of the cosines of a classifier, as in the winning entry of 2020
CENTRES = 3  # of each class, where it has sub-centres
HIDDEN = 512  # numbers of the hidden layer, and of the embedding that a neck makes


class EmbeddingNeck(nn.Sequential):
    """Make an embedding of a pooled vector, Linear → BatchNorm → PReLU: (B, D) → (B, `size`).

    Source: the winning entry of the 2020 landmark recognition competition; Deng et al., "ArcFace", section 3.2.
    """

    def __init__(self, features: int, size: int = HIDDEN):
        super().__init__(nn.Linear(features, size), nn.BatchNorm1d(size), nn.PReLU())


class CosineClassifier(nn.Module):
    """Compare embeddings with a vector of each class: `s cos(x, w_k)`, or with the nearest of several; (B, D) → (B, K).

    Computed in float32 in any case: a margin loss takes the cosine back out of these logits.

    Args:
        features: D.
        classes: K.
        centres: of each class, its sub-centres.
        scale: s.

    >>> head = CosineClassifier(2, 1, scale=10.0)
    >>> _ = head.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> head(torch.tensor([[5.0, 0.0]])).round()  # cos = 3 / 5
    tensor([[6.]], grad_fn=<RoundBackward0>)

    Source: Deng et al., "ArcFace", section 3.1; "Sub-center ArcFace", section 3.2.
    """

    def __init__(self, features: int, classes: int, centres: int = 1, scale: float = SCALE):
        super().__init__()
        shape = (classes, features) if centres == 1 else (classes, centres, features)
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(shape) / features**0.5)  # length about 1, so that Adam can turn them

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits."""
        with torch.autocast(x.device.type, enabled=False):
            centres = F.normalize(self.weight.float(), dim=-1)
            cosines = F.normalize(x.float(), dim=1) @ centres.flatten(0, -2).T
        return self.scale * cosines.view(len(x), len(centres), -1).amax(2)


# head: the layers from a pooled vector (B, D) to the embedding, and those from there to logits (B, K)
HEAD_LAYERS: dict[str, Callable[[int, int], tuple[list[nn.Module], nn.Module]]] = {
    # A norm first: embeddings of the recipes differ in scale by 10^4, and one learning rate must fit them all
    "mlp": lambda d, k: ([], nn.Sequential(nn.LayerNorm(d), *_hidden(d, k))),
    "mlp_plain": lambda d, k: ([], nn.Sequential(*_hidden(d, k))),
    "neck": lambda d, k: ([EmbeddingNeck(d)], nn.Linear(HIDDEN, k)),
    "cosine": lambda d, k: ([EmbeddingNeck(d)], CosineClassifier(HIDDEN, k)),
    "subcenter": lambda d, k: ([EmbeddingNeck(d)], CosineClassifier(HIDDEN, k, CENTRES)),
}


def _hidden(features: int, classes: int) -> list[nn.Module]:
    return [nn.Linear(features, HIDDEN), nn.ReLU(), Dropout(0.2), nn.Linear(HIDDEN, classes)]


def build_head(head: str, features: int, classes: int) -> tuple[list[nn.Module], nn.Module, int]:
    """Build a head.

    Args:
        head: a line of `recipes.HEADS`.
        features: D of the pooled vector.
        classes: K.

    Returns:
        The layers from a pooled vector to the embedding, none where that is the vector itself; those from there to
        logits; the size of the embedding.

    >>> build_head("cosine", 2048, 3)[2]
    512
    """
    neck, classifier = HEAD_LAYERS[head](features, classes)
    return neck, classifier, HIDDEN if neck else features
