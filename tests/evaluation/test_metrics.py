"""GAP against a plain loop, cases worked by hand, and properties that hold for any ranking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from landmark.evaluation import metrics


def loop_gap(predictions, solution, ignore=False):
    """The definition, word for word."""
    rows = [(i, *p) for i, p in predictions.items() if p is not None and (solution[i] or not ignore)]
    rows.sort(key=lambda r: (-r[2], r[0], r[1]))
    total, hits = 0.0, 0
    for rank, (i, landmark, _) in enumerate(rows, 1):
        if landmark in solution[i]:
            hits += 1
            total += hits / rank
    return total / sum(1 for v in solution.values() if v)


def worlds():
    image = st.tuples(
        st.lists(st.integers(0, 3), max_size=2), st.none() | st.tuples(st.integers(0, 3), st.integers(0, 4))
    )
    return st.lists(image, min_size=1, max_size=25).map(
        lambda rows: ({f"{i:02}": p for i, (_, p) in enumerate(rows)}, {f"{i:02}": s for i, (s, _) in enumerate(rows)})
    )


@settings(max_examples=150, deadline=None)
@given(worlds(), st.booleans())
def test_gap_is_the_plain_loop(world, ignore):
    """Fails on a wrong M, a wrong tie order, or ranks that count images without a prediction."""
    predictions, solution = world
    if not any(solution.values()):
        with pytest.raises(ValueError, match="landmark"):
            metrics.global_average_precision(predictions, solution)
        return
    found = metrics.global_average_precision(predictions, solution, ignore_distractors=ignore)
    assert found == pytest.approx(loop_gap(predictions, solution, ignore), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(worlds())
def test_gap_knows_only_the_order_of_scores(world):
    """Fails when scores are summed or clipped, or when the order of the input matters."""
    predictions, solution = world
    if not any(solution.values()):
        return
    other = {i: p and (p[0], float(np.exp(3 * p[1]) - 7)) for i, p in reversed(predictions.items())}
    assert metrics.global_average_precision(other, solution) == metrics.global_average_precision(predictions, solution)


def test_by_hand():
    """Fails when a distractor takes no rank: (1/1 + 2/3) / 3, and without it (1/1 + 2/2) / 3."""
    solution = {"a": [1], "b": [2, 5], "c": [3], "d": []}
    answers = {"a": (1, 0.9), "d": (7, 0.8), "b": (5, 0.7), "c": (5, 0.2)}
    assert metrics.global_average_precision(answers, solution) == pytest.approx((1 + 2 / 3) / 3)
    assert metrics.global_average_precision(answers, solution, ignore_distractors=True) == pytest.approx(2 / 3)
    assert metrics.top1_accuracy(answers, solution) == pytest.approx(2 / 3)
    steps = metrics.gap_steps(answers, solution)
    assert steps["id"].tolist() == ["a", "d", "b", "c"] and steps["gap"][-1] == pytest.approx((1 + 2 / 3) / 3)


@pytest.mark.parametrize(
    ("predictions", "word"),
    [({"x": (1, 0.5)}, "x"), ({"a": (1, float("nan"))}, "NaN"), ([("a", 1, 0.5), ("a", 1, 0.4)], "a"), ({"a": (1.5, 0.5)}, "a"),
     ({"a": ("1", 0.5)}, "a"), ({"a": 3}, "a")],
)  # fmt: skip
def test_bad_predictions_are_refused(predictions, word):
    """Fails when an unknown id, a NaN, an id twice or a label that is no integer is dropped in silence."""
    with pytest.raises(ValueError, match=word):
        metrics.global_average_precision(predictions, {"a": [1]})


def test_auroc_is_that_of_scikit_learn_and_leaves_its_input_alone():
    """Fails on ties counted whole, or on a sort in the caller's array."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 40).astype(float), rng.integers(0, 4, 30).astype(float)
    b.setflags(write=False)
    assert metrics.auroc(a, b) == pytest.approx(roc_auc_score([1] * 40 + [0] * 30, np.concatenate([a, b])))


def test_mean_average_precision_by_hand():
    """Fails when the precision is divided by k instead of min(m, k): (1/1 + 2/3) / 2."""
    assert metrics.mean_average_precision({"q": ["a", "x", "b"]}, {"q": {"a", "b"}}, k=3) == pytest.approx(
        (1 + 2 / 3) / 2
    )
