"""What makes logits of an embedding, and what they learn from.

classifier  An embedding neck, if there is one, and a classifier.
losses      Losses of logits and targets, summed over a batch, in float32.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.models.heads.classifier import CosineClassifier, EmbeddingNeck
    from landmark.models.heads.losses import (
        arcface,
        binary_cross_entropy,
        class_margins,
        cosface,
        create_loss,
        cross_entropy,
        uniform_for_none,
    )

__all__ = [
    "CosineClassifier",
    "EmbeddingNeck",
    "arcface",
    "binary_cross_entropy",
    "class_margins",
    "cosface",
    "create_loss",
    "cross_entropy",
    "uniform_for_none",
]

__getattr__, __dir__ = lazy(__name__, __file__)
