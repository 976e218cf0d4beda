"""Drawings of layers: their numbers, against a loop."""

from landmark.figures import mechanisms, networks
from tests.helpers import texts


def test_depthwise_separable_counts_like_a_loop():
    """Fails when a factor is missing from the multiplication counts."""
    channels, filters, side, kernel = 2, 3, 4, 3
    full = sum(1 for _ in range(filters * side * side) for _ in range(channels * kernel * kernel))
    slim = sum(kernel * kernel for _ in range(channels * side**2)) + sum(channels for _ in range(filters * side**2))
    words = " ".join(t.get_text() for t in texts(mechanisms.depthwise_separable(channels, filters, side, kernel)))
    assert f"= {networks.count(full)} multiplications" in words
    assert f"= {networks.count(slim)} multiplications" in words
