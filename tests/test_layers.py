"""Oracles: plain loops over places, singular values, the functions below."""

import torch

from landmark import functional
from landmark.layers import CompactBilinearPooling, GeM, SelfAttention2d, SpatialAttention


def test_self_attention_is_the_plain_loop():
    """Fails when the attention is transposed, or γ multiplies the input."""
    torch.manual_seed(0)
    layer = SelfAttention2d(8).eval()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
        x = torch.randn(1, 8, 2, 3)
        f, g, v = (conv(x)[0].flatten(1) for conv in (layer.query, layer.key, layer.value))
        expected = x[0].flatten(1).clone()
        for i in range(6):
            scores = torch.stack([f[:, i] @ g[:, j] for j in range(6)])
            weights = scores.exp() / scores.exp().sum()
            for j in range(6):
                expected[:, i] += 0.7 * weights[j] * v[:, j]
        torch.testing.assert_close(layer(x)[0].flatten(1), expected)


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


def test_sketch_sums_over_places_whatever_the_precision():
    """Fails when places are averaged or concatenated, or when half precision reaches the FFT."""
    layer = CompactBilinearPooling(12, dim=33)
    x = torch.randn(2, 12, 3, 4)
    expected = sum(layer(x[:, :, i, j]) for i in range(3) for j in range(4))
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x.bfloat16()).dtype == torch.float32


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


def test_gem_and_spatial_attention_keep_their_shapes_and_gradients():
    """Fails when the exponent is not learned or the attention does not sum to one."""
    pool = GeM()
    pool(torch.rand(2, 3, 4, 4)).sum().backward()
    assert pool.p.grad is not None
    assert torch.allclose(SpatialAttention()(torch.ones(1, 1, 4, 4)).sum(), torch.tensor(1.0))
