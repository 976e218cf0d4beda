"""Save figures: one name pattern, small files, the same bytes from the same figure."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from PIL import Image as Picture

from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path, figures_root

if TYPE_CHECKING:
    from IPython.display import Image

LIMITS = {"png": 150 * 1024, "jpeg": 300 * 1024}  # bytes
NAME = re.compile(r"\d\d(-[a-z0-9]+)+")
# Of line drawings (dots per inch, colours): they lose colours before letters lose pixels
PALETTES = ((120, 256), (110, 256), (100, 256), (100, 128), (90, 128), (90, 64), (80, 64), (72, 64), (72, 32), (60, 32))
# Of photographs and heat maps (dots per inch, quality), in all their colours
QUALITIES = ((120, 90), (110, 90), (110, 85), (100, 85), (90, 85), (90, 75), (80, 75), (72, 75), (72, 60), (60, 60))


def encode(figure: Figure, limit: int | None = None) -> tuple[bytes, str]:
    """Encode a figure as the sharpest picture of at most `limit` bytes, without time or software in it.

    One that shows photographs or heat maps becomes a JPEG in full colour, any other a PNG with a palette.

    Args:
        figure: any figure; it is left as it was.
        limit: largest size in bytes; that of `LIMITS` when left out.

    Returns:
        The bytes, and "png" or "jpeg".

    Raises:
        InputError: even the coarsest version is too large.

    >>> encode(Figure(figsize=(1, 1)))[1]
    'png'
    """
    shown = [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]
    kind = "jpeg" if any(pixels.ndim == 3 for pixels in shown) else "png"  # of a drawing's matrices colours are few
    limit = LIMITS[kind] if limit is None else limit
    size, rendered = 0, {}
    for dpi, fineness in QUALITIES if kind == "jpeg" else PALETTES:
        if dpi not in rendered:
            raw = io.BytesIO()
            figure.savefig(raw, format="png", dpi=dpi, facecolor="white")
            rendered = {dpi: Picture.open(raw).convert("RGB")}
        data = (_in_full if kind == "jpeg" else _by_palette)(rendered[dpi], fineness)
        size = len(data)
        if size <= limit:
            return data, kind
    raise InputError(
        f"the figure needs {size:,} bytes at its coarsest, more than {limit:,}: draw fewer or smaller tiles"
    )


def _in_full(picture: Picture.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, subsampling=0)  # letters keep their colours' edges
    return out.getvalue()


def _by_palette(picture: Picture.Image, colours: int) -> bytes:
    out = io.BytesIO()
    sample = picture.resize((picture.width // 3 + 1, picture.height // 3 + 1), Picture.Resampling.NEAREST)
    palette = sample.quantize(colours, kmeans=1)  # refining the colours on all pixels takes seconds
    indexed = picture.quantize(palette=palette, dither=Picture.Dither.NONE)
    table = np.array(indexed.getpalette()).reshape(-1, 3)
    table[table.min(axis=1) >= 248] = 255  # the mapping is rough near white; paper stays white
    indexed.putpalette(table.ravel().tolist())
    indexed.save(out, "PNG", optimize=True)
    return out.getvalue()


def save_figure(figure: Figure, name: str, alt: str | None = None) -> Image:
    """Write `figures_root()/name`.png or .jpg, whole or not at all, and return it for a notebook to show.

    Args:
        figure: what a function of this wing returned.
        name: `NN-what-it-shows`: two digits (the notebook's number), then words of a-z and 0-9 joined by "-".
        alt: what a reader who cannot see it should know; what the function says itself when left out.

    Returns:
        The written bytes as an `IPython.display.Image`: the last line of a cell shows it once.

    Raises:
        InputError: the name does not fit the pattern, or the figure cannot be made small enough.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"figure name {name!r}: use two digits and lower-case words, such as 01-class-sizes")
    from IPython.display import Image  # notebooks have it; the command draws without

    data, kind = encode(figure)
    with atomic_path(figures_root() / f"{name}.{'jpg' if kind == 'jpeg' else kind}") as path:
        path.write_bytes(data)
    return Image(data=data, format=kind, alt=alt or figure.get_label() or name)
