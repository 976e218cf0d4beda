"""The rule of a search against its sentence, in plain loops."""

import math

import numpy as np
import pytest

from landmark.evaluation.neighbours import Neighbours, find_nearest, unit
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.fusion.rule import decide

RNG = np.random.default_rng(0)
INDEX, LANDMARK = unit(RNG.normal(size=(30, 6))), RNG.integers(0, 5, 30)
NEAR = find_nearest(unit(RNG.normal(size=(8, 6))), INDEX, 10)
INLIERS, BURDEN = RNG.integers(-1, 150, (8, 10)), RNG.uniform(0, 0.4, (8, 10)).astype(np.float32)


@pytest.mark.parametrize(
    "config", [SearchConfig(neighbours=1, margin=0), SearchConfig(neighbours=4, margin=0.5, enough=50)]
)
@pytest.mark.parametrize("compared", [False, True])
def test_it_is_a_loop(config, compared):
    """Fails when a term is left out, has the wrong sign, or is of the wrong neighbour after they are sorted anew."""
    verdict = decide(NEAR, LANDMARK, config, inliers=INLIERS if compared else None, burden=BURDEN)
    for q in range(8):
        scores = {}
        for j, row in enumerate(NEAR.rows[q].tolist()):
            extra = min(max(INLIERS[q, j], 0), config.enough) / config.enough if compared else 0
            scores[row] = NEAR.similarity[q, j] - BURDEN[q, j] + extra
        best = sorted(scores, key=scores.get, reverse=True)
        assert verdict.ranked.rows[q].tolist() == best and NEAR.rows[q][verdict.order[q]].tolist() == best
        votes = {}
        for row in best[: config.neighbours]:
            mark = int(LANDMARK[row])
            votes[mark] = votes.get(mark, 0) + math.exp((scores[row] - 1) / config.temperature)
        soft = sorted((1 + config.temperature * math.log(v), mark) for mark, v in votes.items())[::-1]
        second = max(soft[1][0], 0) if len(soft) > 1 else 0
        assert verdict.landmark[q] == soft[0][1]
        assert verdict.score[q] == pytest.approx(soft[0][0] - config.margin * second, abs=1e-5)


def test_no_neighbour_is_no_answer():
    """Fails when a query without a neighbour is answered, or the logarithm of no votes is an error."""
    none = Neighbours(np.full((1, 2), -1), np.full((1, 2), -np.inf, np.float32))
    verdict = decide(none, LANDMARK, SearchConfig(), inliers=np.full((1, 2), -1))
    assert verdict.landmark.tolist() == [-1] and verdict.score.tolist() == [-np.inf]
