"""Which pixels does a network answer from, and who checks the map?

deletion  A number that checks a map: how soon the class goes when the map's first pixels are blurred away.
maps      Which pixels speak for a class: gradients and Grad-CAM, and the random maps that they must beat.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.evaluation.saliency.deletion import blurred, deletion_curve, deletion_score, deletion_table
    from landmark.evaluation.saliency.maps import correlation, grad_cam, random_saliency, smooth_grad, vanilla_gradient

__all__ = [
    "blurred",
    "correlation",
    "deletion_curve",
    "deletion_score",
    "deletion_table",
    "grad_cam",
    "random_saliency",
    "smooth_grad",
    "vanilla_gradient",
]

__getattr__, __dir__ = lazy(__name__, __file__)
