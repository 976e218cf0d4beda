"""Figures of scores, against the scores."""

import numpy as np
import pytest

from landmark.figures import scores


def test_gap_walk_area_is_the_gap():
    """Fails when the bars drawn do not add up to GAP: worked case (1/2 + 2/3 + 3/5) / 4."""
    fig = scores.gap_walk([False, True, True, False, True], 4)
    area = sum(bar.get_width() * bar.get_height() for bar in fig.axes[1].patches)
    assert area == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 4)
    assert f"{area:.3f}" in fig.axes[1].get_title(loc="left")


def test_sibling_confusion_shares_sum_to_a_hundred_along_rows():
    """Fails when columns are normalised instead of rows."""
    mesh = scores.sibling_confusion([[3, 1], [0, 0]], ["a", "b"]).axes[0].collections[0]
    assert np.asarray(mesh.get_array()).reshape(2, 2).tolist() == [[75, 25], [0, 0]]
