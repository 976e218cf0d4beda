"""Risk and coverage, against plain loops; promises of thresholds, against many calibration sets."""

import numpy as np
import pytest

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.hits import Ranking
from landmark.evaluation.report.risk import (
    answered,
    augrc,
    aurc,
    certified_threshold,
    operate,
    plain_threshold,
    risk_coverage,
    risk_threshold,
)
from landmark.utils.errors import InputError
from tests.evaluation.report.tables import copies, ranked, some_counts, table


def loop_areas(answers):
    """AURC as a sum over ranks; AUGRC by trapezoids."""
    wrong, risks, joint = 0, [], [0.0]
    order = ranked(answers)
    for place, i in enumerate(order, 1):
        wrong += not answers.correct[i]
        risks.append(wrong / place)
        joint.append(wrong / len(order))
    return np.mean(risks), np.trapezoid(joint, dx=1 / len(order))


def test_areas_are_the_plain_loops():
    """Fails when a rank is off by one, or unanswered images join the coverage."""
    answers, counts = table(7), some_counts(60)
    found = Ranking(answers).hits(counts)
    for row, count in enumerate(counts):
        assert (aurc(found)[row], augrc(found)[row]) == pytest.approx(loop_areas(copies(answers, count)))


def test_ties_are_the_mean_over_their_orders():
    """Fails when equal scores are ranked by the luck of their ids."""
    answers, rng = table(8, 30, levels=3), np.random.default_rng(0)
    areas = []
    for _ in range(3000):
        order = rng.permutation(30)
        areas.append(loop_areas(Answers(answers.score[order], answers.correct[order], answers.kind[order])))
    found = Ranking(answers).hits(np.ones((1, 30), int))
    assert (aurc(found)[0], augrc(found)[0]) == pytest.approx(np.mean(areas, axis=0), abs=0.005)
    same = Ranking(Answers([0.5] * 4, [True, False, False, False], [0] * 4)).hits(np.ones((1, 4), int))
    assert aurc(same)[0] == pytest.approx(0.75)


def test_all_right_all_wrong_and_nothing():
    """Fails when the ends of the scale are not 0, 1 and 1/2, or no answer at all has an area."""
    once = np.ones((1, 2), int)
    for correct, areas in (([True] * 2, (0, 0)), ([False] * 2, (1, 0.5))):
        found = Ranking(Answers([0.5, 0.4], correct, [0, 0])).hits(once)
        assert (aurc(found)[0], augrc(found)[0]) == pytest.approx(areas)
    nothing = Ranking(Answers([np.nan] * 2, [False] * 2, [0, 0])).hits(once)
    assert np.isnan(aurc(nothing)[0]) and np.isnan(augrc(nothing)[0])
    assert [len(curve) for curve in risk_coverage(Answers([np.nan], [False], [0]))] == [0, 0, 0]


def test_operation_by_hand():
    """Fails when a weighted distractor is left out of the precision, or coverage counts answers instead of images."""
    answers = Answers([0.9, 0.8, 0.7, np.nan], [True, False, False, False], [0, 2, 1, 0])
    assert operate(answers, 0.75) == pytest.approx((1 / 2, 2 / 4, 1 / 2, 1 / 4))
    assert operate(answers, 0.75, 0.75) == pytest.approx((1 / 10, 10 / 12, 1 / 2, 9 / 12))  # one counts as nine
    assert np.isnan(operate(answers, 1.0).precision)
    assert np.isnan(operate(Answers([0.9], [True], [0]), 0.5, 0.5)).all()
    with pytest.raises(InputError, match="share"):
        operate(answers, 0.5, 1.0)


def test_answered_parts_against_a_loop():
    """Fails when an image is counted twice or not at all, a score at the threshold is refused, or NaN is an answer."""
    answers = table(5, outside=True)
    threshold = float(np.sort(answers.score)[len(answers) // 2])
    loop = {name: [0, 0] for name in ("right", "wrong: known", "wrong: unknown", "wrong: distractor")}
    for value, correct, kind in zip(answers.score, answers.correct, answers.kind, strict=True):
        name = "right" if correct else f"wrong: {('known', 'unknown', 'distractor')[kind]}"
        loop[name][0] += value >= threshold
        loop[name][1] += 1
    parts = answered(answers, threshold)
    assert parts == {name: tuple(counts) for name, counts in loop.items()}
    assert sum(whole for _, whole in parts.values()) == len(answers)
    right, given = parts["right"][0], sum(part for part, _ in parts.values())
    assert operate(answers, threshold)[:2] == pytest.approx((right / given, given / len(answers)))


def draw(rng, size, distractors):
    """Answers that are right as often as they say, and distractors with scores of their own."""
    score, kind = rng.random(size), np.where(rng.random(size) < distractors, 2, 0)
    score = np.where(kind == 2, score * 0.9, score)
    return Answers(score, (kind == 0) & (rng.random(size) < score), kind)


def test_promises_hold_and_break_when_the_share_shifts():
    """Fails when the bound lacks its +1, a strict and a loose threshold are confused, or a shift goes unnoticed."""
    rng = np.random.default_rng(0)
    big = draw(rng, 100_000, 0.3)
    risks, precisions, shifted = [], [], []
    for _ in range(200):
        small = draw(rng, 60, 0.3)
        threshold = risk_threshold(small, 0.1)
        risks.append(operate(big, threshold).risk)
        shifted.append(operate(big, threshold, 0.9).risk)
        precisions.append(operate(big, certified_threshold(draw(rng, 400, 0.3), 0.7)).precision)
    assert 0.1 - 2 / 61 - 0.01 < np.mean(risks) < 0.1 + 0.005
    assert np.mean(np.array(precisions) < 0.7) < 0.1 and np.isfinite(precisions).any()
    assert np.mean(shifted) > 0.15


def test_thresholds_at_their_ends():
    """Fails when nothing can be promised and a threshold comes back all the same."""
    wrong, nothing = Answers([0.9, 0.8], [False] * 2, [0, 0]), Answers([np.nan], [False], [0])
    for answers in (wrong, nothing):
        assert plain_threshold(answers, 0.5) == certified_threshold(answers, 0.5) == np.inf
        assert risk_threshold(answers, 0.1) == np.inf
    right = Answers(np.linspace(0.5, 1, 30), [True] * 30, [0] * 30)
    assert plain_threshold(right, 0.9) == risk_threshold(right, 0.1) == 0.5
    for risk in (0, 1):
        with pytest.raises(InputError):
            risk_threshold(right, risk)
