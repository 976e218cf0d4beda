"""Oracles: plain loops, the explicit outer product, direct circular convolution."""

import pytest
import torch

from landmark.models import functional as fn


def _hashes(c, dim, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [
        t
        for _ in range(2)
        for t in (torch.randint(dim, (c,), generator=g), torch.randint(2, (c,), generator=g) * 2.0 - 1)
    ]


def test_count_sketch_is_the_plain_loop():
    """Fails when bins or signs are mixed up, or when colliding inputs overwrite each other instead of adding."""
    x, (h, s, _, _) = torch.randn(3, 20), _hashes(20, 7)
    expected = torch.zeros(3, 7)
    for i in range(20):
        expected[:, h[i]] += s[i] * x[:, i]
    torch.testing.assert_close(fn.count_sketch(x, h, s, 7), expected)


def test_tensor_sketch_is_a_circular_convolution_and_a_sketch_of_the_outer_product():
    """Fails when the FFT length is not D (a linear convolution) or the two hashes are the same."""
    for dim in (8, 9):
        x = torch.randn(6, dtype=torch.float64)
        h1, s1, h2, s2 = _hashes(6, dim)
        direct = torch.zeros(dim, dtype=torch.float64)
        for i in range(6):
            for j in range(6):
                direct[(h1[i] + h2[j]) % dim] += s1[i] * s2[j] * x[i] * x[j]
        torch.testing.assert_close(fn.tensor_sketch(x, h1, s1, h2, s2, dim), direct)


def test_tensor_sketch_estimates_the_squared_inner_product():
    """Fails when the estimate is biased: signs of one hash only, or a missing sign."""
    x, y = torch.randn(32, generator=torch.Generator().manual_seed(1)), torch.ones(32)
    estimates = []
    for seed in range(400):
        hashes = _hashes(32, 256, seed)
        estimates.append((fn.tensor_sketch(x, *hashes, 256) * fn.tensor_sketch(y, *hashes, 256)).sum())
    estimates = torch.stack(estimates)
    error = (estimates.mean() - (x @ y) ** 2).abs()
    assert error < 4 * estimates.std() / len(estimates) ** 0.5


def test_gem_is_the_plain_loop_between_mean_and_maximum():
    """Fails when the root is missing or the power is taken after the mean."""
    x = torch.rand(2, 3, 4, 5) + 0.1
    for p in (1.0, 3.0, 200.0):
        for b in range(2):
            for c in range(3):
                places = [v.double() ** p for v in x[b, c].flatten()]
                assert torch.isclose(fn.gem(x.double(), p)[b, c], (sum(places) / 20) ** (1 / p))
    torch.testing.assert_close(fn.gem(x.double(), 200.0), x.double().amax((2, 3)), rtol=0.02, atol=0)


def test_gradients_agree_with_finite_differences():
    """Fails when a backward pass is wrong, and when the signed root has an infinite gradient at 0."""
    x = torch.rand(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: fn.gem(t, 3.0), x)
    assert torch.autograd.gradcheck(fn.spatial_softmax, x)
    v = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    hashes = _hashes(5, 8)
    assert torch.autograd.gradcheck(lambda t: fn.tensor_sketch(t, *hashes, 8), v)
    zero = torch.zeros(4, requires_grad=True)
    fn.signed_sqrt(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_spatial_softmax_by_hand():
    """Fails when the softmax runs over channels or over the batch."""
    x = torch.tensor([[[[0.0, 1.0]], [[0.0, 1.0]]]])  # (1, 2, 1, 2): sums 0 and 2
    e = torch.e**2
    torch.testing.assert_close(fn.spatial_softmax(x).flatten(), torch.tensor([1 / (1 + e), e / (1 + e)]))


@pytest.mark.parametrize(("images", "places", "dim"), [(3, 1, 9), (2, 40, 16), (40, 3, 8)])
def test_sketch_of_a_map_is_the_sum_of_its_places_sketches(images, places, dim):
    """Fails when a portion of images or places is lost, counted twice, or gets the gradient of another."""
    hashes = [t.double() if t.is_floating_point() else t for t in _hashes(6, dim)]
    x = torch.randn(images, places, 6, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(images, dim, dtype=torch.float64)
    expected = fn.tensor_sketch(x, *hashes, dim).sum(1)
    found = fn.bilinear_sketch(x, *hashes, dim)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, upstream) for y in (found, expected)))


def test_sketch_of_a_map_has_the_gradient_of_finite_differences():
    """Fails when the backward pass, which sketches anew, differs from the forward pass."""
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    for dim in (8, 9):
        assert torch.autograd.gradcheck(lambda t, d=dim: fn.bilinear_sketch(t, *_hashes(5, d), d), x)


def test_sketch_of_a_map_in_single_and_half_precision():
    """Fails when float32 strays by more than 1e-4, half precision reaches the transform, or a zero map gives NaN."""
    hashes = _hashes(64, 512)
    x = torch.randn(2, 49, 64)
    exact = fn.tensor_sketch(x.double(), *hashes, 512).sum(1)
    assert (fn.bilinear_sketch(x, *hashes, 512) - exact).norm() < 1e-4 * exact.norm()
    for dtype in (torch.bfloat16, torch.float16):
        half = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = fn.bilinear_sketch(half, *hashes, 512)
        y.sum().backward()
        assert y.dtype == torch.float32 and half.grad.dtype == dtype
        torch.testing.assert_close(y, fn.bilinear_sketch(half.float(), *hashes, 512))
    zero = torch.zeros(1, 4, 64, requires_grad=True)
    y = fn.bilinear_sketch(zero, *hashes, 512)
    y.sum().backward()
    assert not y.any() and not zero.grad.any()


def test_sketch_of_a_map_is_the_same_each_time():
    """Fails when values or gradients depend on the order in which threads add, or deterministic mode is refused."""
    hashes, x = _hashes(64, 32), torch.randn(3, 70, 64, requires_grad=True)

    def both():
        y = fn.bilinear_sketch(x, *hashes, 32)
        return y.detach(), torch.autograd.grad(y.square().sum(), x)[0]

    first = both()
    torch.use_deterministic_algorithms(True)
    try:
        again = both()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_sketch_of_a_map_keeps_nothing_but_its_input():
    """Fails when spectra of all places stay in memory until the backward pass."""
    hashes, kept = _hashes(8, 4096), []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    x = torch.randn(2, 50, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        fn.bilinear_sketch(x, *hashes, 4096)
    assert sum(kept) == x.numel() + 4 * 8
