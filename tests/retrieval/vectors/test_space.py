"""What a search compares vectors in, against products and the whitening itself."""

import numpy as np
import pytest

from landmark.evaluation.neighbours import unit
from landmark.retrieval.vectors.space import SHRINK, Space
from landmark.retrieval.vectors.whitening import WithinWhitening

NOISE = np.random.default_rng(0)
INDEX, ASKED, OTHERS = (unit(NOISE.normal(size=(n, 6)) + 1) for n in (20, 4, 7))
LANDMARK = np.arange(20) // 4


@pytest.mark.parametrize("whiten", [0.0, 0.5])
def test_it_is_a_product_of_vectors(whiten):
    """Fails when queries, index or the images without a landmark are compared in another space than the others."""
    space = Space.fit(INDEX, LANDMARK, OTHERS, whiten)
    white = WithinWhitening.fit(INDEX, LANDMARK, whiten, shrink=SHRINK) if whiten else np.asarray
    product = white(ASKED) @ white(INDEX).T
    near, bare = space.near(ASKED, 20)
    np.testing.assert_allclose(near.similarity, -np.sort(-product, axis=1), atol=1e-6)
    asked = (white(ASKED) @ white(OTHERS).T).mean(1)  # of all seven, since ten are asked for
    theirs = -np.sort(-white(INDEX) @ white(OTHERS).T, axis=1)[:, :5].mean(1)
    np.testing.assert_allclose(bare, asked[:, None] + theirs[near.rows], atol=1e-6)


def test_a_small_index_stays_an_index():
    """Fails when one image, or the mean of one landmark, becomes a vector of nothing, or queries teach."""
    alone = Space.fit(INDEX[:1], LANDMARK[:1], None, 0.5)
    np.testing.assert_allclose(alone.index, INDEX[:1], atol=1e-6)
    pair = Space.fit(INDEX[:2], LANDMARK[:2], None, 0.5)
    assert pair.index[0] @ pair.index[1] > INDEX[0] @ INDEX[1]
    same = Space.fit(INDEX, LANDMARK, None, 0.5, np.arange(20))
    assert same.whitening is None and same.index is INDEX and not same.near(ASKED, 3)[1].any()
    held = Space.fit(INDEX, LANDMARK, None, 0.5, np.arange(4)).whitening
    assert held and np.allclose(
        held(ASKED), WithinWhitening.fit(INDEX[4:], LANDMARK[4:], 0.5, shrink=SHRINK)(ASKED), atol=1e-6
    )
