"""Sheets of pictures: every picture whole and in its place."""

import numpy as np
import pytest

from landmark.figures import pictures


def test_panels_keep_every_picture_whole_and_marks_its_place():
    """Fails when a wide picture is stretched or cut, or the mark of cell (row, column) lands at (column, row)."""
    fig = pictures.attention_maps([np.zeros((10, 20, 3))], np.ones((1, 5, 10)), [(4, 0)])
    picture, mark = fig.axes[0].images[0], fig.axes[0].lines[0]
    left, right, bottom, top = picture.get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)
    (x,), (y,) = mark.get_data()
    assert (x - left) / (right - left) == pytest.approx(0.05)
    assert (y - top) / (bottom - top) == pytest.approx(0.9)
