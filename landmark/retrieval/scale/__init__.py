"""Search in more vectors than one likes to wait for.

approximate  Faiss as another way to find neighbours, where it is installed.
resumable    A long search that can be stopped: blocks of queries, each stored when it is done.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.retrieval.scale.approximate import FaissIndex, has_faiss
    from landmark.retrieval.scale.resumable import search_in_blocks

__all__ = ["FaissIndex", "has_faiss", "search_in_blocks"]

__getattr__, __dir__ = lazy(__name__, __file__)
