"""Figures of scores: tables of GAP, GAP step by step, in an open world, over batches, by deletion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from landmark.figures.style import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    canvas,
    label,
    named,
    numbers,
    plain_log,
    reference,
    styled,
)


@styled
def interval_bars(
    names: Sequence[str],
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    *,
    xlabel: str,
    title: str,
    lines: Mapping[str, float] | None = None,
) -> Figure:
    """Values with their intervals as dots and whiskers, one row each, in the order given.

    Args:
        names: N row labels; values, lows, highs: N numbers each, low <= value <= high.
        xlabel: the quantity and its unit.
        title: over the figure.
        lines: name → value that is known without measuring, such as chance or perfect.

    >>> len(interval_bars(["a"], [0.5], [0.4], [0.6], xlabel="GAP", title="One run").axes)
    1
    """
    middle, low, high = (numbers(v, w) for v, w in ((values, "values"), (lows, "lows"), (highs, "highs")))
    if not len(names) == len(middle) == len(low) == len(high):
        raise ValueError(f"names, values, lows, highs: {len(names)}, {len(middle)}, {len(low)}, {len(high)} entries")
    fig, (ax,) = canvas(title, size=(7.2, 1.5 + 0.34 * len(names)))
    _whiskers(ax, np.arange(len(names)), middle, low, high, BLUE, "o")
    for (text, value), style in zip((lines or {}).items(), ((4, 3), (1, 2), (6, 2, 1, 2)), strict=False):
        ax.axvline(value, color=GREY, linewidth=1, linestyle=(0, style), label=label(text))
    if lines:
        fig.legend(loc="outside lower left", ncols=3)
    _rows(ax, names)
    ax.set_xlabel(xlabel)
    return fig


@styled
def gap_table(table: pd.DataFrame, *, title: str = "Closed and open GAP of each model") -> Figure:
    """The paper's Figure 5 measured: GAP on landmark queries alone and on the whole test set, and the loss.

    Args:
        table: index = model names; columns `closed`, `closed_low`, `closed_high`, `open`, `open_low`, `open_high`;
            if there, `paper` (the paper's GAP, NaN where it has none), and `loss` with `paper_loss` for a second panel.
        title: over the figure.

    >>> row = dict(closed=0.7, closed_low=0.6, closed_high=0.8, open=0.3, open_low=0.2, open_high=0.4, paper=0.674)
    >>> len(gap_table(pd.DataFrame([row], index=["xception"])).axes)
    1

    Source: Figure 5 of the paper.
    """
    kinds = (("closed", BLUE, "o", -0.22), ("open", RED, "s", 0.22))
    missing = [c for kind, *_ in kinds for c in (kind, f"{kind}_low", f"{kind}_high") if c not in table]
    if missing or table.empty:
        raise ValueError(f"table: needs a row or more and columns {', '.join(missing) or 'as they are'}")
    both = "loss" in table
    size = (8.6 if both else 7.2, 1.6 + 0.62 * len(table))
    fig, axes = canvas(title, 1, 1 + both, size, sharey=True, width_ratios=[2, 1][: 1 + both])
    y, gap = np.arange(len(table)), axes[0]
    names = {"closed": "closed: landmarks of the label set", "open": "open: the whole test set, with distractors"}
    for kind, colour, marker, shift in kinds:
        value, low, high = (table[c].to_numpy(float) for c in (kind, f"{kind}_low", f"{kind}_high"))
        _whiskers(gap, y + shift, value, low, high, colour, marker, names[kind], above=shift < 0)
    hollow = {"facecolor": "white", "edgecolor": GREY, "marker": "D", "s": 30, "linewidth": 1.3, "zorder": 3}
    if "paper" in table:
        gap.scatter(table["paper"], y, **hollow, label="the paper, 2019: another data set, not comparable in height")
    reference(gap, 1, "perfect")
    gap.set(xlabel="GAP (95 % interval)", xlim=(-0.02, 1.04))
    if both:
        axes[1].scatter(table["loss"], y - 0.24, color=GREEN, marker="o", s=38, label="loss measured here")
        if "paper_loss" in table:
            axes[1].scatter(table["paper_loss"], y, **hollow)
        axes[1].set(xlabel="cross-entropy (nats)")
        axes[1].set_xlim(left=0)
        axes[1].grid(axis="y", visible=False)
    _rows(gap, list(table.index))
    handles = {text: handle for ax in axes for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    order = sorted(handles, key=lambda text: text.startswith(("the paper", "perfect")))
    fig.legend([handles[text] for text in order], order, loc="outside lower left", ncols=2)
    return fig


def _rows(ax: Axes, names: Sequence[str]) -> None:
    """Names down the left side, the first on top."""
    ax.set_yticks(range(len(names)), [label(name, 44) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)


def _whiskers(
    ax: Axes,
    y: np.ndarray,
    value: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    colour: str,
    marker: str,
    text: str | None = None,
    above: bool = True,
) -> None:
    """Dots with whiskers, and their value in figures above or below."""
    whiskers = np.abs(np.stack([np.subtract(value, low), np.subtract(high, value)]))
    ax.errorbar(value, y, xerr=whiskers, fmt=marker, color=colour, markersize=6, linewidth=1.6, capsize=3, label=text)
    for x, row in zip(value, y, strict=True):
        look: dict = {"textcoords": "offset points", "ha": "center", "fontsize": 7.5, "color": colour}
        ax.annotate(f"{x:.3f}", (x, row), (0, 5 if above else -5), va="bottom" if above else "top", **look)


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


@styled
def gap_walk(correct: Sequence[bool], total: int, *, names: Sequence[str] | None = None,
             title: str = "GAP, rank by rank") -> Figure:  # fmt: skip
    r"""Precision at each rank, and the area that GAP sums: GAP = (1/M) Σ P(i)·rel(i).

    Args:
        correct: (N,) whether the prediction at each rank is right, highest score first.
        total: M, the images that show a landmark, predicted or not.
        names: N labels for the ranks, shown when there are at most 16.
        title: over both panels.

    >>> gap_walk([False, True], 3).axes[1].get_title(loc="left")
    'Each hit adds P(i) / M: the area is GAP = 0.167'

    Source: section 5.1 of the paper.
    """
    hits = numbers(correct, "correct").astype(bool)
    if total < max(hits.sum(), 1):
        raise ValueError(f"total: {total} images with a landmark cannot hold {hits.sum()} hits (and must be positive)")
    ranks, found = np.arange(1, len(hits) + 1), np.cumsum(hits)
    precision, few = found / ranks, len(hits) <= 16
    gap = precision[hits].sum() / total
    fig, (walk, area) = canvas(title, 1, 2, (8.6, 3.9), sharey=True)
    walk.plot(ranks, precision, color=GREY, linewidth=1.2, zorder=2)
    for kind, colour, marker, text in ((hits, BLUE, "o", "right"), (~hits, RED, "X", "wrong")):
        look = {"marker": marker, "s": 52} if few else {"marker": "|", "s": 30, "linewidth": 0.4}
        height = precision[kind] if few else np.full(kind.sum(), 1.05 if text == "right" else 1.1)
        walk.scatter(ranks[kind], height, color=colour, label=text, zorder=3, clip_on=False, **look)
    if few:
        for rank, seen, value in zip(ranks, found, precision, strict=True):
            walk.annotate(f"{seen}/{rank}", (rank, value), (0, 8), textcoords="offset points", ha="center")
        walk.set_xticks(ranks, [label(n, 12) for n in names] if names is not None else ranks)
        walk.set_xlim(0.5, len(hits) + 0.5)
    walk.set(title="Precision so far", xlabel="rank, highest score first", ylabel="precision P(i)", ylim=(0, 1.14))
    left = np.arange(hits.sum()) / total
    area.bar(left, precision[hits], 1 / total, align="edge", color=BLUE, linewidth=0.8 if few else 0, edgecolor="white")
    reference(area, 1, "perfect: area 1", vertical=False)
    handles, texts = walk.get_legend_handles_labels()
    more = area.get_legend_handles_labels()
    key = fig.legend(handles + more[0], texts + more[1], loc="outside lower left", ncols=3)
    for handle in key.legend_handles[:2]:
        handle.set_linewidth(1 if few else 4)
    area.set(title=f"Each hit adds P(i) / M: the area is GAP = {gap:.3f}", xlim=(0, 1))
    area.set_xlabel(f"share of the M = {total} landmark images found")
    return fig


@styled
def open_world(
    scores: Mapping[str, Sequence[float]],
    shares: Sequence[float],
    gaps: Sequence[float],
    *,
    here: float | None = None,
    title: str = "From a closed to an open world",
) -> Figure:
    """Scores of right, wrong and distractor predictions, and GAP as distractors join the test set.

    Args:
        scores: `right`, `wrong`, `distractor` → their scores; the order of the mapping is the order drawn.
        shares: (S,) share of distractors among the test images, 0 to 1.
        gaps: (S,) GAP at each share.
        here: the share of this test set, marked.
        title: over both panels.

    >>> fig = open_world({"right": [0.9, 0.8], "distractor": [0.2]}, [0, 0.5], [0.8, 0.6])
    >>> fig.axes[1].get_xlabel()
    'distractors among the test images (%)'
    """
    x, y = numbers(shares, "shares", least=2), numbers(gaps, "gaps", least=2)
    values = {name: numbers(value, f"scores of {name!r}") for name, value in named(scores, "scores").items()}
    fig, (left, right) = canvas(title, 1, 2, (8.6, 3.7))
    everything = np.concatenate(list(values.values()))
    bins = np.linspace(everything.min(), max(everything.max(), everything.min() + 1e-9), 31)
    colours = {"right": BLUE, "wrong": ORANGE, "distractor": RED}
    for name, value in values.items():
        look = {"histtype": "stepfilled", "alpha": 0.28, "color": colours.get(name, GREY)}
        left.hist(value, bins, weights=np.full(len(value), 100 / len(value)), **look)
        look |= {"histtype": "step", "alpha": 1, "linewidth": 1.5, "label": f"{label(name, 20)} ({len(value):,})"}
        left.hist(value, bins, weights=np.full(len(value), 100 / len(value)), **look)
    left.legend()
    left.set(title="Scores of the predictions", xlabel="score", ylabel="share of its kind (%)")
    right.plot(100 * x, y, color=BLUE, marker="o", markersize=3.5)
    if here is not None:
        reference(right, 100 * here, f"this test set: {here:.0%}")
    reference(right, 1, "perfect", vertical=False)
    right.legend(loc="lower left")
    right.set(title="GAP as distractors join", xlabel="distractors among the test images (%)", ylabel="GAP")
    right.set_ylim(0, 1.04)
    return fig


@styled
def batch_gap_noise(
    gaps: Mapping[int, Sequence[float]], true_gap: float, *, title: str = "GAP of single batches, and of the whole set"
) -> Figure:
    """Histograms of the GAP of single batches, one row per batch size, beside the GAP of the whole set.

    Args:
        gaps: batch size → (N,) GAP of N batches.
        true_gap: GAP over the whole set.
        title: over the figure.

    >>> len(batch_gap_noise({16: [0.7, 0.9], 64: [0.79, 0.82]}, 0.8).axes)
    2
    """
    rows = {
        size: numbers(values, f"gaps of batch size {size}", least=2) for size, values in named(gaps, "gaps").items()
    }
    fig, axes = canvas(title, len(rows), 1, (6.8, 1.3 + 1.05 * len(rows)), sharex=True)
    everything = np.concatenate([*rows.values(), [true_gap]])
    bins = np.linspace(everything.min() - 0.01, everything.max() + 0.01, 41)
    for ax, (size, values) in zip(axes, rows.items(), strict=True):
        ax.hist(values, bins, weights=np.full(len(values), 100 / len(values)), color=BLUE, alpha=0.75)
        ax.axvline(true_gap, color=RED, linewidth=1.6)
        ax.set_title(
            f"batches of {size}: mean {values.mean():.3f}, standard deviation {values.std():.3f}", fontsize=8.5
        )
    axes[0].set_title(f"whole set {true_gap:.3f}", fontsize=8.5, color=RED, loc="right")
    axes[-1].set_xlabel("GAP of one batch")
    fig.supylabel("share of the batches (%)", fontsize=9)
    return fig


@styled
def deletion_curves(
    curves: Mapping[str, Sequence], *, baseline: str = "random", title: str = "Deleting the most salient pixels first"
) -> Figure:
    """Probability of the predicted class as pixels are blurred away, most salient first: the lower, the better.

    Args:
        curves: method → (B, S+1) probability of each image after each of S steps.
        baseline: the method that is no explanation, drawn dashed.
        title: over the figure.

    >>> fig = deletion_curves({"grad_cam": [[0.9, 0.3, 0.1], [0.8, 0.4, 0.1]], "random": [[0.9, 0.8, 0.1]]})
    >>> fig.axes[0].get_ylabel()
    'probability of the class'

    Source: Petsiuk, Das & Saenko, "RISE", 2018 (deletion metric).
    """
    fig, (ax,) = canvas(title, size=(6.8, 3.8))
    for (name, values), colour in zip(named(curves, "curves").items(), CYCLE * len(curves), strict=False):
        array = numbers(values, f"curve of {name!r}", ndim=2, least=2)
        x, mean = np.linspace(0, 100, array.shape[1]), array.mean(axis=0)
        band = 1.96 * array.std(axis=0) / np.sqrt(len(array))
        area = np.trapezoid(mean, x / 100)
        line = {"color": GREY, "linestyle": (0, (4, 3))} if name == baseline else {"color": colour}
        ax.fill_between(x, mean - band, mean + band, color=line["color"], alpha=0.15, linewidth=0)
        ax.plot(x, mean, **line, label=f"{label(name, 30)}: area {area:.3f}")
    ax.set(xlabel="pixels deleted (%)", ylabel="probability of the class", xlim=(0, 100))
    ax.set_ylim(bottom=0)
    ax.legend(title="mean, 95 % band", title_fontsize=8.5)
    return fig


@styled
def sketch_error(
    dimensions: Sequence[int], errors: Sequence, *, title: str = "Error of the sketch against its dimension"
) -> Figure:
    """Relative error of sketched inner products against the dimension D, with the 1/√D that theory gives.

    Args:
        dimensions: (S,) sketch dimensions D, S >= 2.
        errors: (S, R) relative errors of R draws of the hashes.
        title: over the figure.

    >>> len(sketch_error([64, 256], [[0.1, 0.2], [0.05, 0.1]]).axes)
    1

    Source: Pham & Pagh, "Fast and scalable polynomial kernels via explicit feature maps", 2013.
    """
    x, array = numbers(dimensions, "dimensions", least=2), numbers(errors, "errors", ndim=2)
    if len(x) != len(array) or array.min() < 0 or x.min() < 1:
        raise ValueError(f"errors: needs {len(x)} rows of errors >= 0, one per dimension >= 1, got shape {array.shape}")
    typical = np.sqrt((array**2).mean(axis=1))
    fig, (ax,) = canvas(title, size=(6.4, 3.8))
    ax.fill_between(x, *np.percentile(array, [5, 95], axis=1), color=BLUE, alpha=0.15, linewidth=0, label="5 to 95 %")
    ax.plot(x, typical, color=BLUE, marker="o", markersize=4, label="root mean square")
    guide = np.exp(np.mean(np.log(typical * np.sqrt(x))))
    ax.plot(x, guide / np.sqrt(x), color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="1/√D")
    ax.set(xscale="log", yscale="log", xlabel="dimension D of the sketch", ylabel="relative error")
    ax.set_xticks(x, [f"{int(d):,}" for d in x])
    plain_log(ax.yaxis)
    ax.minorticks_off()
    ax.legend(loc="lower left")
    return fig
