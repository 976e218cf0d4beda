"""The company of queries and answers that are given too often, against loops."""

import math

import numpy as np
import pytest

from landmark.evaluation.neighbours import unit
from landmark.retrieval.fusion.crowd import company_score, overuse
from landmark.utils.errors import InputError

QUERIES = unit(np.random.default_rng(0).normal(size=(12, 5)))
SCORE = np.random.default_rng(1).normal(size=12)


@pytest.mark.parametrize("k", [1, 3, 100])
def test_company_is_a_loop(k):
    """Fails when a query is its own company, one on the other side counts, or k above the others is an error."""
    expected = []
    for q, query in enumerate(QUERIES):
        near = sorted(((float(query @ other), j) for j, other in enumerate(QUERIES) if j != q), reverse=True)[:k]
        near = [(max(cosine, 0), j) for cosine, j in near]
        total = sum(cosine for cosine, _ in near)
        expected.append(sum(cosine * SCORE[j] for cosine, j in near) / total if total else SCORE[q])
    np.testing.assert_allclose(company_score(QUERIES, SCORE, k), expected, rtol=1e-4)


def test_company_of_few():
    """Fails when one query alone, or one without an answer, makes a score that is no number."""
    assert company_score(QUERIES[:1], [0.5]).tolist() == [0.5] and company_score(QUERIES[:0], []).tolist() == []
    assert np.isfinite(company_score(QUERIES[:3], [-np.inf, 0.5, 0.2])).all()
    for scores in ([0.1], [np.nan, 1.0]):
        with pytest.raises(InputError, match="scores .* of 2 queries"):
            company_score(QUERIES[:2], scores)


def test_overuse_by_hand():
    """Fails when rare answers are rewarded, or no answer counts as one."""
    labels = [5, 5, 5, 5, 8, -1]
    assert overuse(labels, 2).tolist() == pytest.approx([math.log(2)] * 4 + [0, 0])
    assert overuse(labels, 100).tolist() == [0] * 6 and overuse([-1, -1, -1], 1).tolist() == [0] * 3
    assert overuse([]).tolist() == [] and overuse([3, 4, 5]).tolist() == [0] * 3
    with pytest.raises(InputError, match="expected=0"):
        overuse(labels, 0)
