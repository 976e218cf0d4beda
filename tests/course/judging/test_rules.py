"""The table of rules, against the single functions and scikit-learn, on answers made up for it and on a run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from landmark.course.answers import truth_of
from landmark.course.judging import rules
from landmark.course.judging.rules import rules_table
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.evaluation import open_world
from landmark.evaluation.confidence import RULES
from landmark.evaluation.prediction import Predictions
from landmark.evaluation.report.answers import tabulate
from landmark.evaluation.report.summary import evaluate
from landmark.utils.errors import InputError

LABELS = LabelMap([10, 20, 30])


def folder(root, first, seed, shown=("10", "20", "30", "40", "")):
    """Tables of 120 test images, no image."""
    root.mkdir()
    ids, rng = [f"{first + i:016x}" for i in range(120)], np.random.default_rng(seed)
    solution = pd.DataFrame({"id": ids, "landmarks": rng.choice(list(shown), 120), "Usage": "Private"})
    solution.loc[0, "landmarks"], solution.loc[1, "Usage"] = shown[0], "Ignored"
    solution.to_csv(root / "recognition_solution_v2.1.csv", index=False)
    solution[["id"]].to_csv(root / "test.csv", index=False)
    return GoogleLandmarks(root)


@pytest.fixture
def worlds(tmp_path):
    return folder(tmp_path / "test", 0, 0), [folder(tmp_path / f"dev{k}", 1000 * k, k) for k in (1, 2, 3)]


@pytest.fixture
def fake(monkeypatch):
    """Runs whose answers are random, and a rule "oracle" that knows the truth where `knows` says so, with some noise."""

    def record(run, world, keep):
        truth, rng = (
            truth_of(world),
            np.random.default_rng([run.seed, int(world.test["id"][0], 16)]),
        )
        logits = rng.normal(size=(120, 3)) * 2
        for i, image_id in enumerate(world.test["id"]):
            if rng.random() < 0.4 and truth.get(image_id, (99,)) and truth.get(image_id, (99,))[0] in LABELS:
                logits[i, LABELS.to_index(truth[image_id][0])] += 9
        return Predictions.of(world.test["id"].tolist(), torch.tensor(logits))

    def fit(run, data, dev):
        truths = {str(world.root): truth_of(world) for world in run.knows}

        def oracle(answers):
            truth = {k: v for part in truths.values() for k, v in part.items()}
            right = [
                LABELS.to_landmark(int(k)) in truth.get(i, ())
                for i, k in zip(answers.ids, answers.class_index, strict=True)
            ]
            return np.array(right) + np.random.default_rng(1).normal(size=len(right)) * (0.3 if truth else 1)

        return SimpleNamespace(rules=lambda: RULES | {"oracle": oracle}, temperature=2.0, k=1, penalised_k=1)

    monkeypatch.setattr(rules, "test_predictions", record)
    monkeypatch.setattr(rules, "fit_rules", fit)

    def run(seed=0, knows=(), labels=LABELS, loss="cross_entropy"):
        config = SimpleNamespace(loss=loss)
        return SimpleNamespace(path=f"run{seed}", labels=labels, sides=None, seed=seed, knows=knows, config=config)

    return SimpleNamespace(run=run, record=record, fit=fit)


def test_the_scores_are_those_of_the_single_functions(worlds, fake):
    """Fails when a column is another score, dev worlds are mixed with the test set, or the interval is another one."""
    (data, dev), run = worlds, fake.run()
    table, truth = rules_table([run], data, dev, n=40), truth_of(data)
    record = fake.record(run, data, ())
    for rule in RULES:
        rows = table.test[table.test["rule"] == rule].set_index("score")
        answers = {i: a for i, a in record.mapping(LABELS, rule).items() if i in truth}
        kinds = open_world.answers_by_kind(answers, truth, LABELS)
        for other in ("wrong", "unknown", "distractor"):
            labels = [1] * len(kinds["right"]) + [0] * len(kinds[other])
            area = roc_auc_score(labels, kinds["right"] + kinds[other])
            assert rows.loc[f"auroc_{other}", "value"] == pytest.approx(area)
        gaps = open_world.gap_against_distractors(answers, truth, [0, 0.6, 0.9, 0.983])
        assert rows.loc[["gap@0", "gap@0.6", "gap@0.9", "gap@0.983"], "value"].tolist() == pytest.approx(gaps)
    tables = {rule: tabulate({i: a for i, a in record.mapping(LABELS, rule).items() if i in truth}, truth,
                             LABELS.landmark_ids) for rule in ("logit", "softmax")}  # fmt: skip
    report = evaluate(tables, n=40)
    (pair,) = report.paired["gap@0.9"]
    row = table.test[table.test["rule"] == "logit"].set_index("score").loc["gap@0.9"]
    assert row[["difference", "difference_low", "difference_high"]].tolist() == pytest.approx(list(pair[2:5]))
    assert row[["value", "low", "high"]].tolist() == pytest.approx(list(report.runs[0].at[0.9]))
    wide = table.show("test")
    assert wide.shape == (5, 8) and wide.loc["logit", "auroc"].startswith(
        f"{report.runs[0].scores['auroc'].value:.3f} ("
    )


def test_dev_worlds_are_pooled_and_the_first_one_only_fits(worlds, fake):
    """Fails when rules are compared on the images that their temperature and k were fitted on."""
    (data, dev), run = worlds, fake.run()
    table, truth = rules_table([run], data, dev, n=5), truth_of(dev[1]) | truth_of(dev[2])
    answers = {k: v for world in dev[1:] for k, v in fake.record(run, world, ()).mapping(LABELS).items() if k in truth}
    kinds = open_world.answers_by_kind(answers, truth, LABELS)
    others = kinds["wrong"] + kinds["unknown"] + kinds["distractor"]
    wanted = roc_auc_score([1] * len(kinds["right"]) + [0] * len(others), kinds["right"] + others)
    assert table.dev.set_index(["rule", "score"]).loc[("softmax", "auroc"), "value"] == pytest.approx(wanted)


def test_a_rule_is_crowned_on_the_dev_worlds_alone(worlds, fake):
    """Fails when the test set decides which rule wins, or one that is best by luck is crowned."""
    data, dev = worlds
    table = rules_table([fake.run(knows=dev)], data, dev, n=400)
    assert (table.verdicts["winner"] == "oracle").all() and table.verdicts["crowned"].all()
    assert (table.verdicts.loc["auroc", "test_difference"] < 0) and "oracle wins on the dev worlds" in table.lines()[0]
    assert "*" in table.show("dev").loc["oracle", "auroc"]
    table = rules_table([fake.run(knows=[data])], data, dev, n=400)
    assert not table.verdicts["crowned"].any()
    assert not (table.verdicts["winner"] == "oracle").all()
    for line in table.lines():
        assert "no rule is" in line
    oracle = table.test.set_index(["rule", "score"]).loc[("oracle", "auroc")]
    assert oracle["value"] > 0.9


def test_several_runs_are_seeds(worlds, fake):
    """Fails when seeds are pooled as images, or the rules of two seeds are paired with each other's softmax."""
    data, dev = worlds
    alone = [rules_table([fake.run(seed)], data, dev, n=30) for seed in (0, 1)]
    both = rules_table([fake.run(0), fake.run(1)], data, dev, n=30)
    for column in ("value", "difference"):
        assert both.test[column].tolist() == pytest.approx(
            ((alone[0].test[column] + alone[1].test[column]) / 2).tolist()
        )
    softmax = both.test[both.test["rule"] == "softmax"]
    assert (softmax[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
    assert len(both.fitted) == 2


def test_runs_that_were_trained_another_way_stand_among_the_rules(worlds, fake):
    """Fails when such a run answers by another rule than its loss taught, or is compared with its own softmax."""
    (data, dev), run = worlds, fake.run()
    ways = {"uniform": [fake.run(7, loss="uniform")], "zero target": [fake.run(8, loss="bce")]}
    table = rules_table([run], data, dev, trained=ways, n=20)
    rows = table.test.set_index(["rule", "score"])
    for (name, (other,)), rule in zip(ways.items(), ("softmax", "logit"), strict=True):
        alone = rules_table([other], data, dev, n=20).test.set_index(["rule", "score"])
        for score in ("auroc", "auroc_unknown", "gap@0.9"):
            value = alone.loc[(rule, score), "value"]
            assert rows.loc[(name, score), "value"] == value
            assert rows.loc[(name, score), "difference"] == pytest.approx(value - rows.loc[("softmax", score), "value"])
    for wrong, words in (
        ({"x": [run, run]}, "x: 2 runs beside 1"),
        ({"logit": [run]}, "logit is the name of a rule"),
        ({"x": [fake.run(1, labels=LabelMap([10]))]}, "the label sets differ"),
    ):
        with pytest.raises(InputError, match=words):
            rules_table([run], data, dev, trained=wrong, n=5)


def test_a_score_that_is_not_defined(worlds, fake, tmp_path):
    """Fails when dev worlds without an unknown landmark or a distractor crown a rule, or end in a traceback."""
    data, dev = worlds[0], [folder(tmp_path / f"bare{k}", 9000 * k, k, shown=("10", "20")) for k in (1, 2)]
    table = rules_table([fake.run()], data, dev, n=10)
    assert table.verdicts.loc["auroc_unknown", "winner"] == "" and not table.verdicts.loc["gap@0.9", "crowned"]
    assert "auroc_unknown: not defined on the dev worlds" in table.lines()
    assert table.show("dev").loc["softmax", "auroc_distractor"] == "not defined"


def test_equal_scores_crown_nothing(worlds, fake, monkeypatch):
    """Fails when all rules give one score to all images, and one of them wins."""
    constant = {name: lambda answers: np.zeros(len(answers.ids)) for name in RULES}
    monkeypatch.setattr(
        rules, "fit_rules", lambda *_: SimpleNamespace(rules=lambda: constant, temperature=1, k=1, penalised_k=1)
    )
    table = rules_table([fake.run()], *worlds, n=20)
    assert (table.verdicts["winner"] == "softmax").all() and not table.verdicts["crowned"].any()
    assert (table.test[table.test["score"] == "auroc"]["value"] == 0.5).all()


def test_what_no_table_can_be_made_of(worlds, fake, tmp_path, monkeypatch):
    """Fails on a traceback, or when a rule is chosen on the images that are reported."""
    data, dev = worlds
    for some, words in (
        ([], "no run"),
        ([fake.run(), fake.run(1, labels=LabelMap([10]))], "run0 and run1: the label sets differ"),
    ):
        with pytest.raises(InputError, match=words):
            rules_table(some, data, dev)
    for some, words in (
        (dev[:1], "1 dev worlds"),
        ([*dev, data], "is one of .*test too"),
        ([dev[0], dev[0]], "is one of .*dev1 too"),
    ):
        with pytest.raises(InputError, match=words):
            rules_table([fake.run()], data, some)
    with pytest.raises(InputError, match="no test image shows a landmark of the label set"):
        rules_table([fake.run()], data, [dev[0], folder(tmp_path / "x", 70_000, 1, shown=("40", ""))])
    nan = {name: lambda answers: np.full(len(answers.ids), np.nan) for name in RULES}
    monkeypatch.setattr(
        rules, "fit_rules", lambda *_: SimpleNamespace(rules=lambda: nan, temperature=1, k=1, penalised_k=1)
    )
    with pytest.raises(InputError, match=r"run0 on .*: the score is NaN"):
        rules_table([fake.run()], data, dev)


def test_a_run_of_the_course(course):
    """Fails when the table cannot be made from a trained run and the worlds that the course makes."""
    run, data, dev = course
    table = rules_table([run], data, dev, n=20)
    assert {"temperature", "centre", "neighbour", "penalised"} <= set(table.dev["rule"])
    assert table.dev["value"].notna().all() and len(table.lines()) == 8
