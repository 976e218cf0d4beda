"""Measurements at layers, against plain loops."""

import numpy as np
import pytest
import torch
from torch import nn

from landmark.course.lessons import layers
from landmark.models.functional import tensor_sketch
from landmark.models.layers import AttentionPool, SelfAttention2d, SpatialAttention


class Tiny(nn.Module):
    """A network with stages, attention and a head, small enough to follow."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential()
        self.backbone.add_module("first", nn.Conv2d(3, 4, 3, 2))
        self.backbone.add_module("act", nn.ReLU())
        self.backbone.add_module("last", nn.Conv2d(4, 8, 1))
        self.attention = SelfAttention2d(8, 2)
        self.pool = nn.Sequential(AttentionPool())
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))

    def forward_features(self, x):
        return self.backbone(x)

    def forward(self, x):
        return self.head(self.attention(self.forward_features(x)).mean((2, 3)))


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tiny().eval()


IMAGES = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def test_sizes_and_frozen_stages(net):
    """Fails when a stage without parameters is listed, a bias is not counted, or a stage frozen in part counts as trained."""
    assert layers.stage_sizes(net.backbone) == [("first", 3 * 4 * 9 + 4), ("last", 4 * 8 + 8)]
    assert layers.frozen_stages(net.backbone) == {}
    net.backbone.first.requires_grad_(False)
    net.backbone.last.bias.requires_grad_(False)
    assert layers.frozen_stages(net.backbone) == {"first": 1.0, "last": 8 / 40}


def test_sketch_errors_are_relative_and_fall_with_the_dimension():
    """Fails when the error is not |⟨TS(x), TS(y)⟩ − ⟨x, y⟩²| / ⟨x, y⟩², or all draws share their hashes."""
    errors = layers.sketch_errors([32, 512], repeats=40, channels=12, seed=3)
    assert errors.shape == (2, 40) and (errors >= 0).all() and len(np.unique(errors)) == 80
    root = np.sqrt((errors**2).mean(1))
    assert 2 < root[0] / root[1] < 8, "1/√D: four times"
    generator = torch.Generator().manual_seed(3)
    x, y = torch.rand(2, 12, generator=generator)
    h = torch.randint(0, 32, (2, 12), generator=generator)
    s = torch.randint(0, 2, (2, 12), generator=generator) * 2.0 - 1
    exact = sum(float(a * b) for a, b in zip(x, y, strict=True)) ** 2
    sketched = float(tensor_sketch(x, h[0], s[0], h[1], s[1], 32) @ tensor_sketch(y, h[0], s[0], h[1], s[1], 32))
    assert errors[0, 0] == pytest.approx(abs(sketched - exact) / exact, rel=1e-4)


def softmax_of_sums(x, divisor):
    """The weight of each position of a map (C, H, W), by a loop."""
    _, height, width = x.shape
    powers = {(i, j): np.exp(x[:, i, j].sum() / divisor) for i in range(height) for j in range(width)}
    return {place: power / sum(powers.values()) for place, power in powers.items()}


def test_spatial_weights_are_a_softmax_over_positions(net):
    """Fails when channels are averaged, √C is left out, or the temperature: against a plain loop."""
    net.pool = nn.Sequential(AttentionPool(temperature=4.0))
    maps = net.forward_features(IMAGES).detach().numpy().astype(float)
    for got, x in zip(layers.spatial_weights(net, IMAGES), maps, strict=True):
        for place, weight in softmax_of_sums(x, 8**0.5 * 4).items():
            assert got[place] == pytest.approx(weight, rel=1e-4)


def test_spatial_weights_of_a_reshaped_vector(net):
    """Fails when the vector form's weights are taken of the map, or divided by √C, which that form does not do."""
    net.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Unflatten(1, (2, 2, 2)), SpatialAttention())
    vectors = net.forward_features(IMAGES).detach().numpy().astype(float).mean((2, 3))
    got = layers.spatial_weights(net, IMAGES)
    assert got.shape == (2, 2, 2)
    for weights, vector in zip(got, vectors, strict=True):
        for place, weight in softmax_of_sums(vector.reshape(2, 2, 2), 1).items():
            assert weights[place] == pytest.approx(weight, rel=1e-4)
    net.pool, net.backbone_name = nn.Sequential(nn.Flatten()), "tiny"
    with pytest.raises(ValueError, match="has no spatial attention"):
        layers.spatial_weights(net, IMAGES)


def test_effective_positions_by_hand():
    """Fails when the squares are added over the batch, or not inverted: 1 / (4 · 0.25²) = 4."""
    weights = np.array([[[0.25, 0.25], [0.25, 0.25]], [[1.0, 0.0], [0.0, 0.0]]])
    assert layers.effective_positions(weights).tolist() == [4.0, 1.0]


def test_attention_from_a_place_is_that_places_row(net):
    """Fails when row and column change places, or it is told who looks at the place instead of where it looks."""
    assert layers.attention_layer(net) is net.attention
    places = [(0, 3), (2, 1)]
    got = layers.self_attention_from(net, IMAGES, places)
    everything = net.attention.attention(net.forward_features(IMAGES)).detach().numpy()
    assert got.shape == (2, 4, 4)
    for image, (row, column) in enumerate(places):
        assert got[image].ravel() == pytest.approx(everything[image, 4 * row + column], rel=1e-5)
        assert got[image].sum() == pytest.approx(1, rel=1e-4)
        assert got[image].ravel() != pytest.approx(everything[image, :, 4 * row + column], rel=1e-3)


def test_gradient_norms_against_autograd(net, untouched):
    """Fails when an older gradient is added, a bias is left out, a frozen stage has one, or gradients stay behind."""
    labels = torch.tensor([0, 2])
    loss = nn.functional.cross_entropy(net(IMAGES), labels)
    parts = {"first": net.backbone.first, "last": net.backbone.last, "head": net.head}
    expected = {}
    for name, part in parts.items():
        gradients = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True)
        expected[name] = sum(float((g**2).sum()) for g in gradients) ** 0.5
    net.backbone.first.weight.grad = torch.ones_like(net.backbone.first.weight)
    assert dict(layers.gradient_norms(net, IMAGES, labels)) == pytest.approx(expected, rel=1e-4)
    assert all(p.grad is None for p in net.parameters())
    net.backbone.first.requires_grad_(False)
    assert dict(layers.gradient_norms(net, IMAGES, labels))["first"] == 0
