"""Figures of a data set and of a network: sizes, shares, parameters, speed. Arrays in, `Figure` out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from landmark.plots import BLUE, ORANGE, canvas, label, named, numbers, plain_log, reference, styled


@styled
def class_sizes(counts: Sequence[int], min_images: int, *, title: str = "A long tail of landmarks") -> Figure:
    """Images of each landmark, sorted, and the cut that the min-images filter makes.

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
    ranks, kept = np.arange(1, len(sizes) + 1), sizes >= min_images
    fig, (ax,) = canvas(title)
    for part, colour, word in ((kept, BLUE, "kept"), (~kept, ORANGE, "dropped")):
        share = (
            f"{word}: {part.sum():,} landmarks ({part.mean():.0%}), {sizes[part].sum() / sizes.sum():.0%} of the images"
        )
        ax.bar(ranks[part], sizes[part], 1, color=colour, linewidth=0, label=share)
    reference(ax, min_images, f"filter: at least {min_images} images", vertical=False)
    ax.set(
        yscale="log", xlabel="landmarks, largest first", ylabel="images of the landmark", xlim=(0.5, len(sizes) + 0.5)
    )
    ax.set_ylim(0.8, sizes[0] * 1.5)
    ax.xaxis.get_major_locator().set_params(integer=True)
    plain_log(ax.yaxis)
    ax.grid(axis="x", visible=False)
    ax.legend(loc="upper right")
    return fig


@styled
def filter_curve(
    counts: Sequence[int], min_images: int | None = None, *, title: str = "What a stricter filter keeps"
) -> Figure:
    """Share of landmarks and of images that remain, against the smallest class size allowed.

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
    return fig


@styled
def parameter_bars(
    stages: Sequence[tuple[str, int]], frozen: Collection[str] = (), *, title: str = "Where the parameters are"
) -> Figure:
    """Parameters of each stage of a network, the frozen part hatched.

    Args:
        stages: (name, parameters) in the order of the network.
        frozen: names of stages that do not train.
        title: over the figure.

    >>> len(parameter_bars([("block1", 900), ("block2", 4000)], {"block1"}).axes)
    1
    """
    return _stage_bars(stages, frozen, "parameters (thousands)", 1e-3, title)


@styled
def gradient_flow(
    stages: Sequence[tuple[str, float]],
    frozen: Collection[str] = (),
    *,
    title: str = "Gradient that reaches each stage",
) -> Figure:
    """Norm of the gradient of each stage of a network, on a logarithmic axis; a frozen stage gets none.

    Args:
        stages: (name, gradient norm) in the order of the network.
        frozen: names of stages that do not train.
        title: over the figure.

    >>> gradient_flow([("block1", 0.0), ("head", 2.5)], {"block1"}).axes[0].get_yscale()
    'log'
    """
    fig = _stage_bars(stages, frozen, "gradient norm", 1.0, title)
    fig.axes[0].set_yscale("log")
    plain_log(fig.axes[0].yaxis)
    return fig


def _stage_bars(stages: Sequence, frozen: Collection[str], ylabel: str, unit: float, title: str) -> Figure:
    """One bar a stage, frozen ones pale and hatched."""
    names, values = [name for name, _ in named(stages, "stages")], numbers([v for _, v in stages], "stages")
    fig, (ax,) = canvas(title, size=(max(4.6, 1.2 + 0.42 * len(names)), 3.6))
    for i, (name, value) in enumerate(zip(names, values * unit, strict=True)):
        look = {"facecolor": "white", "hatch": "////"} if name in frozen else {"facecolor": BLUE}
        ax.bar(i, value, 0.72, edgecolor=BLUE, linewidth=0.8, **look)
    ax.set_xticks(
        range(len(names)), [label(name, 24) for name in names], rotation=40, ha="right", rotation_mode="anchor"
    )
    if frozen:
        patches = (Patch(facecolor="white", edgecolor=BLUE, hatch="////"), Patch(facecolor=BLUE, edgecolor=BLUE))
        fig.legend(patches, ("frozen", "trained"), loc="outside upper right", ncols=2)
    ax.set_ylabel(ylabel)
    ax.grid(axis="x", visible=False)
    return fig


@styled
def throughput_bars(
    rates: Mapping[str, float], *, device: str = "", title: str = "Training speed by precision"
) -> Figure:
    """Images a second under each precision or setting, one bar each.

    Args:
        rates: setting → images a second.
        device: where it was measured, on the axis.
        title: over the figure.

    >>> throughput_bars({"float32": 10.0, "bfloat16": 31.0}, device="2 CPU cores").axes[0].get_xlabel()
    'images a second on 2 CPU cores'
    """
    values = numbers(list(rates.values()), "rates")
    fig, (ax,) = canvas(title, size=(6.4, 1.2 + 0.4 * len(values)))
    bars = ax.barh(range(len(values)), values, 0.6, color=BLUE)
    ax.bar_label(bars, [f"{v:,.3g}" if v < 1000 else f"{v:,.0f}" for v in values], padding=4, fontsize=8.5)
    ax.set_yticks(range(len(values)), [label(name, 44) for name in rates])
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("images a second" + (f" on {label(device)}" if device else ""))
    return fig
