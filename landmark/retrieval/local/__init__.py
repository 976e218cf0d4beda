"""Local features: points of an image that are found again in another, and whether they lie as one scene would.

features  Points and descriptors of a picture: SIFT, XFeat, DELF.
matching  Which points of two pictures belong together, and which of these lie as one scene would.
rerank    Neighbours in a new order, by what their local features say.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.retrieval.local.features import Delf, Features, Sift, XFeat, create_local
    from landmark.retrieval.local.matching import fit_inliers, mutual_pairs, ratio_pairs
    from landmark.retrieval.local.rerank import fuse_inliers, order_anew

__all__ = [
    "Delf",
    "Features",
    "Sift",
    "XFeat",
    "create_local",
    "fit_inliers",
    "fuse_inliers",
    "mutual_pairs",
    "order_anew",
    "ratio_pairs",
]

__getattr__, __dir__ = lazy(__name__, __file__)
