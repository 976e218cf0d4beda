"""Draw scores: GAP step by step, over batches and in falling steps, curves of deletion, errors of a sketch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure

from landmark.figures.style import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    RED,
    canvas,
    describe,
    label,
    named,
    numbers,
    plain_log,
    reference,
    styled,
)


@styled
def gap_walk(correct: Sequence[bool], total: int, *, names: Sequence[str] | None = None,
             title: str = "GAP, rank by rank") -> Figure:  # fmt: skip
    r"""Draw the precision at each rank, and the area that GAP sums: GAP = (1/M) Σ P(i)·rel(i).

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
    ranks, right = np.arange(1, len(hits) + 1), np.cumsum(hits)
    precision, few = right / ranks, len(hits) <= 16
    gap = precision[hits].sum() / total
    fig, (walk, area) = canvas(title, 1, 2, (8.6, 3.9), sharey=True)
    walk.plot(ranks, precision, color=GREY, linewidth=1.2, zorder=2)
    for kind, colour, marker, text in ((hits, BLUE, "o", "right"), (~hits, RED, "X", "wrong")):
        look: dict[str, Any] = {"marker": marker, "s": 52} if few else {"marker": "|", "s": 30, "linewidth": 0.4}
        height = precision[kind] if few else np.full(kind.sum(), 1.05 if text == "right" else 1.1)
        walk.scatter(ranks[kind], height, color=colour, label=text, zorder=3, clip_on=False, **look)
    if few:
        for rank, count, value in zip(ranks, right, precision, strict=True):
            walk.annotate(f"{count}/{rank}", (rank, value), (0, 8), textcoords="offset points", ha="center")
        walk.set_xticks(ranks, [label(n, 12) for n in names] if names is not None else ranks)
        walk.set_xlim(0.5, len(hits) + 0.5)
    walk.set(title="Precision so far", xlabel="rank, highest score first", ylabel="precision P(i)", ylim=(0, 1.14))
    left = np.arange(hits.sum()) / total
    area.bar(left, precision[hits], 1 / total, align="edge", color=BLUE, linewidth=0.8 if few else 0, edgecolor="white")
    reference(area, 1, "perfect: area 1", vertical=False)
    handles, texts = walk.get_legend_handles_labels()
    more = area.get_legend_handles_labels()
    key = fig.legend(handles + more[0], texts + more[1], loc="outside lower left", ncols=3)
    for handle in filter(None, key.legend_handles[:2]):
        handle.set(linewidth=1 if few else 4)
    area.set(title=f"Each hit adds P(i) / M: the area is GAP = {gap:.3f}", xlim=(0, 1))
    area.set_xlabel(f"share of the M = {total} landmark images found")
    words = [
        f"rank {rank} {'right' if hit else 'wrong'}, precision {value:.3f}"
        for rank, hit, value in zip(ranks, hits, precision, strict=True)
    ]
    return describe(fig, title, *(words if few else [f"{hits.sum()} of {len(hits)} right"]), f"area {gap:.3f}")


@styled
def open_world(
    scores: Mapping[str, Sequence[float]],
    shares: Sequence[float],
    gaps: Sequence[float],
    *,
    here: float | None = None,
    title: str = "From a closed to an open world",
) -> Figure:
    """Draw scores of right, wrong and distractor predictions, and GAP as distractors join the test set.

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
        look = {"color": colours.get(name, GREY), "alpha": 0.28, "linewidth": 1.5}
        text = f"{label(name, 20)} ({len(value):,})"
        seaborn.histplot(x=value, bins=bins, stat="percent", element="step", ax=left, label=text, **look)
    left.legend()
    left.set(title="Scores of the predictions", xlabel="score", ylabel="share of its kind (%)")
    right.plot(100 * x, y, color=BLUE, marker="o", markersize=3.5)
    if here is not None:
        reference(right, 100 * here, f"this test set: {here:.0%}")
        right.legend(loc="lower left")
    right.set(title="GAP as distractors join", xlabel="distractors among the test images (%)", ylabel="GAP")
    right.set_ylim(bottom=0)
    words = [f"{name} ({len(value):,}) with a median score of {np.median(value):.2f}" for name, value in values.items()]
    return describe(fig, title, *words, f"GAP from {y[0]:.3f} at {x[0]:.0%} to {y[-1]:.3f} at {x[-1]:.0%}")


@styled
def answered_bars(parts: Mapping[str, tuple[int, int]], *, threshold: float) -> Figure:
    """Draw what a threshold on the score lets through: of each kind of answer all in pale, the given ones in colour.

    Args:
        parts: kind → the answers given and all of them; `right` first, then the kinds of wrong ones.
        threshold: on the score; the title says it, the share of images answered, and the precision.

    >>> fig = answered_bars({"right": (3, 4), "wrong: distractor": (1, 6)}, threshold=0.5)
    >>> fig.get_suptitle()
    't = 0.5: an answer to 40.0 % of the images, precision 0.750'
    """
    given, whole = (
        numbers([part for part, _ in parts.values()], "given"),
        numbers([n for _, n in parts.values()], "all"),
    )
    share, precision = given.sum() / whole.sum(), given[0] / given.sum() if given.sum() else float("nan")
    text = f"t = {threshold:g}: an answer to {share:.1%} of the images, precision {precision:.3f}"
    fig, (ax,) = canvas(text.replace("%", " %"), size=(6.6, 1.1 + 0.45 * len(parts)))
    rows, colours = np.arange(len(parts)), [BLUE, *[RED] * (len(parts) - 1)]
    ax.barh(rows, whole, color=PALE, height=0.62)
    ax.barh(rows, given, color=colours, height=0.62)
    for row, part, n in zip(range(len(rows)), given, whole, strict=True):
        ax.text(n, row, f" {part:,.0f} of {n:,.0f}", va="center", fontsize=8.5)
    ax.set_yticks(rows, [label(name, 30) for name in parts])
    ax.set(xlabel="images", xlim=(0, 1.22 * max(whole.max(), 1)), ylim=(len(parts) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    return fig


@styled
def batch_gap_noise(
    gaps: Mapping[int, Sequence[float]], true_gap: float, *, title: str = "GAP of single batches, and of the whole set"
) -> Figure:
    """Draw histograms of the GAP of single batches, one row per batch size, beside the GAP of the whole set.

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
    words = []
    for ax, (size, values) in zip(axes, rows.items(), strict=True):
        seaborn.histplot(x=values, bins=bins, stat="percent", color=BLUE, alpha=0.75, linewidth=0, ax=ax)
        ax.axvline(true_gap, color=RED, linewidth=1.6)
        words.append(f"batches of {size}: mean {values.mean():.3f}, standard deviation {values.std():.3f}")
        ax.set_title(words[-1], fontsize=8.5)
        ax.set_ylabel("")
    axes[0].set_title(f"whole set {true_gap:.3f}", fontsize=8.5, color=RED, loc="right")
    axes[-1].set_xlabel("GAP of one batch")
    fig.supylabel("share of the batches (%)", fontsize=9)
    return describe(fig, title, *words, f"whole set {true_gap:.3f}")


@styled
def deletion_curves(
    curves: Mapping[str, Sequence], *, baseline: str = "random", title: str = "Deleting the most salient pixels first"
) -> Figure:
    """Draw the probability of the predicted class as pixels are blurred away, most salient first; lower is better.

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
    words = []
    for (name, values), colour in zip(named(curves, "curves").items(), CYCLE * len(curves), strict=False):
        array = numbers(values, f"curve of {name!r}", ndim=2, least=2)
        x, mean = np.linspace(0, 100, array.shape[1]), array.mean(axis=0)
        band = 1.96 * array.std(axis=0) / np.sqrt(len(array))
        area = np.trapezoid(mean, x / 100)
        line = {"color": GREY, "linestyle": (0, (4, 3))} if name == baseline else {"color": colour}
        ax.fill_between(x, mean - band, mean + band, color=line["color"], alpha=0.15, linewidth=0)
        words.append(f"{label(name, 30)}: from {mean[0]:.2f}, area {area:.3f}")
        ax.plot(x, mean, **line, label=f"{label(name, 30)}: area {area:.3f}")
    ax.set(xlabel="pixels deleted (%)", ylabel="probability of the class", xlim=(0, 100))
    ax.set_ylim(bottom=0)
    ax.legend(title="mean, 95 % band", title_fontsize=8.5)
    return describe(fig, title, *words)


@styled
def sketch_error(
    dimensions: Sequence[int], errors: Sequence, *, title: str = "Error of the sketch against its dimension"
) -> Figure:
    """Draw the relative error of sketched inner products by dimension D, its median beside the 1/√D of theory.

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
    typical = np.median(array, axis=1)
    fig, (ax,) = canvas(title, size=(6.4, 3.8))
    ax.fill_between(x, *np.percentile(array, [5, 95], axis=1), color=BLUE, alpha=0.15, linewidth=0, label="5 to 95 %")
    ax.plot(x, typical, color=BLUE, marker="o", markersize=4, label="median")
    guide = np.exp(np.mean(np.log(typical * np.sqrt(x))))
    ax.plot(x, guide / np.sqrt(x), color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="proportional to 1/√D")
    ax.set(xscale="log", yscale="log", xlabel="dimension D of the sketch", ylabel="relative error")
    ax.set_xticks(x, [f"{int(d):,}" for d in x])
    plain_log(ax.yaxis)
    ax.minorticks_off()
    ax.legend(loc="lower left")
    words = (f"{dim:,.0f} bins, error {error:.1%}" for dim, error in zip(x, typical, strict=True))
    return describe(fig, title, f"{array.shape[1]} repeats", *words)


@styled
def waterfall(
    names: Sequence[str],
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    *,
    xlabel: str = "GAP (95 % interval)",
    title: str = "From one way of measuring to another",
) -> Figure:
    """Draw steps as floating bars: the first and the last value from zero, each between from the one before it.

    Args:
        names: N labels, the first on top; N is at least 2.
        values, lows, highs: (N,) what is measured after each step, and its interval, drawn as a whisker.
        xlabel: the quantity and its unit.
        title: over the figure.

    >>> waterfall(["closed", "open"], [0.8, 0.3], [0.7, 0.2], [0.9, 0.4]).axes[0].get_xlabel()
    'GAP (95 % interval)'
    """
    middle, low, high = (numbers(v, w, least=2) for v, w in ((values, "values"), (lows, "lows"), (highs, "highs")))
    if not len(names) == len(middle) == len(low) == len(high):
        raise ValueError(f"names, values, lows, highs: {len(names)}, {len(middle)}, {len(low)}, {len(high)} entries")
    fig, (ax,) = canvas(title, size=(8.2, 1.3 + 0.46 * len(names)))
    rows, before = np.arange(len(names)), np.r_[0.0, middle[:-1]]
    start = np.where(rows == len(rows) - 1, 0.0, before)  # the last one stands on the ground, as the first does
    colours = [BLUE if row in (0, len(rows) - 1) else RED if middle[row] < before[row] else GREEN for row in rows]
    ax.barh(rows, middle - start, 0.62, left=start, color=colours, alpha=0.75)
    whiskers = np.maximum([middle - low, high - middle], 0)
    ax.errorbar(middle, rows, xerr=whiskers, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
    ax.vlines(middle[:-1], rows[:-1] + 0.31, rows[1:] - 0.31, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)))
    edge = np.maximum(np.maximum(start, middle), high)
    for row in rows:
        change = f" ({middle[row] - before[row]:+.3f})" if row else ""
        ax.annotate(f"{middle[row]:.3f}{change}", (edge[row], row), (6, 0), textcoords="offset points", va="center")
    ax.set_yticks(rows, [label(name, 48) for name in names])
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel=xlabel, ylim=(len(rows) - 0.45, -0.55), xlim=(0, max(edge.max() * 1.22, 1e-6)))
    ax.grid(axis="y", visible=False)
    return describe(fig, title, *(f"{name} {value:.3f}" for name, value in zip(names, middle, strict=True)))
