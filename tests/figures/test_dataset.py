"""Figures of a data set, against plain counts."""

import pytest

from landmark.figures import dataset


def test_filter_curve_counts_like_a_loop():
    """Fails when the filter is "more than" instead of "at least", or images and landmarks are swapped."""
    counts = [5, 3, 3, 1]
    images, classes = (line.get_ydata() for line in dataset.filter_curve(counts).axes[0].lines)
    for limit in range(1, 6):
        kept = [c for c in counts if c >= limit]
        assert images[limit - 1] == pytest.approx(100 * sum(kept) / 12)
        assert classes[limit - 1] == pytest.approx(100 * len(kept) / 4)


def test_class_sizes_says_what_the_filter_keeps():
    """Fails when a landmark exactly at the limit is counted as dropped."""
    texts = [text.get_text() for text in dataset.class_sizes([6, 3, 1], 3).axes[0].get_legend().get_texts()]
    assert "kept: 2 landmarks (67%), 90% of the images" in texts
