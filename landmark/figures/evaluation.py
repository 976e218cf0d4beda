"""Draw evaluations: values with their intervals, GAP against distractors, risk against coverage, reliability, OSCR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landmark.figures.style import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
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

Numbers = Sequence[float] | np.ndarray
Curve = tuple[Numbers, Numbers]
FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)  # where a curve is put into words


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
    rows = zip(names, middle, low, high, strict=True)
    return describe(
        fig, title, *(f"{name} {value:.3f} ({least:.3f} to {most:.3f})" for name, value, least, most in rows)
    )


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
    rows = zip(table.index, table["closed"], table["open"], strict=True)
    return describe(fig, title, *(f"{name} closed {inside:.3f}, open {whole:.3f}" for name, inside, whole in rows))


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


def _coloured(curves: Mapping[str, Curve], what: str) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Label, colour, x and y of each curve, checked."""
    for number, (name, (x, y)) in enumerate(named(curves, what).items()):
        across, up = numbers(x, f"{what} of {name!r}, across"), numbers(y, f"{what} of {name!r}, up")
        if len(across) != len(up):
            raise ValueError(f"{what} of {name!r}: {len(across)} numbers across and {len(up)} up")
        yield label(name, 34), CYCLE[number % len(CYCLE)], across, up


def _unit(ax: Axes, xlabel: str, ylabel: str) -> None:
    """Both axes from 0 to 1."""
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.01, 1.01), ylim=(-0.01, 1.04))


@styled
def gap_by_share(
    curves: Mapping[str, Curve],
    intervals: Mapping[str, Sequence[tuple[float, float, float, float]]] | None = None,
    *,
    here: float | None = None,
    title: str = "GAP as distractors join",
) -> Figure:
    """Draw GAP of systems against the share of distractors among the images.

    Args:
        curves: system → shares in 0 to 1, and GAP at each.
        intervals: system → (share, GAP, low, high), drawn as whiskers.
        here: the share of this test set, marked.
        title: over the figure.

    >>> gap_by_share({"a": ([0, 0.5], [0.8, 0.6])}, {"a": [(0, 0.8, 0.7, 0.9)]}).axes[0].get_ylabel()
    'GAP'
    """
    fig, (ax,) = canvas(title, size=(6.8, 4.0))
    words = []
    for number, (name, (_, colour, x, y)) in enumerate(zip(curves, _coloured(curves, "curve"), strict=True)):
        ax.plot(100 * x, y, color=colour, label=label(name, 34))
        words.append(f"{name} from {y[0]:.3f} at {x[0]:.0%} to {y[-1]:.3f} at {x[-1]:.1%}")
        shift = 0.5 * (number - (len(curves) - 1) / 2)
        for share, value, low, high in (intervals or {}).get(name, ()):
            whisker = [[max(value - low, 0)], [max(high - value, 0)]]
            ax.errorbar(100 * share + shift, value, yerr=whisker, fmt="o", color=colour, markersize=4, capsize=2.5)
    if here is not None:
        reference(ax, 100 * here, f"this test set: {here:.0%}")
    ax.set(xlabel="distractors among the images (%)", ylabel="GAP")
    ax.set_ylim(bottom=0)
    ax.legend()
    return describe(fig, title, *words)


@styled
def risk_curves(curves: Mapping[str, Curve], *, title: str = "Answer only the surest") -> Figure:
    """Draw risk against coverage: the share of wrong answers among the most confident ones.

    Args:
        curves: system → coverage and risk, both in 0 to 1.
        title: over the figure.

    >>> len(risk_curves({"a": ([0.5, 1], [0, 0.2])}).axes[0].lines)
    1

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS 2017.
    """
    fig, (ax,) = canvas(title, size=(6.2, 4.0))
    words = []
    for text, colour, x, y in _coloured(curves, "risk"):
        ax.plot(x, y, color=colour, label=text)
        words += [
            f"{text}: risk {risk:.3f} at coverage {at}"
            for at, risk in zip(FIFTHS, np.interp(FIFTHS, x, y), strict=True)
        ]
    _unit(ax, "coverage: answers given", "risk: wrong ones among them")
    ax.legend()
    return describe(fig, title, *words)


@styled
def reliability_diagram(
    bins: Mapping[str, tuple[Numbers, Numbers, Numbers]],
    *,
    title: str = "Does a score say how often it is right?",
) -> Figure:
    """Draw accuracy against the mean score of bins; below, how many answers each bin holds.

    Args:
        bins: system → mean score, accuracy and number of answers of each bin that holds any.
        title: over both panels.

    >>> [len(ax.lines) for ax in reliability_diagram({"a": ([0.1, 0.9], [0.2, 0.8], [5, 5])}).axes]
    [2, 1]

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, figure 1.
    """
    fig, (upper, lower) = canvas(title, 2, 1, (6.2, 5.0), sharex=True, height_ratios=[3, 1])
    pairs = {name: (score, accuracy) for name, (score, accuracy, _) in bins.items()}
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    words = []
    for (text, colour, x, y), (_, _, count) in zip(_coloured(pairs, "bins"), bins.values(), strict=True):
        upper.plot(x, y, color=colour, marker="o", markersize=4, label=text)
        lower.plot(x, numbers(count, "count"), color=colour, marker="o", markersize=3)
        words += [
            f"{text}: at a score of {s:.2f}, {right:.2f} of {n} are right"
            for s, right, n in zip(x, y, count, strict=True)
        ]
    _unit(upper, "", "accuracy")
    lower.set(xlabel="mean score of the bin", ylabel="answers, log", yscale="log")
    plain_log(lower.yaxis)
    upper.legend()
    return describe(fig, title, *words)


@styled
def oscr_curves(curves: Mapping[str, Curve], *, title: str = "Right answers against what should be refused") -> Figure:
    """Draw known queries answered rightly against the answers to unknown landmarks and distractors that pass (OSCR).

    Args:
        curves: system → FPR and CCR, both in 0 to 1.
        title: over the figure.

    >>> oscr_curves({"a": ([0.001, 1], [0.5, 0.8])}).axes[0].get_xscale()
    'log'

    Source: Dhamija et al., Reducing Network Agnostophobia, NeurIPS 2018, section 4.
    """
    fig, (ax,) = canvas(title, size=(6.2, 4.0))
    words = []
    for text, colour, x, y in _coloured(curves, "OSCR"):
        ax.plot(x[x > 0], y[x > 0], color=colour, label=text)
        words.append(f"{text}: {np.interp(0.01, x, y):.2f} where one in a hundred passes, {y[-1]:.2f} where all do")
    ax.set(xscale="log", ylim=(-0.01, 1.04), ylabel="known queries answered rightly")
    plain_log(ax.xaxis)
    ax.set_xlabel("answers to unknown landmarks and distractors that pass")
    ax.legend()
    return describe(fig, title, *words)
