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


def test_matches_join_a_query_and_its_nearest():
    """Fails when x and y are swapped, a line ends at another picture, or the frame of the unknown says right or wrong."""
    matches = np.array([[0.25, 0.5, 1.0, 0.0]])
    query, near = np.zeros((10, 20, 3)), np.zeros((20, 10, 3))
    fig = pictures.nearest_neighbours([query], [[near, query]], [[None, True]], matches=[matches])
    axes = fig.axes[0]
    (line,) = axes.collections[0].get_segments()
    (a, b, bottom, top), (left, right, low, high) = (picture.get_extent() for picture in axes.images[:2])
    assert line.tolist() == [pytest.approx([a + (b - a) / 4, (top + bottom) / 2]), pytest.approx([right, high])]
    frames = [patch.get_edgecolor() for patch in axes.patches]
    assert len(set(frames)) == 3, "the query's, that of what is not known, that of what is right"
