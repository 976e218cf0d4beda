"""Images become vectors, and the nearest ones answer.

config      Settings of a search. Nothing here needs torch or NumPy, so that a wrong one is refused at once.
embed       Vectors of images by a network, stored on disk so that only new images are embedded.
foundation  Frozen networks of timm by name, DINOv2 among them, in the place of one of this package.
fusion      Signs of a landmark joined into one answer: the rule, the test set as a whole, ensembles.
gallery     Photographs to search with, and the folder of landmarks to search in.
local       Local features: points of an image that are found again in another.
recognise   Photographs in, answers out: neighbours, local features, a vote, and whether it is any landmark.
scale       Search in more vectors than one likes to wait for: Faiss, a search that can be stopped.
sheet       What a search found, for people: lines of text, JSON, a submission, a sheet of pictures.
vectors     Vectors compared: likeness, and the forms in which a cosine tells more.
vote        What the neighbours say: soft votes, expanded queries. NumPy only.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.evaluation.neighbours import Neighbours, find_nearest, unit
    from landmark.retrieval.config import SearchConfig
    from landmark.retrieval.embed import Embedder, Embeddings, create_embedder, embed_images, search_embedder
    from landmark.retrieval.foundation import FoundationNet
    from landmark.retrieval.fusion.crowd import company_score, overuse
    from landmark.retrieval.fusion.ensemble import blend_answers, fit_weights, join_vectors
    from landmark.retrieval.fusion.rule import decide
    from landmark.retrieval.gallery import Gallery, Photos, open_gallery, open_photos, open_test
    from landmark.retrieval.local.features import create_local
    from landmark.retrieval.recognise import Findings, Searcher
    from landmark.retrieval.scale.approximate import FaissIndex, has_faiss
    from landmark.retrieval.scale.resumable import search_in_blocks
    from landmark.retrieval.sheet import draw_sheet, write_answers
    from landmark.retrieval.vectors.likeness import (
        centre_similarity,
        class_centres,
        mean_likeness,
        neighbour_similarity,
        penalised_similarity,
    )
    from landmark.retrieval.vectors.whitening import Whitening, WithinWhitening
    from landmark.retrieval.vote import Votes, expand_queries, knn_vote

__all__ = [
    "Embedder",
    "Embeddings",
    "FaissIndex",
    "Findings",
    "FoundationNet",
    "Gallery",
    "Neighbours",
    "Photos",
    "SearchConfig",
    "Searcher",
    "Votes",
    "Whitening",
    "WithinWhitening",
    "blend_answers",
    "centre_similarity",
    "class_centres",
    "company_score",
    "create_embedder",
    "create_local",
    "decide",
    "draw_sheet",
    "embed_images",
    "expand_queries",
    "find_nearest",
    "fit_weights",
    "has_faiss",
    "join_vectors",
    "knn_vote",
    "mean_likeness",
    "neighbour_similarity",
    "open_gallery",
    "open_photos",
    "open_test",
    "overuse",
    "penalised_similarity",
    "search_embedder",
    "search_in_blocks",
    "unit",
    "write_answers",
]

__getattr__, __dir__ = lazy(__name__, __file__)
