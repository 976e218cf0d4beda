"""The whole evaluation, against the single functions and the public ones."""

import json

import numpy as np
import pytest

from landmark.evaluation import metrics, open_world
from landmark.evaluation.report.answers import Answers, tabulate
from landmark.evaluation.report.summary import answer_only_if, calibrate, evaluate
from landmark.utils.errors import InputError
from tests.evaluation.report.tables import table

LABELS = [0, 1, 2]


@pytest.fixture(scope="module")
def systems():
    """A solution and the answers of two systems."""
    rng, names = np.random.default_rng(4), [f"{i:03}" for i in range(120)]
    solution = {i: [int(rng.integers(5))] if rng.random() < 0.6 else [] for i in names}
    answers = {
        name: {i: (int(rng.integers(3)) if rng.random() < 0.5 else (solution[i] or [0])[0] % 3, float(rng.random()))
               for i in names if rng.random() < 0.95}
        for name in "ab"
    }  # fmt: skip
    return solution, answers


def test_scores_are_those_of_the_public_functions(systems):
    """Fails when a score of the report differs from the one that `landmark score` or a notebook prints."""
    solution, answers = systems
    tables = {name: tabulate(found, solution, LABELS) for name, found in answers.items()}
    private = np.arange(120) % 2 == 0
    report = evaluate(tables, private=private, n=40)
    closed = open_world.closed_set(solution, LABELS)
    half = {i: solution[i] for i in tables["a"].ids[private]}
    for system in report.runs:
        mine = answers[system.run]
        inside = open_world.restrict(mine, closed)
        values = {name: score.value for name, score in system.scores.items()}
        assert values["gap"] == pytest.approx(metrics.global_average_precision(mine, solution))
        assert values["gap_closed"] == pytest.approx(metrics.global_average_precision(inside, closed))
        assert values["gap_private"] == pytest.approx(
            metrics.global_average_precision(open_world.restrict(mine, half), half)
        )
        assert values["top1"] == pytest.approx(metrics.top1_accuracy(mine, solution))
        curve = open_world.gap_against_distractors(mine, solution, list(system.at))
        assert [score.value for score in system.at.values()] == pytest.approx(curve)
        assert all(low <= value <= high for value, low, high in system.scores.values())
    a, b = report.runs
    (difference,) = report.paired["gap"]
    assert difference.difference == pytest.approx(a.scores["gap"].value - b.scores["gap"].value)
    assert difference.low <= difference.difference <= difference.high and difference.p_holm == difference.p


def test_a_system_against_itself(systems):
    """Fails when two systems are resampled apart."""
    solution, answers = systems
    one = tabulate(answers["a"], solution, LABELS)
    report = evaluate({"x": one, "y": one}, n=20)
    for rows in report.paired.values():
        assert [row[2:5] for row in rows] == [(0, 0, 0)]


def test_the_keys_that_others_read(systems):
    """Fails when a key of the JSON is renamed, or NaN gets into it."""
    solution, answers = systems
    content = evaluate({n: tabulate(found, solution, LABELS) for n, found in answers.items()}, n=10).to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    wanted = {"gap", "gap_closed", "gap_private", "auroc", "auroc_unknown", "auroc_distractor", "fpr95", "ece", "top1",
              "aurc", "augrc"}  # fmt: skip
    for run in content["runs"]:
        assert wanted | {"run"} <= run.keys() and all(run[key].keys() == {"value", "low", "high"} for key in wanted)
        assert run["gap_private"] == {"value": None, "low": None, "high": None}
    for key in ("paired", "paired_closed"):
        assert [(row["a"], row["b"]) for row in content[key]] == [("a", "b")]
        assert {"difference", "low", "high"} <= content[key][0].keys()
    assert [row["share"] for row in content["paired_at"]] == [0.0, 0.6, 0.9, 0.983]


@pytest.mark.parametrize(
    "answers",
    [Answers([0.5], [True], [0]), Answers([0.5], [False], [0]), Answers([np.nan], [False], [1]),
     Answers([0.5, 0.5, 0.5], [True, False, False], [0, 1, 2]), Answers([0.5, 7.0], [False, False], [2, 2])],
)  # fmt: skip
def test_small_and_empty_worlds(answers):
    """Fails when one query, equal scores, no landmark or no answer ends in a traceback or a warning."""
    report = evaluate({"a": answers, "b": answers}, n=5, private=np.zeros(len(answers), bool))
    json.dumps(report.to_dict(), allow_nan=False)
    assert any("not defined" in line for line in report.lines())


def test_seeds_are_scored_together():
    """Fails when the runs of a model are not averaged, or a lone run does not stand beside it."""
    base = table(1)
    tables = {f"run {k}": Answers(np.where(base.answered, table(k + 10).score, np.nan), base.correct &
              ~np.isnan(table(k + 10).score), base.kind) for k in range(3)}  # fmt: skip
    report = evaluate(tables, models={"m": ["run 0", "run 1"], "lone": ["run 2"]}, n=50)
    both, lone = report.models
    assert both.scores["gap"].value == pytest.approx(np.mean([s.scores["gap"].value for s in report.runs[:2]]))
    assert lone.scores["gap"] == report.runs[2].scores["gap"] and (both.seeds, lone.seeds) == (2, 1)
    assert len(report.paired["model gap"]) == 1 and report.to_dict()["paired_models"][0]["a"] == "m"


def test_an_interval_is_the_same_in_whatever_company():
    """Fails when two tables print two intervals for the same model, or the seeds of two models are drawn together."""
    base = table(1)
    tables = {f"run {k}": Answers(np.where(base.answered, table(k + 10).score, np.nan), base.correct &
              ~np.isnan(table(k + 10).score), base.kind) for k in range(4)}  # fmt: skip
    models = {"m": ["run 0", "run 1"], "n": ["run 2", "run 3"]}
    both = evaluate(tables, models=models, n=50)
    alone = evaluate({name: tables[name] for name in models["n"]}, models={"n": models["n"]}, n=50)
    for score in ("gap", "gap_closed"):
        assert both.models[1].scores[score] == alone.models[0].scores[score]
    back = evaluate(tables, models=dict(reversed(models.items())), n=50)
    one, other = both.paired["model gap"][0], back.paired["model gap"][0]
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    twice = evaluate(tables, models={"m": models["m"], "same": models["m"]}, n=50)
    assert twice.paired["model gap"][0].high > 0, "drawn apart, two groups of the same runs differ by luck"


def test_parts_of_the_known_queries():
    """Fails when a part counts the images of another, or distractors."""
    answers = Answers([0.9, 0.8, 0.7, 0.95], [True, False, True, False], [0, 0, 0, 2], group=["s", "s", "l", "s"])
    parts = evaluate({"a": answers}, n=5).runs[0].parts
    assert {part: (scores["gap"].value, scores["top1"].value) for part, scores in parts.items()} == {
        "s": (0.5, 0.5), "l": (1.0, 1.0)
    }  # fmt: skip


def test_maps_and_thresholds_come_from_other_images():
    """Fails when something is fitted on what is reported: the calibration set alone decides the threshold."""
    rng = np.random.default_rng(0)
    score = rng.random(400)
    other = Answers(score, rng.random(400) < score**2, np.zeros(400, int))
    here = Answers(score[::2], rng.random(200) < score[::2] ** 2, np.zeros(200, int))
    errors = calibrate(here, other)
    assert errors["isotonic"]["brier"] < errors["as it is"]["brier"] and errors["Platt"]["ece"] < 0.1
    rules = answer_only_if(here, other)
    assert [rule["threshold"] for rule in rules] == [rule["threshold"] for rule in answer_only_if(other, other)]
    assert [place["share"] for place in rules[0]["at"]] == [None, 0.0, 0.6, 0.9, 0.983]
    halved = calibrate(here, other, {"halved": here.score / 2})
    assert halved["halved"]["brier"] == pytest.approx(np.mean((here.correct - here.score / 2) ** 2))
    both = evaluate({"a": here}, calibration_tables={"a": other}, rescored={"a": {"halved": here.score / 2}}, n=5)
    assert both.calibrated == {"a": halved} and errors == {k: v for k, v in halved.items() if k != "halved"}
    report = evaluate({"a": here}, calibration_tables={"a": other}, n=5)
    assert report.to_dict()["calibrated"] == {"a": errors}


def test_systems_with_other_images_are_refused():
    """Fails when answers to different images are paired row by row."""
    with pytest.raises(InputError, match="b: answers to other images"):
        evaluate({"a": table(1), "b": table(2)}, n=5)
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate({})
