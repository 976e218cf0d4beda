"""Oracles: plain loops over numbers, singular values, one rank for many."""

import math

import pytest
import torch

from landmark.models import functional
from landmark.models.layers import (
    AttentionPool,
    AveragePool,
    CompactBilinearPooling,
    Dropout,
    GeM,
    MaxPool,
    Normalise,
    RandomProjection,
    Reshape,
    SelfAttention2d,
    Shuffle,
    SpatialAttention,
)
from landmark.utils import distributed

SHAPES = [(1, 1, 1, 1), (2, 5, 3, 4), (3, 2, 1, 7), (1, 12, 6, 2)]
maps = pytest.mark.parametrize("shape", SHAPES, ids=str)


def _random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def _attention(image, scale=1.0):
    """Share of each place of an image, a list of channels of places: softmax of the sum over channels."""
    sums = [scale * sum(channel[p] for channel in image) for p in range(len(image[0]))]
    return [math.exp(s) / sum(map(math.exp, sums)) for s in sums]


def _places(x):
    """A map as nested lists: images of channels of places."""
    return x.double().flatten(2).tolist()


def _close(found, expected):
    torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype), rtol=1e-4, atol=1e-5)


@maps
def test_mean_and_maximum_are_the_plain_loop(shape):
    """Fails when another axis is pooled, places are summed, or mean and maximum are exchanged."""
    x = _random(*shape)
    _close(AveragePool()(x), [[sum(channel) / len(channel) for channel in image] for image in _places(x)])
    _close(MaxPool()(x), [[max(channel) for channel in image] for image in _places(x)])


@maps
@pytest.mark.parametrize("p", [1.0, 3.0, 4.5])
def test_gem_is_the_plain_loop(shape, p):
    """Fails when GeM is the mean, the maximum or a multiple of them, and when negative numbers are not cut off."""
    x = _random(*shape)
    rows = [[[max(v, 1e-6) ** p for v in channel] for channel in image] for image in _places(x)]
    _close(GeM(p)(x), [[(sum(channel) / len(channel)) ** (1 / p) for channel in image] for image in rows])


def test_the_exponent_of_gem_learns_as_finite_differences_say():
    """Fails when the exponent is no parameter, or the layer does not depend on it as the formula does."""
    layer, x = GeM().double(), _random(2, 3, 4, 4).double().abs()
    layer(x).sum().backward()
    above, below = (functional.gem(x, 3 + step).sum() for step in (1e-6, -1e-6))
    torch.testing.assert_close(layer.p.grad, ((above - below) / 2e-6)[None], rtol=1e-3, atol=1e-6)


@maps
def test_spatial_attention_is_the_plain_loop(shape):
    """Fails when every position gets the same share, the softmax runs over channels, or the map is left out."""
    x = _random(*shape)
    expected = []
    for image in _places(x):
        share = _attention(image)
        expected.append([[v * s for v, s in zip(channel, share, strict=True)] for channel in image])
    _close(SpatialAttention()(x).flatten(2), expected)


@maps
def test_attention_pool_is_the_plain_loop(shape):
    """Fails when it is a plain mean, or the sum of channels is not divided by √C."""
    x = _random(*shape)
    expected = []
    for image in _places(x):
        share = _attention(image, 1 / math.sqrt(shape[1]))
        expected.append([sum(v * s for v, s in zip(channel, share, strict=True)) for channel in image])
    _close(AttentionPool()(x), expected)


def test_the_root_of_attention_is_that_of_the_plain_loop_where_weights_vanish():
    """Fails when the root is of the map, or a weight that underflows to 0 gives the map a gradient that is no number."""
    x = _random(2, 5, 3, 4)
    expected = [[[v * math.sqrt(s) for v, s in zip(channel, _attention(image), strict=True)] for channel in image]
                for image in _places(x)]  # fmt: skip
    _close(SpatialAttention(root=True)(x).flatten(2), expected)
    sharp = (1000 * x).requires_grad_()
    y = SpatialAttention(root=True)(sharp)
    y.sum().backward()
    assert (functional.spatial_softmax(sharp) == 0).any() and torch.isfinite(y).all()
    assert torch.isfinite(sharp.grad).all()


@pytest.mark.parametrize(
    "layer",
    [GeM(), SpatialAttention(), SpatialAttention(root=True), AttentionPool(), CompactBilinearPooling(8, dim=16)],
)
def test_half_precision_maps_are_weighed_in_float32(layer):
    """Fails when cubes overflow or small weights vanish where activations are in half precision."""
    x = (20 * _random(2, 8, 3, 3)).abs().half()
    y = layer(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, layer(x.float()))


@pytest.mark.parametrize("shape", [(1, 8, 2, 3), (2, 3, 4, 1), (2, 16, 1, 1), (1, 24, 3, 3)], ids=str)
def test_self_attention_is_the_plain_loop(shape):
    """Fails when the attention is transposed, γ multiplies the input, or images of a batch see each other."""
    torch.manual_seed(0)
    layer, x = SelfAttention2d(shape[1]).eval(), _random(*shape)
    with torch.no_grad():
        layer.gamma.fill_(0.7)
        result, attention = layer(x), layer.attention(x)
        for b in range(shape[0]):
            f, g, v = (conv(x[b : b + 1])[0].flatten(1) for conv in (layer.query, layer.key, layer.value))
            count = f.shape[1]
            expected = x[b].flatten(1).clone()
            for i in range(count):
                scores = torch.stack([f[:, i] @ g[:, j] for j in range(count)])
                weights = scores.exp() / scores.exp().sum()
                torch.testing.assert_close(attention[b, i], weights)
                for j in range(count):
                    expected[:, i] += 0.7 * weights[j] * v[:, j]
            torch.testing.assert_close(result[b].flatten(1), expected, rtol=1e-4, atol=1e-5)


def test_self_attention_starts_as_the_identity_and_is_spectrally_normalised():
    """Fails when γ does not start at 0 or the 1×1 convolutions are free to grow."""
    layer = SelfAttention2d(16).train()
    with torch.no_grad():
        layer.value.parametrizations.weight.original.mul_(50)
    x = torch.randn(1, 16, 3, 3)
    for _ in range(60):
        layer(x)
    assert torch.equal(layer(x), x)
    assert abs(torch.linalg.matrix_norm(layer.value.weight[..., 0, 0], 2).item() - 1) < 1e-2


@pytest.mark.parametrize(
    ("shape", "dim"), [((2, 5, 3, 4), 8), ((1, 3, 1, 1), 9), ((3, 7), 16), ((1, 6, 5, 2), 4)], ids=str
)
def test_compact_bilinear_pooling_is_the_plain_loop(shape, dim):
    """Fails when places are averaged, a sign or a hash is left out, or the convolution is not circular."""
    layer, x = CompactBilinearPooling(shape[1], dim=dim, seed=3), _random(*shape)
    h1, s1, h2, s2 = (t.tolist() for t in (layer.h1, layer.s1, layer.h2, layer.s2))
    expected = [[0.0] * dim for _ in range(shape[0])]
    for row, image in zip(expected, _places(x[:, :, None]) if x.dim() == 2 else _places(x), strict=True):
        for i, first in enumerate(image):
            for j, second in enumerate(image):
                product = sum(a * b for a, b in zip(first, second, strict=True))
                row[(h1[i] + h2[j]) % dim] += s1[i] * s2[j] * product
    _close(layer(x), expected)


def test_sketch_of_a_zero_map_and_its_hashes_are_saved():
    """Fails when a blank image gives NaN, or a loaded network would hash anew."""
    layer = CompactBilinearPooling(12, dim=16, seed=1)
    x = torch.zeros(1, 12, 2, 2, requires_grad=True)
    layer(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    other = CompactBilinearPooling(12, dim=16, seed=2)
    other.load_state_dict(layer.state_dict())
    v = torch.randn(1, 12)
    assert torch.equal(other(v), layer(v))
    assert not torch.equal(CompactBilinearPooling(12, dim=16, seed=2)(v), layer(v))


def test_sketch_layer_takes_any_layout_and_loads_older_weights():
    """Fails when channels-last maps are read as another map, or the buffers' names or values change."""
    layer = CompactBilinearPooling(12, dim=64)
    assert {name: tuple(t.shape) for name, t in layer.state_dict().items()} == dict.fromkeys(
        "h1 s1 h2 s2".split(), (12,)
    )
    x = torch.randn(2, 12, 3, 5)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x))
    expected = functional.tensor_sketch(x.flatten(2).mT, layer.h1, layer.s1, layer.h2, layer.s2, 64).sum(1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    assert layer.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 64)], ids=str)
def test_normalise_is_the_plain_loop(shape):
    """Fails when the sign, the root or the norm is left out, or their order is exchanged."""
    x = 3 * _random(*shape)
    expected = []
    for row in x.double().tolist():
        roots = [math.copysign(math.sqrt(abs(v) + 1e-8) - 1e-4, v) for v in row]
        expected.append([v / math.sqrt(sum(r * r for r in roots)) for v in roots])
    _close(Normalise()(x), expected)
    assert not Normalise()(torch.zeros(2, 5)).any()


@pytest.mark.parametrize("shape", [(2, 3, 5), (8, 1, 1), (1, 2, 2)], ids=str)
def test_reshape_is_the_plain_loop(shape):
    """Fails when axes are exchanged or images of a batch are mixed."""
    channels, height, width = shape
    x = _random(2, channels * height * width)
    y = Reshape(*shape)(x)
    assert y.shape == (2, *shape)
    for b, c, i, j in torch.cartesian_prod(*map(torch.arange, y.shape)).tolist():
        assert y[b, c, i, j] == x[b, (c * height + i) * width + j]


def test_shuffle_is_an_order_of_the_same_numbers():
    """Fails when a number is lost or doubled, images get different orders, or every seed gives the same one."""
    x = torch.arange(12.0)[None] + torch.tensor([[0.0], [100.0]])
    y = Shuffle(12, seed=1)(x)
    assert torch.equal(y.sort(1).values, x) and torch.equal(y[1], y[0] + 100)
    assert not torch.equal(y, x) and not torch.equal(y, Shuffle(12, seed=2)(x))


def test_random_projection_is_the_plain_loop():
    """Fails when the matrix is not of signs alone, is drawn anew at each call or saved, or a product slips in."""
    layer, x = RandomProjection(6, 9, seed=2), _random(3, 6)
    y = layer(x)
    assert torch.equal(y, RandomProjection(6, 9, seed=2)(x)) and not layer.state_dict()
    signs = (layer.signs * 6**0.5).round()
    assert set(signs.flatten().tolist()) == {-1, 1}
    _close(
        y,
        [
            [sum(s * v for s, v in zip(row, image, strict=True)) / 6**0.5 for row in signs.tolist()]
            for image in x.tolist()
        ],
    )
    torch.testing.assert_close(layer(3 * x), 3 * y)  # a sketch of pairs would be nine times as large


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_dropout_of_several_ranks_is_that_of_one(monkeypatch, ranks):
    """Fails when a mask belongs to a rank instead of an image, what stays is not scaled up, or prediction drops too."""
    layer, x = Dropout(0.3).train(), _random(6, 50) + 5  # no zero among them
    torch.manual_seed(1)
    whole = layer(x)
    dropped = whole == 0
    assert 0.2 < dropped.float().mean() < 0.4 and len(set(dropped.sum(1).tolist())) > 1
    torch.testing.assert_close(whole[~dropped], x[~dropped] / 0.7)
    monkeypatch.setattr(distributed, "size", lambda: ranks)
    for rank in range(ranks):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        torch.manual_seed(1)
        assert torch.equal(layer(x[rank::ranks]), whole[rank::ranks])
    assert layer.eval()(x) is x


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_temperature_of_attention_is_the_plain_loop(temperature):
    """Fails when a warmer softmax is the sharper one, or one of the two layers does not take the temperature."""
    x = _random(2, 5, 3, 4)
    plain, pooled = SpatialAttention(temperature)(x), AttentionPool(temperature)(x)
    for image, places in enumerate(_places(x)):
        weights = _attention(places, 1 / temperature)
        expected = [[value * w for value, w in zip(channel, weights, strict=True)] for channel in places]
        _close(plain[image].flatten(1), expected)
        weights = _attention(places, 1 / 5**0.5 / temperature)
        _close(pooled[image], [sum(v * w for v, w in zip(channel, weights, strict=True)) for channel in places])


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("l2", [False, True])
def test_each_half_of_normalise_can_be_left_out(root, l2):
    """Fails when a switch turns off the other half, or both."""
    rows = _random(2, 6)
    for row, found in zip(rows.double().tolist(), Normalise(root, l2)(rows), strict=True):
        row = [math.copysign(math.sqrt(abs(v)), v) for v in row] if root else row
        length = math.sqrt(sum(v * v for v in row)) if l2 else 1
        assert found.tolist() == pytest.approx([v / length for v in row], abs=2e-4)
