"""The layers between the map of a backbone and its logits: a parameter, and a call into `functional`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from landmark.models import functional
from landmark.utils import distributed


class AveragePool(nn.Module):
    """Average a map over its positions: (B, C, H, W) → (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map."""
        return x.mean(dim=(-2, -1))


class MaxPool(nn.Module):
    """Take the maximum of a map over its positions: (B, C, H, W) → (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map."""
        return x.amax(dim=(-2, -1))


class GeM(nn.Module):
    """Pool a map by the generalised mean, with a learned exponent: (B, C, H, W) → (B, C).

    >>> GeM()(torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)) ** 3  # (1³ + 2³) / 2
    tensor([[4.5000]], grad_fn=<PowBackward0>)
    """

    def __init__(self, p: float = 3.0):
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map (B, C, H, W) into (B, C)."""
        return functional.gem(x.float(), self.p)  # cubes of half-precision activations overflow


class SpatialAttention(nn.Module):
    """Weight a map by attention without parameters: `x · spatial_softmax(x)`, (B, C, H, W) → (B, C, H, W).

    Args:
        temperature: T of the softmax; the larger, the more even the weights.
        root: weight by the square root of it, for a bilinear layer behind, which squares what it is given.

    >>> SpatialAttention()(torch.tensor([3.0, 1.0]).log().view(1, 1, 1, 2)).exp()  # weights 3/4 and 1/4
    tensor([[[[2.2795, 1.0000]]]])

    Source: the paper, section 4.
    """

    def __init__(self, temperature: float = 1.0, root: bool = False):
        super().__init__()
        self.temperature, self.root = temperature, root

    def forward(self, x: Tensor) -> Tensor:
        """Weight every position of a map (B, C, H, W) by its share of the attention."""
        x = x.float()  # the softmax of a sum of many channels is nearly one-hot: keep its small weights
        weights = functional.spatial_softmax(x, self.temperature)
        # A weight may underflow to 0, where the slope of a root is infinite
        return x * (functional.signed_sqrt(weights, eps=1e-20) if self.root else weights)


class AttentionPool(nn.Module):
    """Add up a map's positions, weighted by attention without parameters: (B, C, H, W) → (B, C).

    The softmax is taken of the channel *mean* times √C: the plain sum of 2048 channels is one-hot from the start.

    Args:
        temperature: T of the softmax; the larger, the more even the weights.
    """

    def __init__(self, temperature: float = 1.0):
        super().__init__()
        self.temperature = temperature

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map."""
        x = x.float()
        weights = functional.spatial_softmax(x / x.shape[1] ** 0.5, self.temperature)  # (B, 1, H, W)
        return (x * weights).sum(dim=(-2, -1))


class SelfAttention2d(nn.Module):
    """Let positions attend to each other: `y = γ · v(x) softmax(f(x)ᵀ g(x)) + x`, (B, C, H, W) → (B, C, H, W).

    f, g and v are 1×1 convolutions with spectral normalisation; γ is learned.

    Args:
        channels: C of the input.
        reduction: f and g have C / reduction channels, at least one.
        gamma: γ before it learns; at 0 the layer does nothing.

    >>> layer = SelfAttention2d(8)
    >>> x = torch.randn(2, 8, 4, 4)
    >>> bool((layer(x) == x).all()), layer.attention(x).shape
    (True, torch.Size([2, 16, 16]))

    Source: Zhang et al., "Self-Attention Generative Adversarial Networks", equations 1-3.
    """

    def __init__(self, channels: int, reduction: int = 8, gamma: float = 0.0):
        super().__init__()
        inner = max(1, channels // reduction)
        self.query = spectral_norm(nn.Conv2d(channels, inner, 1, bias=False))
        self.key = spectral_norm(nn.Conv2d(channels, inner, 1, bias=False))
        self.value = spectral_norm(nn.Conv2d(channels, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.tensor(float(gamma)))

    def attention(self, x: Tensor) -> Tensor:
        """Compute the weights (B, N, N) with N = H W: row i is where position i looks, and sums to one."""
        query, key = self.query(x).flatten(2), self.key(x).flatten(2)  # (B, C', N)
        return F.softmax(query.transpose(1, 2) @ key, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Add to every position of a map (B, C, H, W) the values of those it attends to."""
        maps = (layer(x).flatten(2).transpose(1, 2)[:, None] for layer in (self.query, self.key, self.value))
        # Zeros up to C channels change no product, and the fused kernel asks for equal, contiguous operands
        query, key, value = (F.pad(m, (0, x.shape[1] - m.shape[-1])).contiguous() for m in maps)  # (B, 1, N, C)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # without the (N, N) weights in memory
        return self.gamma * mixed[:, 0].transpose(1, 2).reshape(x.shape) + x


class CompactBilinearPooling(nn.Module):
    """Sketch the outer product x xᵀ: (B, C) → (B, D), or (B, C, H, W) → (B, D) summed over positions.

    Args:
        in_channels: C of the input.
        dim: sketch dimension D.
        seed: of the hashes and signs, which are buffers and are saved with the weights.

    >>> CompactBilinearPooling(16, dim=64)(torch.randn(2, 16, 3, 3)).shape
    torch.Size([2, 64])

    Source: Gao et al., "Compact Bilinear Pooling", algorithm 2; the paper, section 4.
    """

    h1: Tensor
    s1: Tensor
    h2: Tensor
    s2: Tensor

    def __init__(self, in_channels: int, dim: int = 8192, seed: int = 0):
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.dim = dim
        for n in "12":
            self.register_buffer(f"h{n}", torch.randint(dim, (in_channels,), generator=random))
            self.register_buffer(f"s{n}", torch.randint(2, (in_channels,), generator=random) * 2.0 - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Sketch vectors (B, C) or the sum over the positions of a map (B, C, H, W)."""
        positions = x.flatten(2).transpose(1, 2) if x.dim() > 2 else x[:, None]  # (B, H W, C)
        return functional.bilinear_sketch(positions, self.h1, self.s1, self.h2, self.s2, self.dim)  # (B, D)


class RandomProjection(nn.Module):
    """Multiply by a fixed random matrix: `y = R x / √C` with entries ±1, (B, C) → (B, D).

    It gives as many numbers as a sketch of pairs, and none of them holds a product: what is left of a gain with it was
    not due to pairs.

    Args:
        in_channels: C of the input.
        dim: D.
        seed: of the matrix, which is drawn anew when the layer is built, and not saved with the weights.

    >>> x = torch.randn(4, 64)
    >>> bool((RandomProjection(64, 4096)(x).norm(dim=1) / x.norm(dim=1) / 4096**0.5 * 64**0.5 - 1).abs().max() < 0.1)
    True

    Source: Achlioptas, "Database-friendly random projections", 2003.
    """

    signs: Tensor

    def __init__(self, in_channels: int, dim: int, seed: int = 0):
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        signs = torch.randint(2, (dim, in_channels), generator=random, dtype=torch.int8) * 2.0 - 1
        self.register_buffer("signs", signs / in_channels**0.5, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Project vectors (B, C) to (B, D)."""
        return F.linear(x, self.signs.to(x.dtype))


class Normalise(nn.Module):
    """Take the signed square root, then scale to L2 norm one: a bilinear vector becomes easy to classify.

    Args:
        root: take the root.
        l2: scale to norm one.

    Source: Gao et al., "Compact Bilinear Pooling", section 4.1.
    """

    def __init__(self, root: bool = True, l2: bool = True):
        super().__init__()
        self.root, self.l2 = root, l2

    def forward(self, x: Tensor) -> Tensor:
        """Normalise vectors (B, D)."""
        x = functional.signed_sqrt(x) if self.root else x
        return F.normalize(x, dim=-1) if self.l2 else x


class Shuffle(nn.Module):
    """Put the numbers of a vector into another order, drawn once: (B, C) → (B, C).

    Args:
        size: C of the input.
        seed: of the order, which is drawn anew when the layer is built, and not saved with the weights.

    >>> sorted(Shuffle(4, seed=1)(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))[0].tolist())
    [1.0, 2.0, 3.0, 4.0]
    """

    order: Tensor

    def __init__(self, size: int, seed: int):
        super().__init__()
        self.seed = seed
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("order", order, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Reorder vectors (B, C)."""
        return x[:, self.order]

    def extra_repr(self) -> str:
        """Give size and seed, for `print(model)`."""
        return f"{len(self.order)}, seed={self.seed}"


class Reshape(nn.Module):
    """Lay out a vector as a map, as the paper does with 2048 → 8×16×16: its positions are not those of the image."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Reshape vectors (B, C·H·W) into maps (B, C, H, W)."""
        return x.reshape(len(x), *self.shape)

    def extra_repr(self) -> str:
        """Give the shape, for `print(model)`."""
        return "×".join(map(str, self.shape))


class Dropout(nn.Module):
    """Drop numbers by a mask that depends on an image's place in the batch of all ranks: N ranks learn as one does."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop a share p of the numbers of vectors (B, D) in training mode, and scale the others up."""
        if not self.training:
            return x
        rank, size = distributed.rank(), distributed.size()
        mask = torch.rand(len(x) * size, *x.shape[1:], dtype=torch.float32, device=x.device)[rank::size] >= self.p
        return x * mask / (1 - self.p)
