"""Vectors compared: likeness, and the forms in which a cosine tells more.

likeness   How alike an image is to landmarks, and to what is none: one number for each image. NumPy only.
space      The vectors of an index as a search compares them: as they are, or whitened within the landmarks.
whitening  Vectors brought to a form in which cosines tell more: whitened as a whole, or within the landmarks.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.retrieval.vectors.likeness import (
        centre_similarity,
        class_centres,
        mean_likeness,
        neighbour_similarity,
        pair_likeness,
        penalised_similarity,
    )
    from landmark.retrieval.vectors.space import Space
    from landmark.retrieval.vectors.whitening import Whitening, WithinWhitening

__all__ = [
    "Space",
    "Whitening",
    "WithinWhitening",
    "centre_similarity",
    "class_centres",
    "mean_likeness",
    "neighbour_similarity",
    "pair_likeness",
    "penalised_similarity",
]

__getattr__, __dir__ = lazy(__name__, __file__)
