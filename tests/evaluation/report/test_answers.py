"""The table of answers, and what it refuses."""

import numpy as np
import pytest

from landmark.evaluation import metrics
from landmark.evaluation.report.answers import Answers, tabulate
from landmark.evaluation.report.hits import Ranking, gap
from landmark.utils.errors import InputError

SOLUTION = {"b": [1, 5], "a": [2], "d": [], "c": [9]}


def test_rows_by_hand():
    """Fails when rows keep the order of the solution, or a missing answer becomes a wrong one."""
    table = tabulate({"b": (5, 0.4), "c": (1, 0.9), "a": None}, SOLUTION, [1, 2, 5], groups={"a": "small"})
    assert table.ids.tolist() == ["a", "b", "c", "d"] and table.group.tolist() == ["small", "", "", ""]
    assert table.correct.tolist() == [False, True, False, False] and table.kind.tolist() == [0, 0, 1, 2]
    assert table.answered.tolist() == [False, True, True, False] and table.ceiling() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("predictions", "solution", "words"),
    [({"a": (1, float("nan"))}, {"a": [1]}, "s.csv: the score is NaN.*'a'"), ({"x": (1, 0.5)}, {"a": [1]}, "'x'"),
     ([("a", 1, 0.5), ("a", 1, 0.4)], {"a": [1]}, "more than one"), ({}, {"a": []}, "no image of the solution"),
     ({}, {}, "no image of the solution")],
)  # fmt: skip
def test_what_cannot_be_scored_is_one_line(predictions, solution, words):
    """Fails when NaN, an id twice or a split without a landmark gets a traceback, or a score of zero."""
    with pytest.raises(InputError, match=words) as caught:
        tabulate(predictions, solution, [1], name="s.csv")
    assert "\n" not in str(caught.value)


def test_impossible_columns_are_refused():
    """Fails when columns of two tables are mixed, or a distractor is answered rightly."""
    for columns in (([0.1], [True, False], [0]), ([0.1], [True], [2]), ([np.nan], [True], [0]), ([0.1], [True], [3])):
        with pytest.raises(InputError):
            Answers(*columns)


def test_no_query_and_one_query():
    """Fails when GAP without a query is a ZeroDivisionError or zero, or one query is not enough."""
    none, one = Answers([0.5], [False], [2]), Answers([0.5], [True], [0])
    assert np.isnan(none.ceiling()) and np.isnan(gap(Ranking(none).hits(np.ones((1, 1), int)))[0])
    assert one.ceiling() == 1 == gap(Ranking(one).hits(np.ones((1, 1), int)))[0]


def test_gap_of_a_table_is_gap():
    """Fails when ties rank in another order than in the score of a submission."""
    rng = np.random.default_rng(2)
    solution = {f"{i:03}": [int(rng.integers(4))] if rng.random() < 0.6 else [] for i in range(80)}
    answers = {i: (int(rng.integers(4)), float(rng.integers(6))) for i in solution if rng.random() < 0.9}
    found = Ranking(tabulate(answers, solution, range(4))).hits(np.ones((1, 80), int))
    assert gap(found)[0] == pytest.approx(metrics.global_average_precision(answers, solution), abs=1e-12)
