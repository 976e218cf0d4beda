"""Download, check and shrink a data set.

check        Check a data folder: broken tables, bad images, and images that a test shares with what is trained on.
config       What the command shows as defaults of preparing data: plain values that load at once.
download     Fetching what is missing of a plan: sizes first, then a question, then several files at a time.
duplicates   Find photographs that are alike, by their perceptual hashes.
inspection   Look at every image file of a split once: a small record of each, no pixels.
mirror       The public servers in small: their layout made of a miniature world, and a server that offers it.
shrink       A data set made small: every image reduced, in TARs of the same layout.
sources      What there is to fetch: Google Landmarks v2, subsets of it, ImageNet weights.
subsets      Subsets of Google Landmarks v2, each a folder in its layout.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.prepare.check import HealthReport, check_data
    from landmark.prepare.download import fetch_data
    from landmark.prepare.duplicates import (
        duplicate_groups,
        identical_files,
        near_pairs,
        pairs_between,
        perceptual_hash,
    )
    from landmark.prepare.inspection import inspect_split
    from landmark.prepare.mirror import make_mirror, serve
    from landmark.prepare.shrink import shrink_data
    from landmark.prepare.sources import gldv2, gldv2_clean, weights
    from landmark.prepare.subsets.gld23k import fetch_gld23k
    from landmark.prepare.subsets.landmarks50 import unpack

__all__ = [
    "HealthReport",
    "check_data",
    "duplicate_groups",
    "fetch_data",
    "fetch_gld23k",
    "gldv2",
    "gldv2_clean",
    "identical_files",
    "inspect_split",
    "make_mirror",
    "near_pairs",
    "pairs_between",
    "perceptual_hash",
    "serve",
    "shrink_data",
    "unpack",
    "weights",
]

__getattr__, __dir__ = lazy(__name__, __file__)
