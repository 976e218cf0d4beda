"""Signs of a landmark joined into one answer.

crowd     What the test set as a whole tells of one query: its company, and answers that are given too often.
ensemble  Several systems as one: embeddings joined, answers blended, weights fitted.
rule      The rule of a search: from neighbours and inliers to an answer and how sure it is.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.retrieval.fusion.crowd import company_score, overuse
    from landmark.retrieval.fusion.ensemble import blend_answers, fit_weights, join_vectors
    from landmark.retrieval.fusion.rule import Verdict, decide

__all__ = ["Verdict", "blend_answers", "company_score", "decide", "fit_weights", "join_vectors", "overuse"]

__getattr__, __dir__ = lazy(__name__, __file__)
