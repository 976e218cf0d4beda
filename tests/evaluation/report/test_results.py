"""The report as text."""

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.summary import evaluate


def test_lines_tell_each_score_and_pair():
    """Fails when a run, an interval or the difference is missing, or a right answer outside the label set is hidden."""
    table = Answers([0.9, 0.8, 0.1, 0.7], [True, False, True, False], [0, 0, 1, 2])
    text = "\n".join(evaluate({"a": table, "b": table}, n=5).lines())
    for words in ("2 known, 1 unknown, 1 distractor", "GAP over 0.667", "\na\n", "\nb\n", "gap_private", "not defined",
                  "a − b: +0.0000  (+0.0000 to +0.0000)", "a: 1 right answers are outside"):  # fmt: skip
        assert words in text, words
