"""Judge what was trained: evaluate it, choose a rule of confidence elsewhere, grade a reader's answers.

evaluate  Evaluate finished runs and submissions on a data set.
fitted    Rules of confidence that are fitted: on a run's train images, on images without a landmark, on answers.
grade     Grade a submission for a hidden world against the models of the course.
queries   Other test sets of the course's world: to choose on, and to be graded on.
rules     The table of rules: which score tells right answers from the others, chosen on dev worlds.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.course.judging.evaluate import evaluate_runs
    from landmark.course.judging.fitted import FittedRules, fit_rules
    from landmark.course.judging.grade import Grade, grade_submission
    from landmark.course.judging.queries import dev_worlds, hidden_truth, hidden_world
    from landmark.course.judging.rules import RulesTable, rules_table

__all__ = [
    "FittedRules",
    "Grade",
    "RulesTable",
    "dev_worlds",
    "evaluate_runs",
    "fit_rules",
    "grade_submission",
    "hidden_truth",
    "hidden_world",
    "rules_table",
]

__getattr__, __dir__ = lazy(__name__, __file__)
