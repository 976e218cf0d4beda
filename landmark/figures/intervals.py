"""Draw values with their intervals: dots and whiskers, a row for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landmark.figures.style import BLUE, GREEN, GREY, RED, canvas, label, numbers, reference, styled


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
    """Draw values with their intervals as dots and whiskers, one row each, in the order given.

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
    """Draw the paper's Figure 5, measured: GAP on landmark queries alone and on the whole test set, and the loss.

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
        middle, low, high = (table[c].to_numpy(float) for c in (kind, f"{kind}_low", f"{kind}_high"))
        _whiskers(gap, y + shift, middle, low, high, colour, marker, names[kind], above=shift < 0)
    hollow: dict[str, Any] = {
        "facecolor": "white",
        "edgecolor": GREY,
        "marker": "D",
        "s": 30,
        "linewidth": 1.3,
        "zorder": 3,
    }
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
    """Write names down the left side, the first on top."""
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
    """Draw dots with whiskers, and write their value above or below."""
    whiskers = np.abs(np.stack([np.subtract(value, low), np.subtract(high, value)]))
    ax.errorbar(value, y, xerr=whiskers, fmt=marker, color=colour, markersize=6, linewidth=1.6, capsize=3, label=text)
    for x, row in zip(value, y, strict=True):
        look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom" if above else "top"}
        ax.annotate(f"{x:.3f}", (x, row), (0, 5 if above else -5), color=colour, fontsize=7.5, **look)
