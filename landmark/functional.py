"""Pure tensor functions behind the layers: no state, no random numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gem(x: Tensor, p: Tensor | float = 3.0, eps: float = 1e-6) -> Tensor:
    """Generalised-mean pooling: `(mean over places of max(x, eps)^p)^(1/p)`; p = 1 is the mean, p → ∞ the maximum.

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
    """Count sketch: `y[j] = sum of s[i] x[i] over all i with h[i] = j`.

    Args:
        x: vectors (..., C).
        h: bin of each input, int64 (C,) in [0, dim).
        s: sign of each input (C,) in {-1, +1}.
        dim: number of bins D.

    Returns:
        Sketches (..., D). The inner product of two sketches estimates that of the vectors, without bias.

    >>> count_sketch(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 1, 1]), torch.tensor([1.0, 1.0, -1.0]), 2)
    tensor([ 1., -1.])

    Source: Charikar et al., "Finding frequent items in data streams"; the paper, section 3.
    """
    return x.new_zeros(*x.shape[:-1], dim).index_add_(-1, h, x * s.to(x.dtype))  # (..., D)


def tensor_sketch(x: Tensor, h1: Tensor, s1: Tensor, h2: Tensor, s2: Tensor, dim: int) -> Tensor:
    """Sketch of the outer product x xᵀ: `irfft(rfft(count_sketch(x, h1, s1)) · rfft(count_sketch(x, h2, s2)))`.

    A product of spectra is a circular convolution, and the convolution of two count sketches is the count sketch of
    the outer product with hash `(h1[i] + h2[j]) mod D` and sign `s1[i] s2[j]`: C² products that are never formed.
    Given (..., P, C) with P places, `sum_places` is the caller's: see `sketch_spectrum`.

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
    """Spectrum of the tensor sketch (..., D // 2 + 1), before the inverse transform.

    The transform is linear, so a sum over places may be taken here, with one inverse transform instead of many.

    >>> i, one = torch.tensor([0]), torch.ones(1)
    >>> sketch_spectrum(torch.tensor([2.0]), i, one, i, one, 4).real
    tensor([4., 4., 4.])
    """
    first = torch.fft.rfft(count_sketch(x, h1, s1, dim))
    return first * torch.fft.rfft(count_sketch(x, h2, s2, dim))


def signed_sqrt(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Signed square root `sign(x) (sqrt(|x| + eps) - sqrt(eps))`, with a finite gradient at 0.

    >>> signed_sqrt(torch.tensor([-4.0, 0.0, 9.0])).round(decimals=2)
    tensor([-2.,  0.,  3.])

    Source: Lin et al., "Bilinear CNN models for fine-grained visual recognition", section 3.
    """
    return x.sign() * ((x.abs() + eps).sqrt() - eps**0.5)


def spatial_softmax(x: Tensor) -> Tensor:
    """Parameter-free attention over places: `softmax over (h, w) of the sum over c of x[c, h, w]`.

    Args:
        x: feature map (B, C, H, W).

    Returns:
        Weights (B, 1, H, W), each image's summing to one.

    >>> spatial_softmax(torch.zeros(1, 3, 2, 2)).flatten()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Source: the paper, section 3, "Spatial attention".
    """
    total = x.sum(dim=1).flatten(1)  # (B, H W)
    return F.softmax(total, dim=1).view(len(x), 1, *x.shape[2:])  # (B, 1, H, W)
