"""Figures of a data set and of a network: sizes, shares, parameters, speed, confusions. Arrays in, `Figure` out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from landmark.plots import BLUE, CYCLE, ORANGE, canvas, label, named, numbers, plain_log, reference, styled


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
def split_bars(
    train: Sequence[int],
    dev: Sequence[int],
    duplicates: Mapping[str, int] | None = None,
    *,
    title: str = "The split into train and dev",
) -> Figure:
    """Images of each class on either side of the split, and on which side the duplicate groups fell.

    Args:
        train: (K,) training images of each class; dev: (K,) dev images of the same classes.
        duplicates: side → groups of duplicate images, such as `{"both in train": 12, "torn apart": 0}`.
        title: over the figure.

    >>> len(split_bars([8, 4], [2, 1], {"all in train": 3, "all in dev": 1, "torn apart": 0}).axes)
    2
    """
    left, right = numbers(train, "train"), numbers(dev, "dev")
    if len(left) != len(right):
        raise ValueError(f"train, dev: {len(left)} and {len(right)} classes, must be the same ones")
    order = np.argsort(-(left + right), kind="stable")
    fig, axes = canvas(title, 1, 1 + bool(duplicates), (8.6, 3.6), width_ratios=[2.4, 1][: 1 + bool(duplicates)])
    x = np.arange(1, len(order) + 1)
    axes[0].bar(x, left[order], 1, color=BLUE, linewidth=0, label=f"train: {int(left.sum()):,} images")
    share = right.sum() / (left.sum() + right.sum())
    text = f"dev: {int(right.sum()):,} images ({share:.1%})"
    axes[0].bar(x, right[order], 1, left[order], color=ORANGE, linewidth=0, label=text)
    axes[0].set(
        title="Images of each class", xlabel="classes, largest first", ylabel="images", xlim=(0.5, len(x) + 0.5)
    )
    axes[0].legend()
    axes[0].grid(axis="x", visible=False)
    if duplicates:
        bars = axes[1].bar(range(len(duplicates)), list(duplicates.values()), 0.6, color=[*CYCLE][: len(duplicates)])
        axes[1].bar_label(bars, padding=2, fontsize=8.5)
        axes[1].set_xticks(range(len(duplicates)), [label(name, 24).replace(" ", "\n", 1) for name in duplicates])
        axes[1].set(title="Duplicates stay together", ylabel="groups of duplicates")
        axes[1].margins(y=0.15)
        axes[1].grid(axis="x", visible=False)
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


@styled
def sibling_confusion(
    matrix: Sequence[Sequence[float]],
    names: Sequence[str],
    *,
    families: Sequence[object] | None = None,
    title: str = "Which landmarks are taken for which",
) -> Figure:
    """Heat map of true against predicted landmark, in shares of each row; siblings are boxed.

    Args:
        matrix: (K, K) counts, row = true landmark, column = predicted.
        names: K landmark names.
        families: K family keys; neighbours in the order given that share one are framed together.
        title: over the figure.

    >>> len(sibling_confusion([[8, 2], [1, 9]], ["North tower", "South tower"]).axes)
    2
    """
    counts = numbers(matrix, "matrix", ndim=2)
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"matrix: must be {len(names)} × {len(names)} for {len(names)} names, got {counts.shape}")
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(3.2, 0.3 * len(names) + 1.9), 8.2)
    fig, (ax,) = canvas(title, size=(side + 0.9, side))
    ax.grid(visible=False)
    cells = [[f"{v:.0f}" if v >= 0.5 and len(names) <= 14 else "" for v in row] for row in share]
    scale = {"label": "share of the true landmark (%)", "shrink": 0.7}
    look = {"cmap": "Blues", "vmin": 0, "vmax": 100, "square": True, "linewidths": 0.5, "annot_kws": {"size": 7.5}}
    seaborn.heatmap(share, ax=ax, annot=np.array(cells), fmt="", cbar_kws=scale, **look)
    short = [label(name, 22) for name in names] if len(names) <= 40 else []
    at = np.arange(len(short)) + 0.5
    ax.set_xticks(at, short, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(at, short, rotation=0, fontsize=8)
    starts = [0, *(i for i in range(1, len(names)) if families is not None and families[i] != families[i - 1])]
    for start, end in zip(starts, [*starts[1:], len(names)], strict=True):
        if families is not None and end - start > 1:
            ax.add_patch(Rectangle((start, start), end - start, end - start, fill=False, edgecolor=ORANGE, linewidth=2))
    ax.set(xlabel="predicted landmark", ylabel="true landmark")
    ax.tick_params(length=0)
    return fig
