"""Draw how the layers work: separable convolution, residual block, count sketch, attention of both kinds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
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
        x, before = 0.85, 0.85 + block(ax, 0.85, y, (channels, side, side), PALE_BLUE)
        for i, step in enumerate(steps):
            x += pitch
            end = i == len(steps) - 1
            half = block(ax, x, y, (filters if end else channels, side, side), PALE_ORANGE if end else PALE_BLUE)
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


def self_attention_flow(x: Sequence[float], weights: Sequence[Sequence[float]], gamma: float) -> Figure:
    """Draw self-attention over a few positions of one channel, with its numbers (the paper's Figure 3).

    Query, key and value are x itself, so that the score of positions i and j is x[i]·x[j].

    Args:
        x: (N,) the value at each position.
        weights: (N, N) softmax of the scores along each row: row i is where position i looks.
        gamma: weight γ of what is added, y = x + γ·weights·x.

    Raises:
        ValueError: the weights are not those of x.

    >>> len(self_attention_flow([0.0, 0.0], [[0.5, 0.5], [0.5, 0.5]], 0.1).axes)
    1

    Source: Zhang et al., "Self-Attention GANs", 2019, figure 2; the paper, Figure 3.
    """
    values, share = np.asarray(x, float), np.asarray(weights, float)
    scores = np.outer(values, values)
    if not values.size or share.shape != scores.shape:
        raise ValueError(f"weights: need shape {scores.shape} for x of shape {values.shape}, got {share.shape}")
    right = np.exp(scores - scores.max(1, keepdims=True))
    if not np.allclose(share, right / right.sum(1, keepdims=True), atol=1e-3):
        raise ValueError("weights: their rows are not the softmax of x[i] · x[j]")
    mixed = share @ values
    result = values + gamma * mixed
    title = f"Self-attention over {len(values)} positions, in numbers"
    fig, ax = sheet(title, 9.2, 3.1)
    limits = ax.axis()
    steps = (
        (0.75, values[:, None], "x", "the map"),
        (2.65, scores, "scores x[i] · x[j]", "row i asks, column j answers"),
        (4.85, share, "weights", "softmax of each row"),
        (6.75, mixed[:, None], "o", "weights · x"),
        (8.45, result[:, None], f"y = x + {gamma:g} · o", "the map, changed"),
    )
    for at, table, name, below in steps:
        _squares(ax, at, 1.5, table)
        write(ax, at, 2.45, name, size=9)
        write(ax, at, 0.55, below, size=7.5, color=SLATE)
    for start, end in ((1.15, 1.75), (3.5, 4.0), (5.7, 6.35), (7.15, 7.95)):
        arrow(ax, (start, 1.5), (end, 1.5))
    arrow(ax, (0.75, 0.4), (0.75, 0.15), (7.55, 0.15), (7.55, 1.35))
    write(ax, 4.0, 0.27, "x, unchanged", size=7.5, color=SLATE)
    ax.axis(limits)  # imshow moves them
    rows = (f"{name} {_in_words(table)}" for _, table, name, _ in steps)
    return describe(fig, title, *rows)


def _squares(ax: Axes, x: float, y: float, table: np.ndarray, side: float = 0.5, low: float = 0.0) -> None:
    """Draw a small table as squares around (x, y), each with its number in it."""
    high, wide = table.shape
    extent = (x - wide * side / 2, x + wide * side / 2, y - high * side / 2, y + high * side / 2)
    top = max(table.max(), low + 1e-9)
    ax.imshow(table, extent=extent, cmap="cividis", vmin=low, vmax=top)
    for (row, column), value in np.ndenumerate(table):
        dark = value < low + 0.6 * (top - low)
        at = extent[0] + (column + 0.5) * side, extent[3] - (row + 0.5) * side
        write(
            ax,
            *at,
            f"{round(value, 3):g}".replace("-", "−"),
            size=min(8, 20 * side),
            color="white" if dark else "black",
        )


def _in_words(table: np.ndarray) -> str:
    """A table's rows, its numbers to three places: "0 1; 2 3"."""
    return " / ".join(" ".join(f"{round(value, 3):g}" for value in row) for row in table)


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
    half = block(ax, 0.85, 1.35, (64, 32, 32), PALE_BLUE)
    write(ax, 0.85, 0.5, "map x (C × H × W)", size=8)
    limits = ax.axis()
    for x, image, name in ((3.1, total, "sum over channels"), (5.5, share, "softmax over positions")):
        low = 0 if image is share else image.min()  # weights from zero: a flat map must look flat
        _squares(ax, x, 1.35, image, 1.2 / max(image.shape), low)
        write(ax, x, 0.5, f"{name} ({times(total.shape)})", size=8)
    ax.axis(limits)  # imshow moves them
    peak = f"largest weight {share.max():.2g}, uniform would be {1 / share.size:.2g}"
    write(ax, 5.5, 0.27, peak, size=7.5, color=SLATE)
    block(ax, 7.85, 1.35, (64, 32, 32), PALE_ORANGE)
    write(ax, 7.85, 0.5, "x · weights (C × H × W)", size=8)
    for start, end in ((0.9 + half, 2.45), (3.75, 4.85), (6.15, 6.55), (6.95, 7.8 - half)):
        arrow(ax, (start, 1.35), (end, 1.35))
    arrow(ax, (0.85, 1.95), (0.85, 2.3), (6.75, 2.3), (6.75, 1.52))
    write(ax, 6.75, 1.35, "×", size=15, color=BLUE)
    sides = (f"sums {_in_words(total)}", f"weights {_in_words(share)}")
    return describe(fig, title, *sides, peak, "the map times its weights")


def residual_block(steps: Sequence[tuple[str, str]], shortcut: str, after: str, title: str) -> Figure:
    """Draw a residual block from inside: what is added, beside the way around it.

    Args:
        steps: (name, shape behind it) of the layers of F, the first with the shape of the input.
        shortcut: what lies on the way around: "x, unchanged".
        after: what follows the sum: "ReLU"; "" for nothing.
        title: over the drawing.

    >>> len(residual_block([("3×3 conv.", "64 × 8 × 8")], "x, unchanged", "ReLU", "A block").axes)
    1

    Source: He et al., "Deep residual learning", 2016, figure 5; Chollet, "Xception", 2017, figure 5.
    """
    if not steps:
        raise ValueError("steps: a block needs one layer or more")
    pitch = 1.5
    width = pitch * (len(steps) + 1.6)
    fig, ax = sheet(title, width, 2.4)
    y = 1.0
    write(ax, 0.25, y, "x", size=11)
    before = 0.4
    for i, (name, shape) in enumerate(steps):
        x = 1.25 + pitch * i
        arrow(ax, (before, y), (x - 0.57, y))
        box(ax, x, y, name, 1.14, 0.62)
        write(ax, x, y - 0.5, shape, size=7.5, color=SLATE)
        before = x + 0.57
    total = 1.25 + pitch * len(steps) - 0.25
    arrow(ax, (before, y), (total - 0.16, y))
    write(ax, total, y, "+", size=15, color=BLUE)
    arrow(ax, (0.25, y + 0.15), (0.25, 1.72), (total, 1.72), (total, y + 0.16))
    write(ax, (0.25 + total) / 2, 1.87, shortcut, size=8, color=SLATE)
    if after:
        arrow(ax, (total + 0.16, y), (total + 0.35, y))
        box(ax, total + 0.75, y, after, 0.8, 0.4, PALE_ORANGE)
    else:
        arrow(ax, (total + 0.16, y), (total + 0.6, y))
    layers = (" ".join(name.split()) + f" to {shape}" for name, shape in steps)
    return describe(fig, title, *layers, f"added to {shortcut}", f"then {after}" if after else "nothing after the sum")
