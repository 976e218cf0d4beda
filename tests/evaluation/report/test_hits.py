"""GAP of resamples, against plain loops over rows written out."""

import numpy as np
import pytest

from landmark.evaluation import open_world
from landmark.evaluation.report import hits as report_hits
from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.hits import Ranking, gap, top1
from landmark.utils.errors import InputError
from tests.evaluation.report.tables import copies, ranked, some_counts, table


def loop_gap(answers, closed=False, weight=1.0):
    """The definition, with a weight for distractors."""
    rank = hits = total = 0.0
    for i in ranked(answers):
        if closed and answers.kind[i] != 0:
            continue
        rank += weight if answers.kind[i] == 2 else 1
        if answers.correct[i]:
            hits += 1
            total += hits / rank
    return total / (answers.kind <= (0 if closed else 1)).sum()


@pytest.mark.parametrize("levels", [0, 4])
@pytest.mark.parametrize("outside", [False, True])
def test_counts_are_rows_written_out(levels, outside):
    """Fails when a resample's copies are miscounted, in a block or alone, or closed GAP sees other kinds."""
    answers = table(1, levels=levels, outside=outside)
    counts = some_counts(60)
    for block in (counts, counts[:1]):
        found = Ranking(answers).hits(block)
        for row, count in enumerate(block):
            written = copies(answers, count)
            assert gap(found)[row] == pytest.approx(loop_gap(written), abs=1e-12)
            assert gap(found, closed=True)[row] == pytest.approx(loop_gap(written, closed=True), abs=1e-12)
            queries, distractors = (written.kind < 2).sum(), (written.kind == 2).sum()
            for share in (0.0, 0.6, 0.983):
                weight = share / (1 - share) * queries / distractors
                assert gap(found, share=share)[row] == pytest.approx(loop_gap(written, weight=weight), abs=1e-12)
            assert top1(found)[row] == pytest.approx(written.correct.sum() / queries)
            assert found.images[:, row].tolist() == [(written.kind == kind).sum() for kind in range(3)]


def test_rows_of_one_split():
    """Fails when images outside the split take a rank or count as queries."""
    answers, rows = table(3), np.random.default_rng(0).random(60) < 0.5
    part = Answers(answers.score[rows], answers.correct[rows], answers.kind[rows])
    assert gap(Ranking(answers, rows).hits(np.ones((1, 60), int)))[0] == pytest.approx(loop_gap(part))


def test_shares_at_their_ends():
    """Fails when share 1 divides by zero or leaves the limit, or a set without distractors draws a flat line."""
    answers = {"a": (1, 0.9), "d": (1, 0.8), "b": (2, 0.7), "c": (9, 0.6)}
    truth = {"a": [1], "b": [2], "c": [3], "d": []}
    near, end = open_world.gap_against_distractors(answers, truth, [1 - 1e-12, 1.0])
    assert end == pytest.approx(1 / 3) and near == pytest.approx(end, abs=1e-9)
    del answers["d"], truth["d"]
    none = open_world.gap_against_distractors(answers, truth, [0.0, 0.5, 1.0])
    assert none[0] == pytest.approx(2 / 3) and np.isnan(none[1:]).all()
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="share"):
            open_world.gap_against_distractors(answers, truth, [share])


def test_a_split_without_right_answers():
    """Fails when a system that is never right has no GAP: it is zero."""
    found = Ranking(Answers([0.5, 0.4], [False, False], [0, 2])).hits(some_counts(2, rows=3) + 1)
    assert gap(found).tolist() == [0, 0, 0] == gap(found, closed=True).tolist()


def test_harmonic_sums():
    """Fails when the sums are off by one place."""
    sums, heaps = report_hits.harmonic(6)
    assert sums[4] == pytest.approx(1 + 1 / 2 + 1 / 3 + 1 / 4) and heaps[3] == pytest.approx(0 + 1 + 3 / 2)
