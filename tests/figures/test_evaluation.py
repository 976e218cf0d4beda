"""Figures of evaluations, against the numbers that were given."""

import numpy as np
import pandas as pd
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


def whiskers(container):
    """(value, low, high, row) of each dot."""
    points, _, (lines,) = container.lines
    ends = [segment[:, 0].tolist() for segment in lines.get_segments()]
    return [(x, *end, y) for x, y, end in zip(*points.get_data(), ends, strict=True)]


def test_whiskers_end_where_the_intervals_do():
    """Fails when the ends are taken for lengths, low and high are exchanged, or rows come from below."""
    fig = evaluation.interval_bars(
        ["a", "b"], [0.5, -0.1], [0.4, -0.3], [0.9, 0.0], xlabel="difference of GAP", title="t", lines={"none": 0}
    )
    (ax,) = fig.axes
    drawn = whiskers(ax.containers[0])
    assert [row[:3] for row in drawn] == [pytest.approx(row) for row in ((0.5, 0.4, 0.9), (-0.1, -0.3, 0.0))]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert ax.transData.transform((0, drawn[0][3]))[1] > ax.transData.transform((0, drawn[1][3]))[1], "first on top"
    assert [text.get_text() for text in ax.texts] == ["0.500", "-0.100"]


def test_gap_table_draws_each_kind_in_its_models_row():
    """Fails when closed and open change places, the paper's figures move up a row, or the loss is in GAP's panel."""
    row = {"closed": 0.7, "closed_low": 0.6, "closed_high": 0.8, "open": 0.3, "open_low": 0.2, "open_high": 0.4}
    other = {name: value / 2 for name, value in row.items()}
    table = pd.DataFrame([row, other], index=["x", "y"]).assign(paper=[0.5, 0.9], loss=[1.0, 2.0])
    gap, loss = evaluation.gap_table(table).axes
    closed, opened = (whiskers(container) for container in gap.containers)
    assert closed[1][:3] == pytest.approx((0.35, 0.3, 0.4)) and round(closed[1][3]) == 1
    assert opened[0][:3] == pytest.approx((0.3, 0.2, 0.4)) and round(opened[0][3]) == 0
    assert gap.collections[-1].get_offsets().tolist() == [[0.5, 0], [0.9, 1]]
    assert loss.collections[0].get_offsets()[:, 0].tolist() == [1, 2]
