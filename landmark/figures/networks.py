"""Draw networks and their evaluation: the pen and the boxes, rows of tensors, closed against open."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from landmark.figures.style import BLUE, INK, RED, describe

PALE_BLUE, PALE_ORANGE = "#D6E8F3", "#FBEBCB"  # to fill
SLATE = "#6B7178"  # for small letters, darker than the grey of lines
HEAD: dict[str, Any] = {
    "arrowstyle": "-|>,head_length=5,head_width=2.4",
    "mutation_scale": 1,
    "shrinkA": 0,
    "shrinkB": 0,
}


def sheet(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """Make a blank drawing of width × height inches whose coordinates are inches, y upwards."""
    layout = ConstrainedLayoutEngine(w_pad=0, h_pad=0)
    fig = Figure(figsize=(width, height), layout=layout, facecolor="white")
    ax = fig.add_subplot()
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.set_axis_off()
    write(ax, 0.15, height - 0.25, title, size=11.5, ha="left")
    return fig, ax


def write(ax: Axes, x: float, y: float, text: str, size: float = 8.5, **look: Any) -> None:
    """Write plain text: never mathtext, whatever it holds."""
    plain: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "linespacing": 1.3}
    ax.text(x, y, text, fontsize=size, parse_math=False, fontfamily="DejaVu Sans", **plain | look)


def arrow(ax: Axes, *points: tuple[float, float], colour: str = SLATE) -> None:
    """Draw a thin line through the points with a head at the last."""
    ax.plot(*zip(*points[:-1], strict=True), color=colour, linewidth=1.2)
    ax.add_patch(FancyArrowPatch(points[-2], points[-1], color=colour, linewidth=1.2, **HEAD))


def box(
    ax: Axes, x: float, y: float, text: str, width: float = 1.2, height: float = 0.5, fill: str = PALE_BLUE
) -> None:
    """Draw a rounded box with its text, centred on (x, y)."""
    style = "round,pad=0,rounding_size=0.06"
    corner = (x - width / 2, y - height / 2)
    ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=fill, edgecolor=SLATE, linewidth=0.8))
    write(ax, x, y, text)


def block(ax: Axes, x: float, y: float, shape: Sequence[int], fill: str, flat: float = 1.0) -> float:
    """Draw a tensor as a slab around (x, y), wide by channels, high and deep by positions; return half its width."""
    channels, *sides = shape
    wide = 0.10 + 0.055 * np.log2(max(channels, 1))
    high = 0.12 + flat * 0.135 * np.log2(max(sides[0], 1)) if sides else 0.12
    deep = 0.45 * high if sides else 0.05
    left, low = x - (wide + 0.7 * deep) / 2, y - (high + 0.5 * deep) / 2
    slant = np.array([0.7 * deep, 0.5 * deep])
    corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]]) + (left, low)
    shade: dict[str, Any] = {"edgecolor": BLUE, "linewidth": 0.9, "joinstyle": "round"}
    ax.add_patch(Polygon([corners[3], corners[2], corners[2] + slant, corners[3] + slant], facecolor="white", **shade))
    ax.add_patch(Polygon([corners[1], corners[2], corners[2] + slant, corners[1] + slant], facecolor="white", **shade))
    ax.add_patch(Polygon(corners, facecolor=fill, **shade))
    return (wide + 0.7 * deep) / 2


def count(parameters: int) -> str:
    """Shorten a large number.

    >>> count(20806952), count(81)
    ('20.8 M', '81')
    """
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if parameters >= size:
            return f"{parameters / size:.1f} {unit}"
    return str(parameters)


def times(shape: Sequence[int]) -> str:
    """Write a shape in words.

    >>> times((8, 16, 16))
    '8 × 16 × 16'
    """
    return " × ".join(map(str, shape))


def _spell(name: str) -> str:
    """A class or module name as words on short lines: "SelfAttention2d" → "Self Attention2d"."""
    words = "".join(f" {c}" if c.isupper() and i and name[i - 1].islower() else c for i, c in enumerate(name))
    return "\n".join(textwrap.wrap(words.replace("_", " "), 14, max_lines=3, placeholder="…"))


def architecture(
    networks: Mapping[str, Sequence[tuple[str, Sequence[int], int]]], title: str, changed: Collection[str] = ()
) -> Figure:
    """Draw networks below each other as rows of tensors, what is new in them highlighted: the paper's Figures 1 to 3.

    Args:
        networks: name → (name of a stage, shape of its output without the batch, parameters) from image to logits, as
            `LandmarkNet.shapes` lists them.
        title: over the drawing.
        changed: names of the stages that the drawing is about.

    >>> rows = {"plain": [("image", (3, 64, 64), 0), ("ResNet50", (2048, 2, 2), 23508032)]}
    >>> len(architecture(rows, "A backbone", {"ResNet50"}).axes)
    1

    Source: Figures 1 to 3 of the paper.
    """
    if not networks or any(len(stages) < 2 or not all(len(s) for _, s, _ in stages) for stages in networks.values()):
        raise ValueError("networks: needs one or more, each with an input and a stage or more that have a shape")
    pitch, tall = 1.16, 2.15
    fig, ax = sheet(title, max(pitch * max(map(len, networks.values())), 5.5), tall * len(networks) + 0.4)
    words = []
    for row, (network, stages) in enumerate(networks.items()):
        y, before = tall * (len(networks) - row) - 1.2, 0.0
        write(ax, 0.15, y + 1.08, network, size=9.5, ha="left", color=BLUE)
        for i, (name, shape, parameters) in enumerate(stages):
            x, new = pitch * (i + 0.5), name in changed
            half = block(ax, x, y, shape, PALE_ORANGE if new else PALE_BLUE, flat=0.6)
            write(ax, x, y + 0.68, _spell(name), size=8, weight="bold" if new else "normal")
            write(ax, x, y - 0.58, times(shape), size=7.5, color=BLUE)
            lines = f"{count(parameters)} parameters" if parameters else "no parameters" if i else "input"
            write(ax, x, y - 0.77, lines, size=7.5, color=SLATE)
            if i:
                arrow(ax, (before + 0.04, y), (x - half - 0.04, y))
            before = x + half
        parts = (
            f"{n} {times(s)}{f', {count(k)} parameters' * bool(k)}{', new' * (n in changed)}" for n, s, k in stages
        )
        words.append(f"{network}: {'; '.join(parts)}")
    return describe(fig, title, *words)


def evaluation_flow() -> Figure:
    """Draw closed against open: the same predictions ranked without and with distractors.

    >>> len(evaluation_flow().axes)
    1
    """
    title = "Closed and open evaluation of the same predictions"
    fig, ax = sheet(title, 9.0, 3.9)
    kinds = (
        (2.9, "landmarks of the\nlabel set: M images", BLUE),
        (2.1, "distractors: images\nwithout a landmark", SLATE),
    )
    for y, text, colour in kinds:
        box(ax, 1.05, y, text, 1.75, 0.56, "white")
        ax.add_patch(Rectangle((0.17, y - 0.28), 0.06, 0.56, color=colour))
        arrow(ax, (1.93, y), (2.5, 2.5 + (y - 2.5) * 0.3))
    box(ax, 3.25, 2.5, "network:\na label and a score\nfor every image", 1.5, 0.85)
    write(ax, 0.15, 1.2, "squares: predictions, highest score first", size=8, color=SLATE, ha="left")
    for i, (text, colour) in enumerate((("right", BLUE), ("wrong", RED), ("a distractor", SLATE))):
        ax.add_patch(Rectangle((0.17, 0.85 - 0.27 * i), 0.17, 0.17, color=colour))
        write(ax, 0.45, 0.93 - 0.27 * i, text, size=8, ha="left")
    worlds = (("closed: known landmarks only", 2.9, "++-+"), ("open: every image", 1.3, "+o+-oo+"))
    words = []
    for name, y, ranked in worlds:
        arrow(ax, (4.0, 2.5 + (y - 2.5) * 0.2), (4.65, y))
        write(ax, 4.8, y + 0.42, name, size=9.5, ha="left", color=BLUE)
        terms: list[tuple[int, int]] = []
        for rank, mark in enumerate(ranked, start=1):
            x = 4.5 + 0.47 * rank
            ax.add_patch(Rectangle((x - 0.17, y - 0.17), 0.34, 0.34, color={"+": BLUE, "-": RED, "o": SLATE}[mark]))
            write(ax, x, y, str(rank), color="white")
            if mark == "+":
                terms.append((len(terms) + 1, rank))
        gap = sum(hits / rank for hits, rank in terms) / 4
        words.append(f"GAP = ({' + '.join(f'{a}/{b}' for a, b in terms)}) / 4 = {gap:.2f}")
        write(ax, 4.8, y - 0.42, words[-1], ha="left")
    moral = "M = 4 in both: a confident guess on a distractor\npushes right answers down and costs GAP"
    write(ax, 4.8, 0.4, moral, size=8, color=SLATE, ha="left")
    return describe(fig, title, *(f"{name}, {sum_}" for (name, *_), sum_ in zip(worlds, words, strict=True)))
