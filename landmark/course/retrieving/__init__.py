"""Retrieval in the course: recipes fitted on dev worlds, the ladder of their parts, a query on its way.

answering  A recipe at work: from what runs know of a test set to its answers, and to a submission.
bench      How fast neighbours are found, how much memory that takes and how many are the right ones.
fitting    Settings of a search fitted on dev worlds.
ladder     What each part of a recipe adds to open GAP, and what each system adds to an ensemble.
material   What recipes are made of: the vectors, answers and local features of runs on a data set.
recipes    Named lists of parts, each a step of how a test set is answered, and the weights of the parts.
searchbox  A box that takes photographs from a reader's own disk and answers them below.
systems    The named systems side by side: closed, open, among distractors, and their time.
walk       One query on its way through every stage of a search.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.course.retrieving.answering import Answered, answer, submit_recipe
    from landmark.course.retrieving.bench import bench_retrieval
    from landmark.course.retrieving.fitting import DevSearch, fit_search
    from landmark.course.retrieving.ladder import (
        contributions,
        fit_recipe,
        open_gap,
        paired_table,
        recipe_ladder,
        table_of,
    )
    from landmark.course.retrieving.material import Material, sample_queries
    from landmark.course.retrieving.recipes import PARTS, RECIPES, PartWeights, parts_of
    from landmark.course.retrieving.searchbox import SearchBox
    from landmark.course.retrieving.systems import systems_table
    from landmark.course.retrieving.walk import Walk

__all__ = [
    "Answered",
    "DevSearch",
    "Material",
    "PARTS",
    "PartWeights",
    "RECIPES",
    "SearchBox",
    "Walk",
    "answer",
    "bench_retrieval",
    "contributions",
    "fit_recipe",
    "fit_search",
    "open_gap",
    "paired_table",
    "parts_of",
    "recipe_ladder",
    "sample_queries",
    "submit_recipe",
    "systems_table",
    "table_of",
]

__getattr__, __dir__ = lazy(__name__, __file__)
