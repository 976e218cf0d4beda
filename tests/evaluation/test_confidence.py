"""Rules of confidence: each against its definition in plain loops, at the edges, and on the way through a file."""

import argparse
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from landmark.cli import training
from landmark.data.folder import LabelMap
from landmark.evaluation import confidence, metrics, open_world
from landmark.evaluation.confidence import RULES
from landmark.evaluation.prediction import Predictions
from landmark.evaluation.submission import read_submission
from landmark.utils.errors import InputError


def by_hand(row):
    """The scores of one image, from its logits, in exact sums."""
    row = sorted(map(float, row), reverse=True)
    sums = math.fsum(math.exp(z - row[0]) for z in row)
    return {"softmax": 1 / sums, "logit": row[0], "margin": row[0] - row[1] if row[1:] else 0.0,
            "energy": row[0] + math.log(sums)}  # fmt: skip


RANDOM = torch.randn(40, 7, generator=torch.Generator().manual_seed(0)) * 6
CASES = {
    "random": RANDOM,
    "extreme": torch.tensor([[1e4, -1e4, 9999.0], [-1e4, -1e4, -1.1e4], [3e38, -3e38, 0]]),
    "close to certain": torch.tensor([[30.0, 1.0, 0.0], [17.0, 0.0, -1.0]]),
    "one class": torch.tensor([[5.0], [-1e4], [0.0]]),
    "equal": torch.full((3, 4), -2.5),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_its_definition(rule, case):
    """Fails when a rule takes the wrong logit, overflows, gives an infinity, or loses digits near certainty."""
    logits = CASES[case]
    answers = Predictions.of([str(i) for i in range(len(logits))], logits)
    scores = answers.score(rule)
    assert scores.shape == (len(logits),) and scores.dtype == np.float64 and np.isfinite(scores).all()
    assert scores == pytest.approx([by_hand(row)[rule] for row in logits.tolist()], rel=1e-12, abs=0)
    assert (RULES[rule](answers) == scores).all()


def test_the_answer_is_the_first_largest_logit():
    """Fails when a rule changes the class, or a tie is broken by chance: softmax in float32 has more of them."""
    logits = torch.tensor([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0], [9999.998, 1e4, 0.0]])
    answers = Predictions.of(list("abc"), logits)
    assert answers.class_index.tolist() == [1, 0, 1]
    assert answers.score("margin")[:2].tolist() == [0, 0] and answers.score("softmax")[1] == pytest.approx(1 / 3)
    assert answers.mapping(LabelMap([5, 6, 7]), "energy")["b"] == (5, pytest.approx(math.log(3)))


def test_softmax_tells_the_nearly_certain_apart():
    """Fails when log Σ exp is kept in float32: 1 - p of 1e-9 and of 1e-12 would both be 0."""
    p = Predictions.of(["a", "b"], torch.tensor([[21.0, 0.0], [27.0, 0.0]])).score()
    assert (1 - p) == pytest.approx([1 / (1 + math.exp(21)), 1 / (1 + math.exp(27))], rel=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_scores_that_are_no_probabilities_keep_their_order(tmp_path, rule):
    """Fails when a negative score, or one above 1, is refused, rounded or ranked otherwise on its way to GAP."""
    labels, solution = LabelMap(range(10, 17)), {}
    answers = Predictions.of([f"{i:016x}" for i in range(len(RANDOM))], RANDOM - 8)
    for i, image_id in enumerate(answers.ids):  # a third right, a third wrong, a third distractors
        solution[image_id] = [] if i % 3 == 0 else [10 + int(answers.class_index[i]) + (i % 3 - 1)]
    mapping = answers.mapping(labels, rule)
    answers.write(tmp_path / "s.csv", labels, answers.ids, rule)
    rows = read_submission(tmp_path / "s.csv")
    back = {i: (int(k), s) for i, k, s in rows.itertuples(index=False)}
    assert back == mapping and (RANDOM.amax(1) < 8).any()
    order = sorted(mapping, key=lambda i: (-mapping[i][1], i))
    assert order != sorted(mapping) and metrics.gap_steps(back, solution)["id"].tolist() == order
    hits, gap = 0, Fraction(0)
    for rank, image_id in enumerate(order, 1):
        if mapping[image_id][0] in solution[image_id]:
            hits += 1
            gap += Fraction(hits, rank)
    expected = float(gap / sum(bool(x) for x in solution.values()))
    assert metrics.global_average_precision(back, solution) == pytest.approx(expected)
    kinds = open_world.answers_by_kind(back, solution, labels)
    assert 0 <= metrics.auroc(kinds["right"], kinds["distractor"]) <= 1
    ranks = np.argsort(np.argsort([mapping[i][1] for i in answers.ids])).astype(float)
    by_rank = {i: (k, r) for (i, (k, _)), r in zip(mapping.items(), ranks, strict=True)}
    assert metrics.score_summary(by_rank, solution) == metrics.score_summary(back, solution)


def test_an_unknown_rule_is_told_in_one_line():
    """Fails when a misspelt rule is a KeyError, or the line does not name those that exist."""
    with pytest.raises(InputError) as error:
        Predictions.of(["a"], RANDOM[:1]).score("entropy")
    assert str(error.value) == "no score 'entropy': choose one of softmax, logit, margin, energy"


def test_the_command_names_every_rule():
    """Fails when a rule joins the table and `landmark predict --help`, which must load nothing, does not know it."""
    parser = argparse.ArgumentParser()
    training._add_predict(parser)
    (action,) = (action for action in parser._actions if action.dest == "score")
    assert action.default == confidence.DEFAULT and all(rule in action.help for rule in RULES)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 3.0, 1e4])
@pytest.mark.parametrize("case", CASES)
def test_temperature(case, temperature):
    """Fails when logits are multiplied instead of divided, overflow, or temperature 1 is not the softmax maximum."""
    logits = CASES[case]
    scores = confidence.temperature_softmax(logits.numpy(), temperature)
    expected = [by_hand([z / temperature for z in row])["softmax"] for row in logits.tolist()]
    assert scores == pytest.approx(expected, rel=1e-9)
    if temperature == 1:
        assert scores == pytest.approx(Predictions.of([""] * len(logits), logits).score("softmax"), rel=1e-12)


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_is_above_zero(temperature):
    """Fails when a temperature that turns the order round, or makes NaN of it, is taken."""
    with pytest.raises(InputError, match="give a number above 0"):
        confidence.temperature_softmax(np.zeros((1, 2)), temperature)
