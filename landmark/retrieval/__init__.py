"""Images become vectors, and the nearest ones answer.

embed      Vectors of images by a network, kept on disk so that only new images are embedded.
search     Exact nearest neighbours by blocked matrix products. NumPy only.
vote       What the neighbours say: soft votes, class centres, expanded queries. NumPy only.
whitening  Vectors whose numbers are uncorrelated and of one size, by principal components.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.retrieval.embed import Embedder, Embeddings, create_embedder, embed_images
    from landmark.retrieval.search import Neighbours, find_nearest, unit
    from landmark.retrieval.vote import Votes, expand_queries, knn_vote
    from landmark.retrieval.whitening import Whitening

__all__ = [
    "Embedder",
    "Embeddings",
    "Neighbours",
    "Votes",
    "Whitening",
    "create_embedder",
    "embed_images",
    "expand_queries",
    "find_nearest",
    "knn_vote",
    "unit",
]

__getattr__, __dir__ = lazy(__name__, __file__)
