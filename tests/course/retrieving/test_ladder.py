"""The ladder against the plain metric; contributions; parts chosen on dev worlds."""

import numpy as np
import pytest

from landmark.course.answers import truth_of
from landmark.course.retrieving import ladder
from landmark.course.retrieving.answering import answer
from landmark.course.retrieving.material import Material
from landmark.evaluation.metrics import global_average_precision
from landmark.evaluation.open_world import gap_against_distractors
from landmark.evaluation.report.answers import Answers
from landmark.utils.errors import InputError


def test_rows_are_the_metric(course):
    """Fails when a part is added in another order, seeds are summed, or a difference is to another row."""
    run, data, _ = course
    table = ladder.recipe_ladder([run, run], data, ["nearest", "vote"], n=20)
    truth = truth_of(data)
    expected = [global_average_precision(answer(Material([run], data), parts).mapping(), truth)
                for parts in ("paper", ["nearest"], ["nearest", "vote"])]  # fmt: skip
    assert table.index.tolist() == ["paper", "+ nearest", "+ vote"]
    np.testing.assert_allclose(table["gap"], expected)
    np.testing.assert_allclose(table["difference"][1:], np.diff(expected), atol=1e-12)
    assert (table["low"] <= table["gap"]).all() and (table["seconds"] > 0).all()


def test_a_share_of_distractors(course):
    """Fails when the share reaches the value but not the metric."""
    run, data, _ = course
    mapping = answer(Material([run], data), "nearest").mapping()
    value = ladder.open_gap(ladder.table_of(answer(Material([run], data), "nearest"), truth_of(data), []), 0.9)
    assert value == pytest.approx(gap_against_distractors(mapping, truth_of(data), [0.9])[0])


def test_pairs_are_paired():
    """Fails when two systems are resampled apart: their difference is 0 in every resample."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 60)
    one = Answers(rng.normal(size=60), (rng.random(60) < 0.5) & (kind < 2), kind)
    table = ladder.paired_table({"a": [one], "b": [one]}, None, 50, 0)
    assert table.loc["b", ["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    assert table.loc["b", "low"] < table.loc["b", "gap"] < table.loc["b", "high"]


def test_a_twin_contributes_nothing(course):
    """Fails when the system that is left out is another, or the weights move with it."""
    run, data, _ = course
    table = ladder.contributions([run, run], data, "nearest", n=10)
    assert table["contribution"].abs().max() < 1e-6
    with pytest.raises(InputError, match="1 system"):
        ladder.contributions([run], data)


def test_parts_are_taken_while_they_help(course, monkeypatch):
    """Fails when a part that harms is taken, or the search goes on after none helps."""
    run, data, _ = course
    gains = {"vote": 0.2, "margin": -0.1, "penalty": 0.1}
    monkeypatch.setattr(ladder, "answer", lambda material, parts: parts)
    monkeypatch.setattr(ladder, "table_of", lambda parts, *rest: parts)
    monkeypatch.setattr(ladder, "open_gap", lambda parts, share: sum(gains.get(part, 0) for part in parts))
    parts, tried = ladder.fit_recipe([Material([run], data)], list(gains))
    assert parts == ("nearest", "vote", "penalty")
    assert tried.loc[tried["taken"], "part"].tolist() == ["vote", "penalty"] and len(tried) == 6
    with pytest.raises(InputError, match="no part 'luck'"):
        ladder.fit_recipe([Material([run], data)], ["luck"])
    with pytest.raises(InputError, match="0 dev worlds"):
        ladder.fit_recipe([])


def test_embedders_need_labels(course):
    """Fails when the label set of no run is looked for in a traceback."""
    run, data, _ = course
    from landmark.retrieval.embed import Embedder

    with pytest.raises(InputError, match="give labels"):
        ladder.recipe_ladder([Embedder(run.model(), 32)], data)
    table = ladder.recipe_ladder([Embedder(run.model(), 32)], data, ["nearest"], labels=run.labels.landmark_ids, n=5)
    assert table.index.tolist() == ["+ nearest"]
