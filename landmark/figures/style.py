"""Share one style among all figures: colours, fonts, canvas, labels in any script."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager, ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.rcsetup import cycler

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

STYLE: dict[Any, Any] = {
    "font.family": FONTS, "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY,
    "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.labelsize": 9, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE), "figure.titlesize": 11.5, "figure.titleweight": "normal",
    "legend.frameon": False, "legend.fontsize": 8.5, "lines.linewidth": 1.8, "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.6, "figure.facecolor": "white", "figure.dpi": 100,
}  # fmt: skip
CREDIT_SIZE, CREDIT_COLUMNS = 4.5, 26  # points of the letters of credits, and how many stand in an inch
styled = matplotlib.rc_context(STYLE)  # a decorator: the style holds while a figure is built, then the reader's returns


@functools.cache
def _drawable() -> frozenset[int]:
    """List the code points that the fonts draw."""
    files = (font_manager.findfont(font_manager.FontProperties(family=name)) for name in FONTS)
    return frozenset().union(*(font_manager.get_font(file).get_charmap() for file in files))


def _spell(char: str) -> str:
    """Spell one character as text that can be drawn: itself, without accents, its name's sound, or its code point."""
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
    r"""Make untrusted text (a place name in any script) a label that matplotlib draws without boxes or mathtext.

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
    """Read `values` as finite floats of `ndim` axes with at least `least` entries along the last, else ValueError.

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


def describe(fig: Figure, title: str, *parts: str) -> Figure:
    """Say in words what a figure shows, for readers who cannot see it; `save_figure` takes it along as its alt text.

    >>> describe(Figure(), "Scores", "a 0.91", "b 0.87").get_label()
    'Scores: a 0.91; b 0.87'
    """
    fig.set_label(f"{title}: {'; '.join(parts)}")
    return fig


def named(values: Mapping, what: str) -> Mapping:
    """Return `values` unless it is empty, which is a ValueError."""
    if not len(values):
        raise ValueError(f"{what}: nothing to draw, needs one entry or more")
    return values


def canvas(
    title: str, rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.2, 3.8), **grid: Any
) -> tuple[Figure, list[Axes]]:
    """Make a blank figure of `size` inches; return it and its axes, a list in reading order."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.04, hspace=0.04)
    fig = Figure(figsize=size, layout=layout)
    fig.suptitle(label(title), x=0.012, ha="left")
    axes = list(fig.subplots(rows, columns, squeeze=False, **grid).flat)
    for ax in axes:  # ticks are made when drawn, outside the style: they must carry it themselves
        ax.tick_params(which="both", colors=GREY, labelcolor=INK, labelsize=8.5, length=3, labelfontfamily=FONTS)
        ax.grid(color=PALE, linewidth=0.7)
    return fig, axes


def plain_log(axis: Axis) -> None:
    """Write plain numbers (1, 2, 5, 10, 20 …) on a logarithmic axis."""
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def reference(ax: Axes, value: float, text: str, vertical: bool = True) -> None:
    """Draw a dashed line at a value that is known without a measurement: chance, perfect, the true value."""
    (ax.axvline if vertical else ax.axhline)(
        value, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label=text, zorder=1
    )


@styled
def credit(figure: Figure, lines: Sequence[str]) -> None:
    """Write who took the photographs of a figure below it, in small letters, the figure as much higher as it takes.

    >>> figure, _ = canvas("Two towers")
    >>> credit(figure, ["1. A tower: Ada, CC BY 4.0", "2. Another: Ben, CC0"])
    >>> figure.get_supxlabel(), figure.get_size_inches()[1] > 3.8
    ('1. A tower: Ada, CC BY 4.0 · 2. Another: Ben, CC0', np.True_)
    """
    if not lines:
        return
    width, height = figure.get_size_inches()
    rows: list[list[str]] = [[]]
    left = columns = int(width * CREDIT_COLUMNS)
    for word in " · ".join(label(line, 300) for line in lines).split():
        wide = 1 + sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in word)
        if wide > left:
            rows, left = [*rows, []], columns
        rows[-1].append(word)
        left -= wide
    figure.supxlabel("\n".join(map(" ".join, rows)), x=0.012, ha="left", fontsize=CREDIT_SIZE)
    figure.set_size_inches(width, height + 0.1 + len(rows) * CREDIT_SIZE * 1.2 / 72)
