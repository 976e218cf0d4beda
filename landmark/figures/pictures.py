"""Draw pictures: contact sheets, saliency and attention laid over them, nearest neighbours."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from landmark.figures.style import BLUE, GREY, INK, RED, SKY, credit, describe, label, styled

SPACE, HEAT = 0.06, "inferno"  # between tiles, in tiles; a perceptually even colour map for what lies over a picture


def _pixels(image: object, what: str) -> np.ndarray:
    """Read a picture as (H, W, 3) floats in [0, 1]."""
    array = np.asarray(image)
    if array.ndim == 2:
        array = np.stack([array] * 3, axis=-1)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        raise ValueError(f"{what}: a picture has shape (H, W), (H, W, 3) or (H, W, 4), this has {array.shape}")
    array = array[..., :3] / 255 if array.dtype == np.uint8 else array[..., :3].astype(float)
    if not (array.min() > -0.01 and array.max() < 1.01):  # a little over: resampling overshoots
        raise ValueError(f"{what}: a picture is uint8 or floats in [0, 1], this spans {array.min()} to {array.max()}")
    return np.clip(array, 0, 1)


class _Sheet:
    """Tiles one unit wide on one pair of axes: exact positions, and fast where a hundred axes would be slow."""

    head: float

    def __init__(
        self, title: str, rows: int, columns: int, tile: float, captions: bool = True, stub: float = 0.0,
        scale: str = "",
    ):  # fmt: skip
        line = 0.17 / tile  # a line of caption, in tiles
        self.tile, self.stub = tile, stub
        self.head = 0.0 if captions else line  # else over the first row only
        self.high = 1 + SPACE + (line if captions else 0.0)
        wide = columns * (1 + SPACE) - SPACE + stub
        size = (max(tile * wide + (0.8 if scale else 0.1), 3.4), tile * (rows * self.high + self.head) + 0.36)
        self.figure = Figure(figsize=size, layout="constrained")
        self.figure.suptitle(label(title), x=0.012, ha="left")
        self.axes = self.figure.add_subplot()
        self.axes.set(
            xlim=(-stub - 0.01, wide - stub + 0.01), ylim=(rows * self.high + self.head, -0.01), aspect="equal"
        )
        self.axes.set_axis_off()
        if scale:
            self._scale(scale)

    def _place(self, row: int, column: int, pixels: np.ndarray) -> tuple[float, float, float, float]:
        """Left, top, width and height of a picture that is whole and centred in its tile."""
        left, top = column * (1 + SPACE), self.head + (row + 1) * self.high - 1 - SPACE / 2
        wide, high = np.array(pixels.shape[1::-1]) / max(pixels.shape[:2])
        return left + (1 - wide) / 2, top + (1 - high) / 2, wide, high

    def draw(
        self, row: int, column: int, pixels: np.ndarray, caption: str = "", frame: str | None = None,
        heat: np.ndarray | None = None, mark: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        """Draw one picture, with what lies over it and around it."""
        x, y, wide, high = self._place(row, column, pixels)
        place: dict[str, Any] = {"extent": (x, x + wide, y + high, y), "aspect": "equal"}
        if heat is not None:  # the picture goes grey, so that all colour is the map's
            pixels = 0.25 + 0.75 * pixels.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
        limits = self.axes.axis()
        self.axes.imshow(pixels, interpolation="antialiased", **place)
        if heat is not None:
            look: dict[str, Any] = {"cmap": HEAT, "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
            self.axes.imshow(heat, alpha=0.15 + 0.7 * heat, **look, **place)
        self.axes.axis(limits)  # imshow moves them
        if mark is not None:
            down, along = mark
            self.axes.plot(x + along * wide, y + down * high, "P", color="white", markeredgecolor=INK, markersize=10)
        if frame is not None:
            self.axes.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor=frame, linewidth=2.4))
        text = label(caption, max(int(16 * self.tile), 4))
        middle, top = column * (1 + SPACE) + 0.5, self.head + (row + 1) * self.high - 1 - SPACE / 2
        self.axes.text(middle, top - 0.03, text, ha="center", va="bottom", fontsize=7.5)

    def join(self, row: int, first: np.ndarray, second: np.ndarray, matches: np.ndarray) -> None:
        """Draw lines from points of a row's first picture to points of its second."""
        ends = []
        for column, pixels in enumerate((first, second)):
            x, y, wide, high = self._place(row, column, pixels)
            ends.append(matches[:, 2 * column : 2 * column + 2] * (wide, high) + (x, y))
        lines = np.stack(ends, axis=1)  # (M, 2, 2)
        self.axes.add_collection(LineCollection(list(lines), colors=SKY, linewidths=0.5, alpha=0.7), autolim=False)

    def name_row(self, row: int, text: str) -> None:
        """Write a name in the stub column, level with its row."""
        lines = textwrap.wrap(label(text, 60), max(int(13 * self.tile * self.stub), 4))[:4]
        middle = self.head + (row + 1) * self.high - 0.5 - SPACE / 2
        self.axes.text(-0.06, middle, "\n".join(lines), ha="right", va="center", fontsize=8, linespacing=1.25)

    def _scale(self, text: str) -> None:
        """Draw the bar that says what the colours of the overlays mean."""
        colours = ScalarMappable(Normalize(0, 1), HEAT)
        bar = self.figure.colorbar(colours, ax=self.axes, shrink=0.8, aspect=22, pad=0.01, ticks=[0, 0.5, 1])
        bar.outline.set_visible(False)
        bar.set_label(text, fontsize=8)
        bar.ax.tick_params(labelsize=8, color=GREY)


def _same(count: int, **lists: Sequence | None) -> None:
    """Refuse lists that are given and have not `count` entries."""
    for name, values in lists.items():
        if values is not None and len(values) != count:
            raise ValueError(f"{name}: {len(values)} entries for {count} pictures")


@styled
def image_grid(
    images: Sequence,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 8,
    frames: Sequence[str | None] | None = None,
    row_labels: Sequence[str] | None = None,
    title: str = "",
    tile: float = 1.0,
) -> Figure:
    """Draw a contact sheet in reading order.

    Args:
        images: N pictures (H, W, 3), (H, W, 4) or (H, W): uint8, or floats in [0, 1]. They may differ in size.
            The lines of an attribute `credits`, as those of `course.pictures` have one, are written below.
        titles: N captions above the tiles.
        columns: tiles in a row.
        frames: N colours or None, to mark tiles (`style.RED` for a fault).
        row_labels: one name per row, at its left.
        title: over the sheet.
        tile: side of a tile in inches.

    >>> sheet = image_grid([np.zeros((4, 6, 3)), np.ones((5, 5))], ["a", "b"], columns=2, title="Two pictures")
    >>> len(sheet.axes[0].images)
    2
    """
    if not len(images) or columns < 1:
        raise ValueError("images: nothing to draw, needs one picture and one column or more")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    _same(len(images), titles=titles, frames=frames)
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"row_labels: {len(row_labels)} names for {rows} rows")
    sheet = _Sheet(title, rows, columns, tile, titles is not None, 1.0 / tile if row_labels else 0.0)
    for i, image in enumerate(images):
        caption, frame = titles[i] if titles is not None else "", frames[i] if frames is not None else None
        sheet.draw(*divmod(i, columns), _pixels(image, f"image {i}"), caption, frame)
    for row, name in enumerate(row_labels or ()):
        sheet.name_row(row, name)
    credit(sheet.figure, getattr(images, "credits", ()))
    return describe(sheet.figure, title, f"{len(images)} pictures in rows of {columns}", *(row_labels or titles or ()))


def _heat(values: object, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Read maps (B, H, W) as floats that are finite and not negative."""
    array = np.asarray(values, float)
    if array.ndim != 3 or array.shape[0] != shape[0] or not array.size:
        raise ValueError(f"{what}: maps have shape (B, H, W) with B = {shape[0]}, these have {array.shape}")
    if not np.isfinite(array).all() or array.min() < 0:
        raise ValueError(f"{what}: maps must be finite and not negative")
    return array


@styled
def saliency_panels(
    images: Sequence, maps: Mapping[str, Sequence], titles: Sequence[str] | None = None, *,
    title: str = "What the network looks at", tile: float = 1.5,
) -> Figure:  # fmt: skip
    """Draw a row per picture: the picture, then the saliency map of each method over it (the paper's Figure 6).

    Args:
        images: B pictures, as in `image_grid`.
        maps: method → saliency (B, H, W) in [0, 1], of any resolution.
        titles: B names, at the left of the rows.
        title: over the figure.
        tile: side of a tile in inches.

    >>> fig = saliency_panels([np.ones((8, 8, 3))], {"grad_cam": np.ones((1, 2, 2))})
    >>> len(fig.axes[0].images)
    3

    Source: Figure 6 of the paper.
    """
    if not len(images) or not maps:
        raise ValueError("images, maps: nothing to draw, needs one picture and one method or more")
    _same(len(images), titles=titles)
    heats = {name: np.clip(_heat(values, (len(images),), f"maps[{name!r}]"), 0, 1) for name, values in maps.items()}
    stub = 0 if titles is None else 1 / tile
    sheet = _Sheet(title, len(images), 1 + len(maps), tile, captions=False, stub=stub, scale="saliency")
    for row, image in enumerate(images):
        pixels = _pixels(image, f"image {row}")
        sheet.draw(row, 0, pixels, "" if row else "picture")
        for column, (name, values) in enumerate(heats.items(), start=1):
            sheet.draw(row, column, pixels, "" if row else name, heat=values[row])
        if titles is not None:
            sheet.name_row(row, titles[row])
    credit(sheet.figure, getattr(images, "credits", ()))
    return describe(sheet.figure, title, *(titles or ()), f"each beside its map by {', '.join(maps)}")


@styled
def attention_maps(
    images: Sequence,
    maps: Sequence,
    positions: Sequence[tuple[int, int]] | None = None,
    titles: Sequence[str] | None = None,
    *,
    title: str = "Where attention goes",
    tile: float = 1.5,
    columns: int = 4,
) -> Figure:
    """Draw attention over pictures, each map scaled to its own largest weight; a cross marks the position that asks.

    Args:
        images: B pictures, as in `image_grid`; give one again for each position of it that asks.
        maps: attention weights (B, H, W), not negative.
        positions: B (row, column) of the map that ask; None for attention without queries.
        titles: B captions.
        title: over the figure.
        tile: side of a tile in inches.
        columns: tiles in a row.

    >>> fig = attention_maps([np.ones((8, 8, 3))], np.ones((1, 4, 4)) / 16, [(0, 3)])
    >>> len(fig.axes[0].lines)
    1
    """
    if not len(images) or columns < 1:
        raise ValueError("images: nothing to draw, needs one picture and one column or more")
    _same(len(images), positions=positions, titles=titles)
    weights = _heat(maps, (len(images),), "maps")
    columns = min(columns, len(images))
    sheet = _Sheet(title, -(-len(images) // columns), columns, tile, titles is not None, scale="attention / largest")
    words = []
    for i, image in enumerate(images):
        mark = None if positions is None else (np.array(positions[i]) + 0.5) / weights[i].shape
        largest = max(weights[i].max(), 1e-12)
        caption = titles[i] if titles is not None else ""
        sheet.draw(*divmod(i, columns), _pixels(image, f"image {i}"), caption, heat=weights[i] / largest, mark=mark)
        row, column = np.unravel_index(weights[i].argmax(), weights[i].shape)
        words.append(f"picture {i + 1}, largest weight {largest:.2f} in row {row + 1}, column {column + 1}")
    credit(sheet.figure, getattr(images, "credits", ()))
    return describe(sheet.figure, title, f"maps of {' × '.join(map(str, weights.shape[1:]))} positions", *words)


@styled
def nearest_neighbours(
    queries: Sequence,
    neighbours: Sequence[Sequence],
    right: Sequence[Sequence[bool | None]],
    query_titles: Sequence[str] | None = None,
    neighbour_titles: Sequence[Sequence[str]] | None = None,
    matches: Sequence[np.ndarray] | None = None,
    *,
    title: str = "Nearest neighbours (blue frame: same landmark, red: another)",
    tile: float = 1.2,
) -> Figure:
    """Draw a row per query: the query, then its nearest neighbours, framed blue when right and red when wrong.

    Args:
        queries: Q pictures, as in `image_grid`.
        neighbours: Q lists of pictures, nearest first.
        right: Q lists of booleans, one per neighbour, None where it is not known.
        query_titles: Q captions; neighbour_titles: Q lists of captions.
        matches: Q arrays (M, 4) of what is joined to the nearest one: x and y in either, as shares of its sides.
        title: over the figure.
        tile: side of a tile in inches.

    >>> picture = np.ones((4, 4, 3))
    >>> len(nearest_neighbours([picture], [[picture, picture]], [[True, False]]).axes[0].images)
    3
    """
    if not len(queries) or not all(map(len, neighbours)):
        raise ValueError("queries, neighbours: nothing to draw, needs one query and one neighbour each or more")
    _same(len(queries), neighbours=neighbours, right=right, query_titles=query_titles,
          neighbour_titles=neighbour_titles, matches=matches)  # fmt: skip
    sheet = _Sheet(title, len(queries), 1 + max(map(len, neighbours)), tile, bool(query_titles or neighbour_titles))
    for row, query in enumerate(queries):
        caption = query_titles[row] if query_titles is not None else "" if row else "query"
        sheet.draw(row, 0, _pixels(query, f"query {row}"), caption, INK)
        _same(len(neighbours[row]), right=right[row])
        for i, (image, good) in enumerate(zip(neighbours[row], right[row], strict=True)):
            caption = neighbour_titles[row][i] if neighbour_titles is not None else ""
            sheet.draw(row, i + 1, _pixels(image, f"neighbour {i}"), caption, {None: GREY, True: BLUE}.get(good, RED))
        if matches is not None and len(matches[row]):
            sheet.join(row, np.asarray(query), np.asarray(neighbours[row][0]), np.asarray(matches[row]))
    counts = (f"row {row + 1}, {sum(map(bool, rights))} of {len(rights)} right" for row, rights in enumerate(right))
    return describe(sheet.figure, title, *counts)
