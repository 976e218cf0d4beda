"""The style that every figure shares, and the figures of training and evaluation. Arrays in, a `Figure` out.

Nothing here touches pyplot: a figure belongs to whoever holds it, and nothing is left open.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import font_manager, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito (2008): eight colours that stay apart for every kind of colour vision; yellow is too pale for lines.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PINK, SKY, YELLOW, INK, GREY, PALE = "#CC79A7", "#56B4E9", "#F0E442", "#22252A", "#7A8088", "#E3E6EA"
CYCLE = (BLUE, ORANGE, GREEN, RED, PINK, SKY, INK)

WIDE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
    "Hiragino Sans", "PingFang SC", "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Zen Hei", "Droid Sans Fallback",
)  # fmt: skip
_installed = {font.name for font in font_manager.fontManager.ttflist}
FONTS = ["DejaVu Sans", *(name for name in WIDE_FONTS if name in _installed)]

STYLE = {
    "font.family": FONTS, "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY,
    "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.labelsize": 9, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.prop_cycle": matplotlib.cycler(color=CYCLE), "figure.titlesize": 11.5, "figure.titleweight": "normal",
    "legend.frameon": False, "legend.fontsize": 8.5, "lines.linewidth": 1.8, "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.6, "figure.facecolor": "white", "figure.dpi": 100,
}  # fmt: skip
styled = matplotlib.rc_context(STYLE)  # a decorator: the style holds while a figure is built, then the reader's returns


@functools.cache
def _drawable() -> frozenset[int]:
    """Code points that the font list draws."""
    files = (font_manager.findfont(font_manager.FontProperties(family=name)) for name in FONTS)
    return frozenset().union(*(font_manager.get_font(file).get_charmap() for file in files))


def _spell(char: str) -> str:
    """One character as text that can be drawn: itself, without accents, its name's sound, or its code point."""
    if unicodedata.category(char) in {"Cc", "Cf", "Cs"}:  # joiners, direction marks: they draw nothing
        return ""
    if ord(char) in _drawable():
        return char
    bare = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    if bare and all(ord(part) in _drawable() for part in bare):
        return bare
    name = unicodedata.name(char, "")
    for kind in (" LETTER ", " SYLLABLE ", " VOWEL SIGN ", " CHARACTER "):
        if kind in name:
            return name.partition(kind)[2].split()[0].lower()
    return "" if unicodedata.category(char).startswith("M") else f"[U+{ord(char):04X}]"


def label(text: object, width: int | None = None) -> str:
    r"""Untrusted text (a place name in any script) as a label that matplotlib draws without boxes or mathtext.

    Scripts that no installed font covers are spelled by their letters' names, ideographs by their code points.

    Args:
        text: anything; its `str` on one line is used.
        width: columns to keep (wide characters count two); a longer text ends in "…".

    Returns:
        A string without unescaped dollar signs, all of whose characters the fonts of `STYLE` hold.

    >>> label("Plaza $1 mercado")
    'Plaza \\$1 mercado'
    >>> label("Sainte-Chapelle, Paris", width=10)
    'Sainte-Ch…'
    """
    spelled = "".join(map(_spell, unicodedata.normalize("NFC", " ".join(str(text).split())))).replace("][U+", " ")
    columns = np.cumsum([2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in spelled])
    if width is not None and len(columns) and columns[-1] > width:
        spelled = spelled[: int(np.searchsorted(columns, width - 1, side="right"))].rstrip() + "…"
    return spelled.replace("$", r"\$")


def numbers(values: object, what: str, ndim: int = 1, least: int = 1) -> np.ndarray:
    """`values` as a finite float array of `ndim` axes with at least `least` entries along the last, else ValueError.

    >>> numbers([], "counts")
    Traceback (most recent call last):
    ValueError: counts: needs 1 or more numbers in 1 dimension(s), got shape (0,)
    """
    array = np.asarray(values, float)
    if array.ndim != ndim or not array.size or array.shape[-1] < least:
        raise ValueError(f"{what}: needs {least} or more numbers in {ndim} dimension(s), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: {int((~np.isfinite(array)).sum())} of {array.size} numbers are not finite")
    return array


def named(values: Mapping, what: str) -> Mapping:
    """`values` unless it is empty, which is a ValueError."""
    if not len(values):
        raise ValueError(f"{what}: nothing to draw, needs one entry or more")
    return values


def canvas(title: str, rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.2, 3.8), **grid) -> tuple:
    """A blank figure of `size` inches and its axes as a list in reading order, in the shared look."""
    fig = Figure(figsize=size, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.06, h_pad=0.06, wspace=0.04, hspace=0.04)
    fig.suptitle(label(title), x=0.012, ha="left")
    axes = list(fig.subplots(rows, columns, squeeze=False, **grid).flat)
    for ax in axes:  # ticks are made when drawn, outside the style: they must carry it themselves
        ax.tick_params(which="both", colors=GREY, labelcolor=INK, labelsize=8.5, length=3, labelfontfamily=FONTS)
        ax.grid(color=PALE, linewidth=0.7)
    return fig, axes


def plain_log(axis: ticker.TickHelper) -> None:
    """Plain numbers (1, 2, 5, 10, 20 …) on a logarithmic axis."""
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def reference(ax: Axes, value: float, text: str, vertical: bool = True) -> None:
    """A dashed line at a value that is known without a measurement: chance, perfect, the true value."""
    (ax.axvline if vertical else ax.axhline)(
        value, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label=text, zorder=1
    )


@styled
def learning_curves(runs: Mapping[str, pd.DataFrame], *, chance: float | None = None,
                    title: str = "Learning curves") -> Figure:  # fmt: skip
    """Loss and GAP against training step, one colour per run: the paper's Figure 4, of the whole dev set.

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
    for (name, table), colour in zip(named(runs, "runs").items(), CYCLE * len(runs), strict=False):
        missing = [column for column in ("step", "train_loss", "dev_loss", "dev_gap") if column not in table]
        if missing or len(table) < 2:
            raise ValueError(f"run {name!r}: needs two rows or more and columns {', '.join(missing) or 'as they are'}")
        train, dev, score = (table[["step", c]].dropna() for c in ("train_loss", "dev_loss", "dev_gap"))
        smooth = train["train_loss"].ewm(span=max(len(train) // 20, 1)).mean()
        loss.plot(train["step"], smooth, color=colour, linewidth=0.9, alpha=0.55)
        loss.plot(dev["step"], dev["dev_loss"], color=colour, marker="o", markersize=3)
        gap.plot(score["step"], score["dev_gap"], color=colour, marker="o", markersize=3, label=label(name, 40))
    if chance is not None:
        reference(loss, chance, "chance", vertical=False)
        loss.legend(loc="upper right")
    loss.set(title="Loss: train (thin), dev (thick)", xlabel="training step", ylabel="cross-entropy (nats)")
    loss.set_ylim(bottom=0)
    reference(gap, 1, "perfect", vertical=False)
    gap.set(title="GAP on the whole dev set", xlabel="training step", ylabel="GAP", ylim=(0, 1.04))
    fig.legend(*gap.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return fig


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
        columns = (table[c].to_numpy(float) for c in (kind, f"{kind}_low", f"{kind}_high"))
        _whiskers(gap, y + shift, *columns, colour, marker, names[kind], above=shift < 0)
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
    value: Sequence,
    low: Sequence,
    high: Sequence,
    colour: str,
    marker: str,
    text: str | None = None,
    above: bool = True,
) -> None:
    """Dots with whiskers, and their value in figures above or below."""
    whiskers = np.abs(np.stack([np.subtract(value, low), np.subtract(high, value)]))
    ax.errorbar(value, y, xerr=whiskers, fmt=marker, color=colour, markersize=6, linewidth=1.6, capsize=3, label=text)
    for x, row in zip(value, y, strict=True):
        look = {"textcoords": "offset points", "ha": "center", "va": "bottom" if above else "top", "fontsize": 7.5}
        ax.annotate(f"{x:.3f}", (x, row), (0, 5 if above else -5), color=colour, **look)
