"""Draw how the layers work: separable convolution, count sketch, self-attention, spatial attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from landmark.figures.networks import PALE_BLUE, PALE_ORANGE, SLATE, arrow, block, box, count, sheet, times, write
from landmark.figures.style import BLUE, RED, describe


def depthwise_separable(channels: int = 728, filters: int = 728, side: int = 19, kernel: int = 3) -> Figure:
    """Draw a standard convolution beside a depthwise separable one, with the multiplications that each needs.

    Args:
        channels: of the input; filters: channels of the output; the defaults are Xception's middle flow.
        side: of the map; kernel: side of the filter.

    >>> len(depthwise_separable().axes)
    1

    Source: Chollet, "Xception", 2017, section 2.
    """
    area, square = side**2, kernel**2
    full, slim = square * channels * filters * area, (square * channels + channels * filters) * area
    title = "Standard and depthwise separable convolution"
    fig, ax = sheet(title, 8.6, 4.85)
    cost = f"{square} × {channels} × {filters} × {side}²\n= {count(full)} multiplications"
    less = f"({square} × {channels} + {channels} × {filters}) × {side}²\n= {count(slim)} multiplications"
    depthwise, pointwise = f"depthwise {kernel}×{kernel}:\neach channel alone", "pointwise 1×1:\nmixes the channels"
    standard = (f"{kernel}×{kernel} filters over\nall channels at once",)
    rows = (
        (3.25, 2.7, standard, "standard", cost),
        (1.15, 2.05, (depthwise, pointwise), "separable", f"{less}\n{full / slim:.1f} times fewer"),
    )
    for y, pitch, steps, name, cost in rows:
        write(ax, 0.15, y + 0.95, name, size=9.5, ha="left", color=BLUE)
        x, before = 0.85, 0.85 + block(ax, 0.85, y, (channels, side, side), PALE_BLUE, None)
        for i, step in enumerate(steps):
            x += pitch
            end = i == len(steps) - 1
            half = block(ax, x, y, (filters if end else channels, side, side), PALE_ORANGE if end else PALE_BLUE, None)
            arrow(ax, (before + 0.05, y), (x - half - 0.05, y))
            write(ax, (before + x - half) / 2, y + 0.32, step, size=8)
            write(ax, x, y - 0.7, times((filters if end else channels, side, side)), size=7.5, color=BLUE)
            before = x + half
        write(ax, 0.85, y - 0.7, times((channels, side, side)), size=7.5, color=BLUE)
        write(ax, 5.75, y, cost, size=9, ha="left")
    costs = (("standard", full), ("separable", slim))
    shapes = f"{times((channels, side, side))} becomes {times((filters, side, side))}"
    return describe(fig, title, shapes, *(f"{name} with {count(n)} multiplications" for name, n in costs))


def count_sketch_steps(x: Sequence[float], h: Sequence[int], s: Sequence[int], y: Sequence[float]) -> Figure:
    """Draw a count sketch by hand: each input goes, with its sign, into one bin; a bin adds what falls into it.

    Args:
        x: (N,) inputs; h: (N,) bin of each; s: (N,) sign of each, +1 or -1.
        y: (D,) the sketch, y[j] = Σ s[i]·x[i] over h[i] = j.

    Raises:
        ValueError: y is not the sketch of x, or there is nothing to draw.

    >>> len(count_sketch_steps([3, 5], [1, 1], [1, -1], [0, -2]).axes)
    1

    Source: Charikar, Chen & Farach-Colton, "Finding frequent items in data streams", 2002.
    """
    inputs, sketch, bins, signs = np.asarray(x, float), np.asarray(y, float), np.asarray(h, int), np.asarray(s, int)
    if not len(x) or not len(x) == len(h) == len(s) or not len(y) or bins.min() < 0 or bins.max() >= len(y):
        raise ValueError(f"x, h, s: need one bin in 0..{len(y) - 1} and one sign for each of one input or more")
    right = np.bincount(bins, signs * inputs, minlength=len(y))
    if not np.allclose(right, sketch):
        raise ValueError(f"y: {sketch.tolist()} is not the sketch of x, which is {right.tolist()}")
    pitch = 0.85
    width = max(len(x), len(y)) * pitch + 1.3
    title = f"Count sketch, {len(x)} numbers into {len(y)} bins"
    fig, ax = sheet(title, max(width, 5), 3.7)
    tops = 1.1 + pitch * (np.arange(len(x)) + (max(len(y) - len(x), 0) + 1) / 2)
    feet = 1.1 + pitch * (np.arange(len(y)) + (max(len(x) - len(y), 0) + 1) / 2)
    for name, height in (("input x", 2.85), ("bin h, sign s", 2.45), ("sketch y", 0.75)):
        write(ax, 0.15, height, name, ha="left", color=SLATE)
    for at, value, into, sign in zip(tops, inputs, bins, signs, strict=True):
        colour = BLUE if sign > 0 else RED
        box(ax, at, 2.85, f"{value:g}".replace("-", "−"), 0.6, 0.36)
        write(ax, at, 2.45, f"{into}, {'+' if sign > 0 else '−'}", color=colour)
        arrow(ax, (at, 2.3), (feet[into], 0.98), colour=colour)
    for j, (at, value) in enumerate(zip(feet, sketch, strict=True)):
        box(ax, at, 0.75, f"{value:g}".replace("-", "−"), 0.6, 0.36, PALE_ORANGE)
        terms = " ".join(f"{term:+g}" for term in (signs * inputs)[bins == j]).replace("-", "−")
        write(ax, at, 0.44, f"bin {j}", size=7.5, color=SLATE)
        write(ax, at, 0.22, terms or "nothing", size=7.5, color=SLATE)
    ways = (
        f"{value:g} goes to bin {into} with {sign:+g}" for value, into, sign in zip(inputs, bins, signs, strict=True)
    )
    return describe(fig, title, *ways, f"the bins hold {', '.join(f'{value:g}' for value in sketch)}")


def self_attention_flow(channels: int = 8, side: int = 32, reduction: int = 8) -> Figure:
    """Draw self-attention as in SAGAN with the shapes that flow: the paper's Figure 3.

    Args:
        channels: of the map; side: of the map, N = side² positions; reduction: of channels in queries and keys.

    >>> len(self_attention_flow().axes)
    1

    Source: Zhang et al., "Self-Attention GANs", 2019, figure 2; the paper, Figure 3.
    """
    n, few = side * side, max(channels // reduction, 1)
    title = "Self-attention, every position looks at every other"
    fig, ax = sheet(title, 9.2, 3.75)
    box(ax, 0.85, 1.75, f"map x\n{times((channels, side, side))}", 1.3, 0.6)
    for y, name, size in ((2.75, "query", few), (1.75, "key", few), (0.6, "value", channels)):
        arrow(ax, (1.5, 1.75), (2.2, y))
        box(ax, 2.85, y, f"{name}: 1×1 conv.\n{times((size, n))}", 1.3, 0.6, "white")
    box(ax, 4.75, 2.25, f"queryᵀ · key\n{times((n, n))}", 1.3, 0.6, "white")
    arrow(ax, (3.5, 2.75), (4.1, 2.35))
    arrow(ax, (3.5, 1.75), (4.1, 2.15))
    box(ax, 4.75, 1.3, "softmax: the weights of\na position add to 1", 1.55, 0.5, "white")
    arrow(ax, (4.75, 1.95), (4.75, 1.55))
    box(ax, 6.45, 0.6, f"weighted values\n{times((channels, side, side))}", 1.3, 0.6, "white")
    arrow(ax, (3.5, 0.6), (5.8, 0.6))
    arrow(ax, (5.53, 1.3), (6.2, 0.9))
    box(ax, 8.25, 1.75, f"γ · attention + x\n{times((channels, side, side))}", 1.4, 0.6, PALE_ORANGE)
    arrow(ax, (7.1, 0.7), (8.0, 1.45))
    arrow(ax, (0.85, 2.05), (0.85, 3.15), (8.25, 3.15), (8.25, 2.05))
    write(ax, 6.3, 3.28, "x, unchanged", color=SLATE, size=8)
    write(ax, 7.75, 0.95, "γ starts at 0", color=RED, size=8, ha="left")
    flow = (
        f"query and key {times((few, n))}",
        f"scores {times((n, n))}, softmax",
        "they weight the values, γ scales these",
    )
    return describe(fig, title, f"a map {times((channels, side, side))}", *flow, "the map is added unchanged")


def spatial_attention_flow(sums: Sequence[Sequence[float]], weights: Sequence[Sequence[float]]) -> Figure:
    """Draw parameter-free spatial attention on one map: channel sum, softmax, product (the paper's Figure 2).

    Args:
        sums: (H, W) the map summed over its channels.
        weights: (H, W) its softmax over all positions, adding to 1.

    >>> len(spatial_attention_flow([[0.0, 1.0]], [[0.27, 0.73]]).axes)
    1

    Source: Wang et al., "Parameter-free spatial attention network", 2018; the paper, Figure 2.
    """
    total, share = np.asarray(sums, float), np.asarray(weights, float)
    if total.ndim != 2 or not total.size or total.shape != share.shape:
        raise ValueError(f"sums, weights: need one and the same shape (H, W), got {total.shape} and {share.shape}")
    title = "Spatial attention without parameters"
    fig, ax = sheet(title, 8.8, 2.9)
    half = block(ax, 0.85, 1.35, (64, 32, 32), PALE_BLUE, None)
    write(ax, 0.85, 0.5, "map x (C × H × W)", size=8)
    limits = ax.axis()
    for x, image, name in ((3.1, total, "sum over channels"), (5.5, share, "softmax over positions")):
        low = 0 if image is share else image.min()  # weights from zero: a flat map must look flat
        ax.imshow(image, extent=(x - 0.6, x + 0.6, 0.75, 1.95), cmap="cividis", vmin=low)
        write(ax, x, 0.5, f"{name} ({times(total.shape)})", size=8)
    ax.axis(limits)  # imshow moves them
    peak = f"largest weight {share.max():.2g}, uniform would be {1 / share.size:.2g}"
    write(ax, 5.5, 0.27, peak, size=7.5, color=SLATE)
    block(ax, 7.85, 1.35, (64, 32, 32), PALE_ORANGE, None)
    write(ax, 7.85, 0.5, "x · weights (C × H × W)", size=8)
    for start, end in ((0.9 + half, 2.45), (3.75, 4.85), (6.15, 7.8 - half)):
        arrow(ax, (start, 1.35), (end, 1.35))
    arrow(ax, (0.85, 1.95), (0.85, 2.3), (6.75, 2.3), (6.75, 1.42))
    write(ax, 6.75, 1.15, "×", size=13)
    sides = (f"{name} {np.array2string(values, precision=2)}" for name, values in (("sums", total), ("weights", share)))
    return describe(fig, title, *(text.replace("\n", "") for text in sides), peak, "the map times its weights")
