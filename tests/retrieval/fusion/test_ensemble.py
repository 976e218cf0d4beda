"""Ensembles against loops over their systems."""

import numpy as np
import pytest

from landmark.evaluation.neighbours import unit
from landmark.retrieval.fusion.ensemble import blend_answers, fit_weights, join_vectors
from landmark.utils.errors import InputError

RNG = np.random.default_rng(0)
PARTS = [RNG.normal(size=(7, 4)), 50 * RNG.normal(size=(7, 9))]


def test_joined_cosines_are_weighted_means():
    """Fails when a system with long vectors counts more, or the weight enters squared."""
    joined = join_vectors(PARTS, [3, 1])
    expected = sum(w * unit(part) @ unit(part).T for w, part in zip((3, 1), PARTS, strict=True)) / 4
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-6)
    np.testing.assert_allclose(join_vectors(PARTS, [0, 2]), unit(PARTS[1]), atol=1e-6)


def test_blended_answers_are_a_loop():
    """Fails when the scale of a system's scores decides, or votes for one label are not added."""
    labels = [RNG.integers(0, 3, 20) for _ in range(3)]
    scores = [RNG.normal(size=20) * scale for scale in (1, 100, 0.01)]
    scores[0][4] = -np.inf
    weights = [1.0, 2.0, 0.5]
    got, sure = blend_answers(labels, scores, weights)
    for q in range(20):
        votes = {}
        for label, score, weight in zip(labels, scores, weights, strict=True):
            rank = 0 if np.isneginf(score[q]) else np.mean(score <= score[q])
            votes[int(label[q])] = votes.get(int(label[q]), 0) + weight * rank / 3.5
        assert votes[int(got[q])] == pytest.approx(max(votes.values())) == pytest.approx(sure[q])


def test_one_system_keeps_its_order():
    """Fails when blending a single system changes what GAP sees of it."""
    score = RNG.normal(size=20)
    label, sure = blend_answers([np.arange(20)], [score])
    assert label.tolist() == list(range(20)) and np.argsort(sure).tolist() == np.argsort(score).tolist()


def test_weights_find_the_best_of_the_grid():
    """Fails when only the first system is fitted, or a weight moves without a gain."""
    assert fit_weights(lambda w: -((w[0] - 0.5) ** 2) - (w[1] - 2) ** 2, 3) == [0.5, 2.0, 1.0]
    assert fit_weights(lambda w: 1.0, 2) == [1.0, 1.0]


@pytest.mark.parametrize("weights", [[1], [0, 0], [-1, 1], [np.nan, 1], [np.inf, 1]])
def test_weights_that_do_not_fit(weights):
    """Fails when weights that cannot be meant make vectors that are no numbers."""
    with pytest.raises(InputError, match="weights .* of 2 systems"):
        join_vectors(PARTS, weights)
    with pytest.raises(InputError, match="weights .* of 2 systems"):
        blend_answers([[1], [2]], [[0.1], [0.2]], weights)


def test_systems_that_do_not_fit():
    """Fails when embeddings of other images are joined, or a NaN takes a rank."""
    with pytest.raises(InputError, match="the same images"):
        join_vectors([np.ones((2, 3)), np.ones((3, 3))])
    with pytest.raises(InputError, match="NaN"):
        blend_answers([[1]], [[np.nan]])
    with pytest.raises(InputError, match="0 systems"):
        fit_weights(lambda w: 0.0, 0)
    with pytest.raises(InputError, match="of 0 systems"):
        join_vectors([])
