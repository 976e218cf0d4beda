"""Oracles: plain loops, the explicit outer product, direct circular convolution."""

import torch

from landmark import functional as fn


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
