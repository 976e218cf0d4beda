"""Figures of an open world, against the numbers they draw."""

import numpy as np
import pytest

from landmark.figures import evaluation


def test_curves_and_whiskers_are_the_numbers():
    """Fails when the axes are swapped, or a whisker is drawn at its bound instead of from it."""
    fig = evaluation.gap_by_share({"a": ([0, 0.5], [0.8, 0.6])}, {"a": [(0.5, 0.6, 0.5, 0.65)]}, here=0.3)
    ax = fig.axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[0, 0.8], [50, 0.6]]
    (bars,) = ax.collections
    assert np.asarray(bars.get_segments()[0])[:, 1].tolist() == pytest.approx([0.5, 0.65])
    for draw in (evaluation.risk_curves, evaluation.oscr_curves):
        assert draw({"a": ([0.5, 1], [0.1, 0.2])}).axes[0].lines[0].get_xydata().tolist() == [[0.5, 0.1], [1, 0.2]]


def test_reliability_shows_counts_below():
    """Fails when the counts are those of another system."""
    fig = evaluation.reliability_diagram({"a": ([0.1], [0.2], [3]), "b": ([0.9], [0.8], [7])})
    assert [line.get_ydata().tolist() for line in fig.axes[1].lines] == [[3], [7]]


def test_what_cannot_be_drawn_is_named():
    """Fails when NaN or columns of different lengths are drawn."""
    for curve in (([0, 1], [0.5, np.nan]), ([0], [0.5, 0.4])):
        with pytest.raises(ValueError, match="'bad'"):
            evaluation.oscr_curves({"bad": curve})
    with pytest.raises(ValueError, match="nothing"):
        evaluation.risk_curves({})
