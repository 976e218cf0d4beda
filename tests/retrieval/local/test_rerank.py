"""Oracle: Python's own sort of pairs."""

import numpy as np

from landmark.evaluation.neighbours import Neighbours
from landmark.retrieval.local.rerank import fuse_inliers, order_anew


def test_the_new_order_is_that_of_a_loop():
    """Fails when a missing neighbour comes forward, equal ones change places, or scores go with other rows."""
    rng = np.random.default_rng(0)
    rows = np.array([rng.permutation(20)[:6] for _ in range(9)])
    similarity = -np.sort(-rng.integers(0, 5, (9, 6)) / 5, axis=1).astype(np.float32)
    rows[3, 4:], similarity[3, 4:] = -1, -np.inf
    inliers = rng.choice([-1, 0, 20, 40, 300], (9, 6))
    fused = fuse_inliers(similarity, inliers, 100)
    ranked, order = order_anew(Neighbours(rows, similarity), fused)
    for i in range(9):
        scores = [s + min(max(int(n), 0), 100) / 100 for s, n in zip(similarity[i], inliers[i], strict=True)]
        expected = sorted(range(6), key=lambda j: (rows[i, j] < 0, -np.float32(fused[i, j])))
        assert order[i].tolist() == expected and ranked.rows[i].tolist() == rows[i][expected].tolist()
        np.testing.assert_allclose(fused[i], scores, atol=1e-6)
        there = ranked.rows[i] >= 0
        np.testing.assert_allclose(ranked.similarity[i][there], np.array(scores)[expected][there], atol=1e-6)
        assert (ranked.similarity[i][~there] == -np.inf).all()
