"""Save figures: one name pattern, small files, the same bytes from the same figure."""

from __future__ import annotations

import io
import re

import numpy as np
from IPython.display import Image
from matplotlib.figure import Figure
from PIL import Image as Picture

from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path, figures_root

LIMIT = 150 * 1024  # bytes
NAME = re.compile(r"\d\d(-[a-z0-9]+)+")
# (dots per inch, colours): lines stay sharp with few colours, so photographs lose colours before letters lose pixels
STEPS = ((120, 256), (110, 256), (100, 256), (100, 128), (90, 128), (90, 64), (80, 64), (72, 64), (72, 32), (60, 32))


def encode(figure: Figure, limit: int = LIMIT) -> bytes:
    """Encode a figure as the sharpest palette PNG of at most `limit` bytes, without time or software in it.

    Args:
        figure: any figure; it is left as it was.
        limit: largest size in bytes.

    Raises:
        InputError: even the coarsest version is too large.

    >>> encode(Figure(figsize=(1, 1)))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    size, rendered = 0, {}
    for dpi, colours in STEPS:
        if dpi not in rendered:
            raw = io.BytesIO()
            figure.savefig(raw, format="png", dpi=dpi, facecolor="white")
            picture = Picture.open(raw).convert("RGB")
            sample = picture.resize((picture.width // 3 + 1, picture.height // 3 + 1), Picture.Resampling.NEAREST)
            rendered = {dpi: (picture, sample)}
        out = io.BytesIO()
        picture, sample = rendered[dpi]
        palette = sample.quantize(colours, kmeans=1)  # refining the colours on all pixels takes seconds
        indexed = picture.quantize(palette=palette, dither=Picture.Dither.NONE)
        table = np.array(indexed.getpalette()).reshape(-1, 3)
        table[table.min(axis=1) >= 248] = 255  # the mapping is rough near white; paper stays white
        indexed.putpalette(table.ravel().tolist())
        indexed.save(out, "PNG", optimize=True)
        size = out.tell()
        if size <= limit:
            return out.getvalue()
    raise InputError(
        f"the figure needs {size:,} bytes at its coarsest, more than {limit:,}: draw fewer or smaller tiles"
    )


def save_figure(figure: Figure, name: str, alt: str | None = None) -> Image:
    """Write `figures_root()/name.png`, whole or not at all, and return it for a notebook to show.

    Args:
        figure: what a function of this wing returned.
        name: `NN-what-it-shows`: two digits (the notebook's number), then words of a-z and 0-9 joined by "-".
        alt: what a reader who cannot see it should know; the figure's title when left out.

    Returns:
        The written bytes as an `IPython.display.Image`: the last line of a cell shows it once.

    Raises:
        InputError: the name does not fit the pattern, or the figure cannot be made small enough.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"figure name {name!r}: use two digits and lower-case words, such as 01-class-sizes")
    data = encode(figure)
    with atomic_path(figures_root() / f"{name}.png") as path:
        path.write_bytes(data)
    return Image(data=data, format="png", alt=alt or figure.get_suptitle().replace(r"\$", "$") or name)
