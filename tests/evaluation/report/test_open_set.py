"""AUROC, false positives and OSCR, against scikit-learn and plain loops."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.hits import Ranking
from landmark.evaluation.report.open_set import OTHERS, auroc, false_positives, oscr, oscr_area
from tests.evaluation.report.tables import copies, some_counts, table


@pytest.mark.parametrize("levels", [0, 4])
def test_against_scikit_learn(levels):
    """Fails on ties counted whole, on a kind too many, or on unanswered images that take part."""
    answers, counts = table(5, 90, levels), some_counts(90)
    found = Ranking(answers).hits(counts)
    for against in (["wrong"], ["unknown"], ["distractor"], list(OTHERS)):
        for row, count in enumerate(counts):
            written = copies(answers, count)
            other = np.isin(written.kind, [OTHERS.index(name) for name in against]) & ~written.correct
            rows = written.answered & (written.correct | other)
            truth, score = written.correct[rows], written.score[rows]
            assert auroc(found, against)[row] == pytest.approx(roc_auc_score(truth, score))
            fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
            assert false_positives(found, 0.95, against)[row] == pytest.approx(fpr[np.argmax(tpr >= 0.95 - 1e-12)])


@pytest.mark.parametrize("levels", [0, 4])
def test_oscr_is_the_plain_loop(levels):
    """Fails when a threshold lets its own score out, or the known queries without an answer leave the denominator."""
    answers = table(6, levels=levels)
    known, refused = answers.kind == 0, (answers.kind > 0) & answers.answered
    thresholds = sorted({s for s in answers.score if not np.isnan(s)}, reverse=True)
    fpr, ccr = oscr(answers)
    for place, threshold in enumerate(thresholds, 1):
        assert fpr[place] == pytest.approx((answers.score[refused] >= threshold).mean())
        assert ccr[place] == pytest.approx((answers.correct & (answers.score >= threshold)).sum() / known.sum())
    found = Ranking(answers).hits(np.ones((1, 60), int))
    assert oscr_area(found)[0] == pytest.approx(np.trapezoid(ccr, fpr))


def test_where_there_is_nothing_to_tell_apart():
    """Fails when a missing side gives a number, or a constant score anything but chance."""
    once = np.ones((1, 3), int)
    right = Ranking(Answers([0.1, 0.2, 0.3], [True] * 3, [0] * 3)).hits(once)
    wrong = Ranking(Answers([0.1, 0.2, 0.3], [False] * 3, [0, 0, 2])).hits(once)
    silent = Ranking(Answers([np.nan] * 3, [False] * 3, [0, 1, 2])).hits(once)
    for found in (right, wrong, silent):
        assert np.isnan(auroc(found)[0]) and np.isnan(false_positives(found)[0])
    assert np.isnan(oscr_area(right)[0]) and oscr_area(wrong)[0] == 0
    same = Ranking(Answers([0.5] * 3, [True, False, False], [0, 0, 2])).hits(once)
    assert auroc(same)[0] == 0.5 and false_positives(same)[0] == 1
