"""Draw networks that learn: curves, parameters and gradients of each stage, images a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from landmark.figures.networks import count
from landmark.figures.style import (
    BLUE,
    CYCLE,
    canvas,
    describe,
    label,
    named,
    numbers,
    plain_log,
    reference,
    styled,
)

_RESTING: dict[str, Any] = {"facecolor": "white", "edgecolor": BLUE, "linewidth": 0.8, "hatch": "////"}
_TRAINED: dict[str, Any] = {"facecolor": BLUE, "edgecolor": BLUE, "linewidth": 0.8}


@styled
def learning_curves(runs: Mapping[str, pd.DataFrame], *, chance: float | None = None,
                    title: str = "Learning curves") -> Figure:  # fmt: skip
    """Draw loss and GAP against training step, one colour per run: the paper's Figure 4, of the whole dev set.

    Args:
        runs: name → table with columns `step`, `train_loss`, `dev_loss`, `dev_gap`; NaN where a row has no value.
        chance: loss of a uniform guess, ln(number of classes).
        title: what the runs have in common.

    Returns:
        Two panels. Left: training loss, thin (running mean in nats), dev loss, thick. Right: dev GAP.

    >>> table = pd.DataFrame({"step": [0, 10], "train_loss": [3, 1.0], "dev_loss": [3, 2.0], "dev_gap": [0, 0.4]})
    >>> len(learning_curves({"xception": table}).axes)
    2

    Source: Figure 4 of the paper, which plots single batches.
    """
    fig, (loss, gap) = canvas(title, 1, 2, (8.6, 3.9))
    words: list[str] = []
    for (name, table), colour in zip(named(runs, "runs").items(), CYCLE * len(runs), strict=False):
        missing = [column for column in ("step", "train_loss", "dev_loss", "dev_gap") if column not in table]
        if missing or len(table) < 2:
            raise ValueError(f"run {name!r}: needs two rows or more and columns {', '.join(missing) or 'as they are'}")
        train, dev, score = (table[["step", c]].dropna() for c in ("train_loss", "dev_loss", "dev_gap"))
        smooth = train["train_loss"].ewm(span=max(len(train) // 20, 1)).mean()
        loss.plot(train["step"], smooth, color=colour, linewidth=0.9, alpha=0.55)
        loss.plot(dev["step"], dev["dev_loss"], color=colour, marker="o", markersize=3)
        gap.plot(score["step"], score["dev_gap"], color=colour, marker="o", markersize=3, label=label(name, 40))
        words += (
            _trend(name, "train loss", train["step"], smooth),
            _trend(name, "dev loss", dev["step"], dev["dev_loss"]),
        )
        words.append(_trend(name, "dev GAP", score["step"], score["dev_gap"]))
    if chance is not None:
        _name_line(loss, chance, "a uniform guess", "right")
    loss.set(title="Loss: train (thin), dev (thick)", xlabel="training step", ylabel="cross-entropy (nats)")
    loss.set_ylim(bottom=0)
    fig.legend(*gap.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    _name_line(gap, 1, "perfect", "left")  # where no curve has come near it yet
    gap.set(title="GAP on the whole dev set", xlabel="training step", ylabel="GAP", ylim=(0, 1.04))
    return describe(fig, title, *words)


def _name_line(ax: Axes, value: float, text: str, side: str) -> None:
    """Draw a known value as a dashed line with its name below it: two panels with two such lines need no legend."""
    reference(ax, value, text, vertical=False)
    place: dict[str, Any] = {"textcoords": "offset points", "va": "top", "ha": side, "size": 7.5}
    ax.annotate(text, (float(side == "right"), value), (-4 if side == "right" else 4, -3),
                xycoords=("axes fraction", "data"), **place)  # fmt: skip


@styled
def number_curves(runs: Mapping[str, pd.DataFrame], column: str, *, start: Mapping[str, float], symbol: str,
                  title: str) -> Figure:  # fmt: skip
    """Draw one number of a log against the training step, one colour per run.

    Args:
        runs: name → table with columns `step` and `column`.
        column: of the number, such as "gamma".
        start: name → its value before the first step.
        symbol: of the number, for the axis.
        title: of the figure.

    >>> table = pd.DataFrame({"step": [5, 10], "gamma": [0.1, 0.2]})
    >>> figure = number_curves({"a": table}, "gamma", start={"a": 0.0}, symbol="γ", title="γ in training")
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [0.0, 0.1, 0.2]
    """
    fig, (ax,) = canvas(title, 1, 1, (6.4, 3.4))
    words = []
    for (name, table), colour in zip(named(runs, "runs").items(), CYCLE * len(runs), strict=False):
        if column not in table or name not in start:
            raise ValueError(f"run {name!r}: needs a column {column} and a start")
        values = pd.Series([start[name], *table[column]])
        ax.plot([0, *table["step"]], values, color=colour, marker="o", markersize=3, label=label(name, 40))
        words.append(_trend(name, symbol, table["step"], values))
    reference(ax, 0, "switched off", vertical=False)
    ax.set(xlabel="training step", ylabel=symbol)
    ax.legend(loc="best")
    return describe(fig, title, *words)


def _trend(name: str, what: str, steps: pd.Series, values: pd.Series) -> str:
    """Put a curve into words: where it starts and ends, and its best value when that lies between."""
    text = f"{name}, {what} from {values.iloc[0]:.2f} to {values.iloc[-1]:.2f} at step {steps.iloc[-1]:.0f}"
    best = int((values if what.endswith("GAP") else -values).to_numpy().argmax())
    return text if best == len(values) - 1 else f"{text}, best {values.iloc[best]:.2f} at step {steps.iloc[best]:.0f}"


@styled
def parameter_bars(
    stages: Sequence[tuple[str, int]],
    frozen: Mapping[str, float] | None = None,
    *,
    title: str = "Where the parameters are",
) -> Figure:
    """Draw the parameters of each stage of a network, the frozen part hatched.

    Args:
        stages: (name, parameters) in the order of the network.
        frozen: name of a stage → share of its parameters that does not train; a share below 1 is written above its bar.
        title: over the figure.

    >>> len(parameter_bars([("block1", 900), ("block2", 4000)], {"block1": 1.0, "block2": 0.5}).axes)
    1
    """
    shares = frozen or {}
    fig = _stage_bars(stages, "parameters (millions)", title)
    (ax,) = fig.axes
    for i, (name, value) in enumerate(stages):
        share = shares.get(name, 0.0)
        ax.bar(i, share * value / 1e6, 0.72, **_RESTING)
        ax.bar(i, (1 - share) * value / 1e6, 0.72, bottom=share * value / 1e6, **_TRAINED)
        if 0 < share < 1:
            ax.annotate(
                f"{share:.1%} frozen", (i, value / 1e6), (0, 3), textcoords="offset points", ha="center", size=7.5
            )
    _name_both(fig, shares)
    words = []
    for name, value in stages:
        share = shares.get(name, 0.0)
        words.append(f"{name} {count(value)}{f', {share:.1%} frozen'.replace('100.0% ', '') * bool(share)}")
    return describe(fig, title, *words)


@styled
def gradient_flow(stages: Sequence[tuple[str, float]], *, title: str = "Gradient that reaches each stage") -> Figure:
    """Draw the norm of the gradient of each stage of a network, on a logarithmic axis; a stage without one has no bar.

    Args:
        stages: (name, gradient norm) in the order of the network.
        title: over the figure.

    >>> gradient_flow([("block1", 0.0), ("head", 2.5)]).axes[0].get_yscale()
    'log'
    """
    fig = _stage_bars(stages, "gradient norm", title)
    (ax,) = fig.axes
    for i, (_, value) in enumerate(stages):
        if value:
            ax.bar(i, value, 0.72, **_TRAINED)
        else:  # in words: a short bar would be read as a value
            ax.text(i, 0.02, "none", transform=ax.get_xaxis_transform(), ha="center", size=8)
    ax.set(yscale="log", xlim=(-0.6, len(stages) - 0.4))
    if positive := [value for _, value in stages if value > 0]:
        ax.set_ylim(bottom=min(positive) / 3)
    plain_log(ax.yaxis)
    return describe(fig, title, *(f"{name} {value:.2g}" if value else f"{name} none" for name, value in stages))


def _stage_bars(stages: Sequence[tuple[str, float]], ylabel: str, title: str) -> Figure:
    """Make a canvas with a place for one bar a stage."""
    names = [name for name, _ in stages]
    numbers([value for _, value in stages], "stages")
    fig, (ax,) = canvas(title, size=(max(4.6, 1.2 + 0.42 * len(names)), 3.6))
    ax.set_xticks(
        range(len(names)), [label(name, 24) for name in names], rotation=40, ha="right", rotation_mode="anchor"
    )
    ax.set_ylabel(ylabel)
    ax.grid(axis="x", visible=False)
    return fig


def _name_both(fig: Figure, frozen: Mapping[str, float]) -> None:
    """Say what hatched and solid mean, where there is both."""
    if frozen:
        fig.legend((Patch(**_RESTING), Patch(**_TRAINED)), ("frozen", "trained"), loc="outside upper right", ncols=2)


@styled
def throughput_bars(
    rates: Mapping[str, float], *, device: str = "", title: str = "Training speed by precision"
) -> Figure:
    """Draw the images a second under each precision or setting, one bar each.

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
    return describe(fig, title, *(f"{name} {value:.2f} images a second" for name, value in rates.items()))
