"""Figures of systems in an open world: GAP against distractors, risk against coverage, reliability, OSCR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landmark.figures.style import CYCLE, GREY, canvas, label, named, numbers, reference, styled

Numbers = Sequence[float] | np.ndarray
Curve = tuple[Numbers, Numbers]


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
    """GAP of systems against the share of distractors among the images.

    Args:
        curves: system → shares in 0 to 1, and GAP at each.
        intervals: system → (share, GAP, low, high), drawn as whiskers.
        here: the share of this test set, marked.
        title: over the figure.

    >>> gap_by_share({"a": ([0, 0.5], [0.8, 0.6])}, {"a": [(0, 0.8, 0.7, 0.9)]}).axes[0].get_ylabel()
    'GAP'
    """
    fig, (ax,) = canvas(title, size=(6.8, 4.0))
    for number, (name, (_, colour, x, y)) in enumerate(zip(curves, _coloured(curves, "curve"), strict=True)):
        ax.plot(100 * x, y, color=colour, label=label(name, 34))
        shift = 0.5 * (number - (len(curves) - 1) / 2)
        for share, value, low, high in (intervals or {}).get(name, ()):
            whisker = [[max(value - low, 0)], [max(high - value, 0)]]
            ax.errorbar(100 * share + shift, value, yerr=whisker, fmt="o", color=colour, markersize=4, capsize=2.5)
    if here is not None:
        reference(ax, 100 * here, f"this test set: {here:.0%}")
    ax.set(xlabel="distractors among the images (%)", ylabel="GAP")
    ax.set_ylim(bottom=0)
    ax.legend()
    return fig


@styled
def risk_curves(curves: Mapping[str, Curve], *, title: str = "Answer only the surest") -> Figure:
    """Risk against coverage: the share of wrong answers among the most confident ones.

    Args:
        curves: system → coverage and risk, both in 0 to 1.
        title: over the figure.

    >>> len(risk_curves({"a": ([0.5, 1], [0, 0.2])}).axes[0].lines)
    1

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS 2017.
    """
    fig, (ax,) = canvas(title, size=(6.2, 4.0))
    for text, colour, x, y in _coloured(curves, "risk"):
        ax.plot(x, y, color=colour, label=text)
    _unit(ax, "coverage: answers given", "risk: wrong ones among them")
    ax.legend()
    return fig


@styled
def reliability_diagram(
    bins: Mapping[str, tuple[Numbers, Numbers, Numbers]],
    *,
    title: str = "Does a score say how often it is right?",
) -> Figure:
    """Accuracy against the mean score of bins; below, how many answers each bin holds.

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
    for (text, colour, x, y), (_, _, count) in zip(_coloured(pairs, "bins"), bins.values(), strict=True):
        upper.plot(x, y, color=colour, marker="o", markersize=4, label=text)
        lower.plot(x, numbers(count, "count"), color=colour, marker="o", markersize=3)
    _unit(upper, "", "accuracy")
    lower.set(xlabel="mean score of the bin", ylabel="answers", yscale="log")
    upper.legend()
    return fig


@styled
def oscr_curves(curves: Mapping[str, Curve], *, title: str = "Right answers against what should be refused") -> Figure:
    """Known queries answered rightly against the answers to unknown landmarks and distractors that pass (OSCR).

    Args:
        curves: system → FPR and CCR, both in 0 to 1.
        title: over the figure.

    >>> oscr_curves({"a": ([0.001, 1], [0.5, 0.8])}).axes[0].get_xscale()
    'log'

    Source: Dhamija et al., Reducing Network Agnostophobia, NeurIPS 2018, section 4.
    """
    fig, (ax,) = canvas(title, size=(6.2, 4.0))
    for text, colour, x, y in _coloured(curves, "OSCR"):
        ax.plot(x[x > 0], y[x > 0], color=colour, label=text)
    ax.set(xscale="log", ylim=(-0.01, 1.04), ylabel="known queries answered rightly")
    ax.set_xlabel("answers to unknown landmarks and distractors that pass")
    ax.legend()
    return fig
