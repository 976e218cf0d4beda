"""Subsets of Google Landmarks v2, each a folder in its layout.

gld23k       203 landmarks with a real long tail, whose images are picked out of GLDv2's train TARs.
landmarks50  The course-size subset of 50 landmarks: its ZIP becomes a folder in the GLDv2 layout.
layout       What subsets share: tables that are never written over another data set's, and their credits.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.prepare.subsets.gld23k import fetch_gld23k
    from landmark.prepare.subsets.landmarks50 import unpack

__all__ = ["fetch_gld23k", "unpack"]

__getattr__, __dir__ = lazy(__name__, __file__)
