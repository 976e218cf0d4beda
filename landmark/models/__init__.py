"""Images become logits.

backbones   Feature extractors from timm, the facts of their weights, and how much of them is frozen.
folding     A network that only predicts: normalisation folded into convolutions, weights cast once.
frozen      Frozen stages of a network and the rest of it, apart.
functional  Pure tensor functions behind the layers: no state, no random numbers.
heads       What makes logits of an embedding, and what they learn from.
int8        A convolutional network in 8-bit integers: one instruction multiplies more of them than floats.
layers      The layers between the map of a backbone and its logits: a parameter, and a call into `functional`.
net         `LandmarkNet` = backbone + pooling or attention + fully connected head, and its recipes by name.
recipes     The networks by name.
stand_in    Weights that stand in for ImageNet's, in the package.
weights     Load the weights of a backbone: ImageNet's, the miniature's, or those of a file, checked.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.models.backbones import create_backbone, freeze_prefix, freeze_stage
    from landmark.models.folding import fast_model
    from landmark.models.frozen import fast_prefix
    from landmark.models.functional import (
        bilinear_sketch,
        count_sketch,
        gem,
        signed_sqrt,
        spatial_softmax,
        tensor_sketch,
    )
    from landmark.models.heads.classifier import CosineClassifier, EmbeddingNeck
    from landmark.models.heads.losses import create_loss
    from landmark.models.layers import (
        AttentionPool,
        AveragePool,
        CompactBilinearPooling,
        GeM,
        Normalise,
        RandomProjection,
        SelfAttention2d,
        Shuffle,
        SpatialAttention,
    )
    from landmark.models.net import LandmarkNet, create_model
    from landmark.models.recipes import list_models
    from landmark.models.weights import load_weights

__all__ = [
    "AttentionPool",
    "AveragePool",
    "CompactBilinearPooling",
    "CosineClassifier",
    "EmbeddingNeck",
    "GeM",
    "LandmarkNet",
    "Normalise",
    "RandomProjection",
    "SelfAttention2d",
    "Shuffle",
    "SpatialAttention",
    "bilinear_sketch",
    "count_sketch",
    "create_backbone",
    "create_loss",
    "create_model",
    "fast_model",
    "fast_prefix",
    "freeze_prefix",
    "freeze_stage",
    "gem",
    "list_models",
    "load_weights",
    "signed_sqrt",
    "spatial_softmax",
    "tensor_sketch",
]

__getattr__, __dir__ = lazy(__name__, __file__)
