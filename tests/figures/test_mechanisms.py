"""Drawings of layers: their numbers, against a loop."""

import math

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


def test_self_attention_writes_the_numbers_of_a_loop():
    """Fails when a row of weights is read as a column, or γ scales the map and not what is added."""
    x, gamma = [0.0, 1.0, 2.0], 0.5
    weights, mixed = [], []
    for asks in x:
        powers = [math.exp(asks * answers) for answers in x]
        weights.append([power / sum(powers) for power in powers])
        mixed.append(sum(weight * value for weight, value in zip(weights[-1], x, strict=True)))
    fig = mechanisms.self_attention_flow(x, weights, gamma)
    words = [t.get_text() for t in texts(fig)]
    assert all(f"{round(weight, 3):g}" in words for row in weights for weight in row)
    assert all(f"{round(value + gamma * new, 3):g}" in words for value, new in zip(x, mixed, strict=True))
    assert "weights 0.333 0.333 0.333 / 0.09 0.245 0.665 / 0.016 0.117 0.867; o 1 / 1.575 / 1.851" in fig.get_label()


def test_spatial_attention_writes_the_numbers_into_its_squares():
    """Fails when the squares of sums and weights are swapped or turned over."""
    fig = mechanisms.spatial_attention_flow([[0.0, 2.0], [1.0, 0.0]], [[0.083, 0.61], [0.225, 0.083]])
    top = {t.get_text(): t.get_position() for t in texts(fig)}
    assert top["2"][1] > top["1"][1] and top["2"][0] > top["1"][0] and top["0.61"][0] > top["2"][0]
    assert "sums 0 2 / 1 0; weights 0.083 0.61 / 0.225 0.083" in fig.get_label()
