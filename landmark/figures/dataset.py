"""Draw a data set: sizes of its classes, what a filter keeps, how well an order mixes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from landmark.figures.style import BLUE, ORANGE, canvas, describe, numbers, plain_log, reference, styled


@styled
def class_sizes(counts: Sequence[int], min_images: int, *, title: str = "Photographs of each landmark") -> Figure:
    """Draw the images of each landmark, sorted, and the cut that the min-images filter makes.

    Args:
        counts: (K,) images of each landmark.
        min_images: the filter keeps landmarks with at least this many.
        title: over the figure.

    >>> class_sizes([50, 20, 3], 10).axes[0].get_ylabel()
    'images of the landmark'

    Source: the paper, section 3.
    """
    sizes = np.sort(numbers(counts, "counts"))[::-1]
    if sizes[-1] < 1:
        raise ValueError("counts: a landmark without an image cannot be drawn on a logarithmic axis")
    ranks, large = np.arange(1, len(sizes) + 1), sizes >= min_images
    fig, (ax,) = canvas(title)
    shares = []
    for part, colour, word in ((large, BLUE, "kept"), (~large, ORANGE, "dropped")):
        share = sizes[part].sum() / sizes.sum()
        shares.append(f"{word}: {part.sum():,} landmarks ({part.mean():.0%}), {share:.0%} of the images")
        ax.bar(ranks[part], sizes[part], 1, color=colour, linewidth=0, label=shares[-1])
    reference(ax, min_images, f"filter: at least {min_images} images", vertical=False)
    ax.set(
        yscale="log", xlabel="landmarks, largest first", ylabel="images of the landmark", xlim=(0.5, len(sizes) + 0.5)
    )
    ax.set_ylim(0.8, sizes[0] * 1.5)
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    plain_log(ax.yaxis)
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper right")
    extremes = f"the largest landmark has {sizes[0]:.0f} images, the smallest {sizes[-1]:.0f}"
    return describe(fig, title, extremes, *shares)


@styled
def filter_curve(
    counts: Sequence[int], min_images: int | None = None, *, title: str = "What a stricter filter keeps"
) -> Figure:
    """Draw the share of landmarks and of images that remain against the smallest class size allowed.

    Args:
        counts: (K,) images of each landmark, K >= 2.
        min_images: the value chosen, marked.
        title: over the figure.

    >>> len(filter_curve([50, 20, 3]).axes[0].lines)
    2
    """
    sizes = numbers(counts, "counts", least=2)
    limits = np.arange(1, int(sizes.max()) + 1)
    classes = [100 * (sizes >= limit).mean() for limit in limits]
    images = [100 * sizes[sizes >= limit].sum() / sizes.sum() for limit in limits]
    fig, (ax,) = canvas(title, size=(6.4, 3.6))
    ax.step(limits, images, color=BLUE, where="post", label=f"images (of {int(sizes.sum()):,})")
    ax.step(limits, classes, color=ORANGE, where="post", label=f"landmarks (of {len(sizes):,})")
    if min_images is not None:
        reference(ax, min_images, f"chosen: {min_images}")
    ax.set(xscale="log", xlabel="images a landmark must have at least", ylabel="kept (%)", ylim=(0, 104))
    plain_log(ax.xaxis)
    ax.legend(loc="lower left")
    at = min(min_images or 1, len(limits)) - 1
    same = limits[np.isclose(classes, classes[at])].max()  # where the plateau that it lies on ends
    kept = f"{classes[at]:.0f} % of the landmarks and {images[at]:.0f} % of the images"
    return describe(fig, title, f"a filter of {at + 1} keeps {kept}, and so does any up to {same}")


@styled
def window_mixing(windows: Sequence[int], shares: Sequence[float], *, chosen: int | None = None,
                  title: str = "How well a shuffling window mixes") -> Figure:  # fmt: skip
    """Draw how many TARs take part in a batch, as a share of what a full shuffle gives, against the window.

    Args:
        windows: (N,) widths of the window, in TARs.
        shares: (N,) measured shares, 1 for a full shuffle.
        chosen: the window in use, marked.
        title: over the panel.

    >>> window_mixing([1, 2, 4], [0.1, 0.3, 0.9]).axes[0].get_xlabel()
    'window (TARs)'
    """
    x, y = numbers(windows, "windows"), numbers(shares, "shares")
    if len(x) != len(y):
        raise ValueError(f"windows and shares: {len(x)} and {len(y)} values, as many of each are needed")
    fig, (ax,) = canvas(title)
    ax.plot(x, y, color=BLUE, marker="o", label="measured")
    ax.set_xscale("log", base=2)
    ax.set_xticks(x, [f"{value:g}" for value in x])
    reference(ax, 1, "full shuffle", vertical=False)
    if chosen is not None:
        reference(ax, chosen, f"in use: {chosen}")
    ax.set(xlabel="window (TARs)", ylabel="TARs in a batch,\nshare of a full shuffle", ylim=(0, 1.1))
    fig.legend(loc="outside lower left", ncols=3)
    return describe(
        fig, title, *(f"a window of {width:g} gives {share:.2f}" for width, share in zip(x, y, strict=True))
    )
