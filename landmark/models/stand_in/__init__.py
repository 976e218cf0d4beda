"""Weights that stand in for ImageNet's, in the package: trained by `landmark pretrain` on a disjoint miniature world.

packed  Tensors in 8-bit integers, one scale for each output channel, and the files of this folder.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.models.stand_in.packed import pack, stand_in_path, unpack

__all__ = ["pack", "stand_in_path", "unpack"]

__getattr__, __dir__ = lazy(__name__, __file__)
