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


def test_open_world_shares_are_of_each_kind_and_bins_are_shared():
    """Fails when kinds of unequal number are drawn in counts or as shares of all, or over bins of their own."""
    values = {"right": [0.9] * 3 + [1.0], "distractor": [0.0, 0.0, 0.5, 0.99]}
    left, right = scores.open_world(values, [0, 0.5], [0.8, 0.6], here=0.4).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["right (4)", "distractor (4)"]
    for drawn, value in zip(left.collections, values.values(), strict=True):
        shares, edges = np.histogram(value, np.linspace(0, 1, 31))
        corners = drawn.get_paths()[0].vertices
        for share, middle in zip(shares * 25.0, (edges[:-1] + edges[1:]) / 2, strict=True):
            at = corners[np.abs(corners[:, 0] - middle) < 1 / 60 + 1e-9]
            assert at[:, 1].max() >= share and (not share or share in at[:, 1].round(6))
        assert corners[:, 1].max() == pytest.approx(shares.max() * 25)
    assert right.lines[0].get_xdata().tolist() == [0, 50] and right.lines[1].get_xdata()[0] == 40


def test_answered_bars_are_the_counts():
    """Fails when a coloured bar is not the answers given, precision divides by all images, or no answer divides by 0."""
    parts = {"right": (6, 10), "wrong: known": (1, 4), "wrong: distractor": (5, 26)}
    fig = scores.answered_bars(parts, threshold=0.35)
    widths = [bar.get_width() for bar in fig.axes[0].patches]
    assert widths == [10, 4, 26, 6, 1, 5]
    assert fig.get_suptitle() == "t = 0.35: an answer to 30.0 % of the images, precision 0.500"
    assert [text.get_text() for text in fig.axes[0].texts] == [" 6 of 10", " 1 of 4", " 5 of 26"]
    assert "precision nan" in scores.answered_bars({"right": (0, 3)}, threshold=1).get_suptitle()


def test_batches_are_drawn_in_percent_beside_the_whole():
    """Fails when a row's bars are not those of its batches, or do not add up to all of them."""
    gaps = {16: [0.2, 0.4, 0.4, 0.9], 64: [0.5, 0.5]}
    for ax, values in zip(scores.batch_gap_noise(gaps, 0.5).axes, gaps.values(), strict=True):
        heights = np.array([bar.get_height() for bar in ax.patches])
        assert heights.sum() == pytest.approx(100) and len(heights) == 40
        inside = [bar for bar in ax.patches if bar.get_x() <= values[1] < bar.get_x() + bar.get_width()]
        assert sum(bar.get_height() for bar in inside) == pytest.approx(100 * values.count(values[1]) / len(values))
        assert ax.lines[0].get_xdata()[0] == 0.5 and f"mean {np.mean(values):.3f}" in ax.get_title(loc="left")


def test_deletion_curve_is_the_mean_with_its_area():
    """Fails when images are summed, steps are taken for images, or the area is not that under the mean."""
    (ax,) = scores.deletion_curves({"grad_cam": [[1.0, 0.4, 0.0], [0.8, 0.2, 0.0]]}).axes
    assert ax.lines[0].get_ydata() == pytest.approx([0.9, 0.3, 0.0])
    assert ax.lines[0].get_label() == f"grad_cam: area {(0.9 + 0.3) / 4 + 0.3 / 4:.3f}"


def test_sketch_error_is_a_median_over_draws():
    """Fails when draws and dimensions change places, or the guide is not the 1/√D through the points."""
    (ax,) = scores.sketch_error([64, 256], [[0.3, 0.4, 0.9], [0.1, 0.2, 0.7]]).axes
    typical, guide = (line.get_ydata() for line in ax.lines)
    assert typical == pytest.approx([0.4, 0.2])
    assert guide[0] / guide[1] == pytest.approx(2) and np.prod(guide) == pytest.approx(np.prod(typical))


def test_waterfall_bars_hang_from_the_value_before():
    """Fails when a step starts at zero, the last one floats, or a whisker is not the interval of its value."""
    (ax,) = scores.waterfall(["a", "b", "c", "d"], [0.9, 0.5, 0.6, 0.2], [0.8, 0.4, 0.5, 0.1], [1, 0.6, 0.7, 0.4]).axes
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert np.array(ends) == pytest.approx(np.array([(0, 0.9), (0.9, 0.5), (0.5, 0.6), (0, 0.2)]))
    whiskers = ax.collections[0].get_segments()
    bounds = np.array([(0.8, 1), (0.4, 0.6), (0.5, 0.7), (0.1, 0.4)])
    assert np.array(whiskers)[:, :, 0] == pytest.approx(bounds)
    assert [text.get_text() for text in ax.texts] == ["0.900", "0.500 (-0.400)", "0.600 (+0.100)", "0.200 (-0.400)"]
    with pytest.raises(ValueError, match="2, 2, 2, 3 entries"):
        scores.waterfall(["a", "b"], [1, 2], [1, 2], [1, 2, 3])
