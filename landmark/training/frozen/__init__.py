"""What frozen stages make of images, computed once for all runs.

basis   All that the maps of frozen stages depend on, beside the images.
cache   The folders of maps: who uses them, how much they take, which go first.
maps    A dataset of maps in the place of images.
pieces  Files with the maps of some images each.
uses    A network with frozen stages learns and answers, from kept maps where it can.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.training.frozen.maps import FrozenMaps

__all__ = ["FrozenMaps"]

__getattr__, __dir__ = lazy(__name__, __file__)
