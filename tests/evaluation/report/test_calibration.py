"""Calibration errors, against scikit-learn and plain loops; maps that mend a known distortion."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.calibration import (
    Calibration,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    reliability,
)
from landmark.utils.errors import InputError
from tests.evaluation.report.tables import copies, some_counts, table


def loop_ece(answers, bins=15):
    total, made = 0.0, answers.answered
    for b in range(bins):
        inside = made & (answers.score > b / bins) & (answers.score <= (b + 1) / bins)
        inside |= made & (answers.score == 0) & (b == 0)
        if inside.any():
            total += inside.sum() * abs(answers.correct[inside].mean() - answers.score[inside].mean())
    return total / made.sum()


@pytest.mark.parametrize("levels", [0, 16])
def test_errors_of_resamples(levels):
    """Fails on a bin's wrong edge, on unanswered images that count, or on copies that do not."""
    answers, counts = table(9, 80, levels), some_counts(80)
    ece, brier = Calibration(answers, bins=8).errors(counts)
    for row, count in enumerate(counts):
        written = copies(answers, count)
        made = written.answered
        assert ece[row] == pytest.approx(loop_ece(written, 8))
        assert brier[row] == pytest.approx(brier_score_loss(written.correct[made], written.score[made]))


def test_scores_that_are_no_probabilities():
    """Fails when a logit gets an ECE, or its reliability diagram."""
    answers = Answers([2.5, -1.0], [True, False], [0, 0])
    assert np.isnan(Calibration(answers).errors(np.ones((1, 2), int))).all()
    with pytest.raises(InputError, match="probability"):
        reliability(answers)
    silent = Calibration(Answers([np.nan], [False], [0]))
    assert np.isnan(silent.errors(np.ones((1, 1), int))).all()


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_maps_mend_a_known_distortion(fit):
    """Fails when a map is fitted the wrong way round, or on the probability in place of its log odds."""
    rng = np.random.default_rng(0)
    chance = rng.random(20_000)
    correct = rng.random(20_000) < chance
    odds = (chance / (1 - chance)) ** 2  # twice too sure
    mapped = fit(odds / (1 + odds), correct)(odds / (1 + odds))
    assert np.abs(mapped - chance).mean() < 0.02 and mapped.min() >= 0 and mapped.max() <= 1


def test_temperature_on_an_open_set():
    """Fails when unknown landmarks, whose answers are all wrong, do not cool the network down."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3000, 4)) * 2
    largest = np.exp(logits.max(1)) / np.exp(logits).sum(1)
    right = rng.random(3000) < largest
    closed = fit_temperature(logits * 2, right)
    assert closed == pytest.approx(2, rel=0.15)
    assert fit_temperature(np.vstack([logits, logits]) * 2, np.append(right, np.zeros(3000, bool))) > closed


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_what_cannot_be_fitted_is_refused(fit):
    """Fails when a map is made of right answers alone, or of NaN."""
    for score, correct in (([0.5, 0.4], [True, True]), ([np.nan, 0.4], [True, False]), ([], [])):
        with pytest.raises(InputError, match="calibration needs"):
            fit(np.array(score), np.array(correct, bool))
    with pytest.raises(InputError, match="calibration needs"):
        fit_temperature(np.zeros((2, 3)), np.zeros(2, bool))
