"""Pure tensor functions behind the layers: no state, no random numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def gem(x: Tensor, p: Tensor | float = 3.0, eps: float = 1e-6) -> Tensor:
    """Pool by the generalised mean `(mean over positions of max(x, eps)^p)^(1/p)`: p = 1 the mean, p → ∞ the maximum.

    Args:
        x: feature map (B, C, H, W).
        p: exponent, a number or a tensor of one element.
        eps: floor that keeps the root differentiable at 0.

    Returns:
        Pooled vectors (B, C).

    >>> gem(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), p=1.0)
    tensor([[2.5000]])

    Source: Radenović et al., "Fine-tuning CNN Image Retrieval with No Human Annotation", equation 3.
    """
    return x.clamp(min=eps).pow(p).mean(dim=(-2, -1)).pow(1.0 / p)


def count_sketch(x: Tensor, h: Tensor, s: Tensor, dim: int) -> Tensor:
    """Compute the count sketch `y[j] = sum of s[i] x[i] over all i with h[i] = j`.

    Args:
        x: vectors (..., C).
        h: bin of each input, int64 (C,) in [0, dim).
        s: sign of each input (C,) in {-1, +1}.
        dim: number of bins D.

    Returns:
        Sketches (..., D). The inner product of two sketches estimates that of the vectors, without bias.

    >>> count_sketch(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 1, 1]), torch.tensor([1.0, 1.0, -1.0]), 2)
    tensor([ 1., -1.])

    Source: Charikar et al., "Finding frequent items in data streams"; the paper, section 4.
    """
    return x.new_zeros(*x.shape[:-1], dim).index_add_(-1, h, x * s.to(x.dtype))  # (..., D)


def tensor_sketch(x: Tensor, h1: Tensor, s1: Tensor, h2: Tensor, s2: Tensor, dim: int) -> Tensor:
    """Sketch the outer product x xᵀ: `irfft(rfft(count_sketch(x, h1, s1)) · rfft(count_sketch(x, h2, s2)))`.

    A product of spectra is a circular convolution, and the convolution of two count sketches is the count sketch of
    the outer product with hash `(h1[i] + h2[j]) mod D` and sign `s1[i] s2[j]`: C² products that are never formed.
    For the sum over the positions of a map `bilinear_sketch` is several times faster.

    Args:
        x: vectors (..., C), float32 or float64 (no FFT of half precision on a CPU).
        h1: first hash (C,).
        s1: first sign (C,).
        h2: second hash (C,).
        s2: second sign (C,).
        dim: sketch dimension D.

    Returns:
        Sketches (..., D); the inner product of two of them estimates `<x, y>²`.

    >>> one = torch.ones(1)
    >>> tensor_sketch(torch.tensor([3.0]), torch.tensor([1]), one, torch.tensor([2]), one, 4).round().tolist()
    [0.0, 0.0, 0.0, 9.0]

    Source: Pham and Pagh, "Fast and scalable polynomial kernels via explicit feature maps"; Gao et al., "Compact
    Bilinear Pooling", algorithm 2.
    """
    return torch.fft.irfft(sketch_spectrum(x, h1, s1, h2, s2, dim), n=dim)


def sketch_spectrum(x: Tensor, h1: Tensor, s1: Tensor, h2: Tensor, s2: Tensor, dim: int) -> Tensor:
    """Compute the spectrum of the tensor sketch (..., D // 2 + 1), before the inverse transform.

    The transform is linear, so a sum over positions may be taken here, with one inverse transform instead of many.

    >>> i, one = torch.tensor([0]), torch.ones(1)
    >>> sketch_spectrum(torch.tensor([2.0]), i, one, i, one, 4).real
    tensor([4., 4., 4.])
    """
    first = torch.fft.rfft(count_sketch(x, h1, s1, dim))
    return first * torch.fft.rfft(count_sketch(x, h2, s2, dim))


def bilinear_sketch(x: Tensor, h1: Tensor, s1: Tensor, h2: Tensor, s2: Tensor, dim: int) -> Tensor:
    """Sum the tensor sketch over positions: `½ Im ifft(sum over p of fft(y1[p] + i y2[p])²)`, y1 and y2 count sketches.

    Both sketches of a position share one complex transform: the imaginary part of (y1 + i y2) * (y1 + i y2) is twice
    their convolution. Positions are summed before the inverse transform, and the backward pass sketches anew instead of
    keeping more than x. It is deterministic on a CPU, and elsewhere under `torch.use_deterministic_algorithms(True)`.

    Args:
        x: vectors of positions (B, P, C); half precision is computed in float32.
        h1: first hash (C,).
        s1: first sign (C,).
        h2: second hash (C,).
        s2: second sign (C,).
        dim: sketch dimension D.

    Returns:
        Sketches (B, D), float32, or float64 for a float64 x; differentiable once, with respect to x.

    >>> hashes = torch.tensor([1, 0]), torch.ones(2), torch.tensor([2, 1]), torch.ones(2)
    >>> x = torch.tensor([[[3.0, 0.0], [1.0, 2.0]]])
    >>> (bilinear_sketch(x, *hashes, 4) - tensor_sketch(x, *hashes, 4).sum(1)).abs().max() < 1e-5
    tensor(True)

    Source: Gao et al., "Compact Bilinear Pooling", algorithm 2.
    """
    return _BilinearSketch.apply(x, h1, s1, h2, s2, dim)


class _Context(FunctionCtx):
    """Type what `_BilinearSketch` keeps between its two passes; torch makes the object."""

    dim: int
    saved_tensors: tuple[Tensor, Tensor, Tensor]


class _BilinearSketch(torch.autograd.Function):
    """Compute `bilinear_sketch` some positions at a time: only their spectra are ever in memory."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, h1: Tensor, s1: Tensor, h2: Tensor, s2: Tensor, dim: int) -> Tensor:
        # y1 and y2 lie interleaved in one row, as the parts of complex numbers do, so that one pass fills both
        bins, signs = torch.cat([2 * h1, 2 * h2 + 1]), torch.stack([s1, s2]).to(_exact(x))  # (2 C), (2, C)
        ctx.save_for_backward(x, bins, signs)
        ctx.dim = dim
        total = x.new_zeros(len(x), dim, dtype=_exact(x).to_complex())
        for images, positions in _portions(x):
            total[images] += _spectrum(x[images, positions], bins, signs, dim).square_().sum(1)
        return torch.fft.ifft(total).imag / 2  # (B, D)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of y1 and y2: real, negative imaginary part of `fft(spectrum ifft(gradient) / i)`."""
        x, bins, signs = ctx.saved_tensors
        outer = torch.fft.ifft(gradient)[:, None] * -1j  # (B, 1, D)
        back_signs = signs * signs.new_tensor([[1], [-1]])
        result = torch.empty_like(x)
        for images, positions in _portions(x):
            spectrum = _spectrum(x[images, positions], bins, signs, ctx.dim)
            back = torch.fft.fft(spectrum.mul_(outer[images]))  # (b, p, D)
            both = torch.view_as_real(back).flatten(2).flatten(0, 1).index_select(1, bins)  # (b p, 2 C)
            result[images, positions] = both.view(*back.shape[:2], *signs.shape).mul_(back_signs).sum(2)
        return result, None, None, None, None, None


def _exact(x: Tensor) -> torch.dtype:
    """Choose the dtype of the transform: there is no FFT of half precision on a CPU."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _portions(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Cut (B, P, C) into images and positions to work on at a time: few, so that their spectra fit in a CPU's cache."""
    count, at_once = x.shape[1], 32 if x.device.type == "cpu" else 4096
    images, positions = max(1, at_once // max(1, count)), math.ceil(count / max(1, math.ceil(count / at_once)))
    for first, start in itertools.product(range(0, len(x), images), range(0, count, max(1, positions))):
        yield slice(first, first + images), slice(start, start + positions)


def _spectrum(x: Tensor, bins: Tensor, signs: Tensor, dim: int) -> Tensor:
    """Compute `fft(y1 + i y2)` of positions (b, p, C): (b, p, D)."""
    rows = x.contiguous().unsqueeze(2) * signs  # (b, p, 2, C); a map may lie in memory with its positions last
    rows = rows.flatten(2).flatten(0, 1)  # two axes: adding along the last of three is slower
    both = rows.new_zeros(len(rows), 2 * dim).index_add_(1, bins, rows)
    return torch.fft.fft(torch.view_as_complex(both.view(*x.shape[:2], dim, 2)))


def signed_sqrt(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Take the signed square root `sign(x) (sqrt(|x| + eps) - sqrt(eps))`, with a finite gradient at 0.

    >>> signed_sqrt(torch.tensor([-4.0, 0.0, 9.0])).round(decimals=2)
    tensor([-2.,  0.,  3.])

    Source: Lin et al., "Bilinear CNN models for fine-grained visual recognition", section 3.
    """
    return x.sign() * ((x.abs() + eps).sqrt() - eps**0.5)


def spatial_softmax(x: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute attention without parameters over positions: `softmax over (h, w) of (sum over c of x[c, h, w]) / T`.

    Args:
        x: feature map (B, C, H, W).
        temperature: T, the paper's 1; the larger, the more even the weights.

    Returns:
        Weights (B, 1, H, W), each image's summing to one.

    >>> spatial_softmax(torch.zeros(1, 3, 2, 2)).flatten()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Source: the paper, section 4 and Figure 2.
    """
    total = x.sum(dim=1).flatten(1)  # (B, H W)
    return F.softmax(total / temperature, dim=1).view(len(x), 1, *x.shape[2:])  # (B, 1, H, W)
