"""A picture that a reader redraws with sliders and menus, and that stays a picture where there is no kernel."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from landmark.utils.errors import InputError


def _png(figure: Figure) -> bytes:
    """Encode a figure in full colour, fast: it is seen while a slider moves, and written nowhere."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None})
    return out.getvalue()


def still_and_live(kind: str, picture: bytes, text: str, box: Any) -> dict[str, Any]:
    """Bundle a widget with the picture that stands in its place on a page without a kernel.

    Args:
        kind: of the picture, such as "image/png".
        picture: its bytes; none where there is nothing to show.
        text: for where there are no pictures.
        box: the widget; None without ipywidgets.
    """
    bundle: dict[str, Any] = {"text/plain": text}
    if picture:
        bundle[kind] = base64.b64encode(picture).decode()
    if box is not None:  # written out, because ipywidgets 7, which Colab ships, has no bundle of its own
        widget = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
        bundle["application/vnd.jupyter.widget-view+json"] = widget
    return bundle


class Explorer:
    """Show a figure with a slider or a menu for each of its choices; moving one draws it anew.

    In a notebook that runs it is a widget. On a rendered page, and where ipywidgets is not installed, the figure of
    the start stands in its place. The figure travels as the bytes of an image and not as captured output: nothing has
    to be sent back to the kernel, so a runner without a browser never waits for it.

    Args:
        draw: from one value for each choice, by name, to a figure.
        choices: name → its possible values; numbers make a slider, text makes a menu.
        start: name → the value to begin with; the first one when left out.

    Raises:
        InputError: a choice without values, or a start that is none of them.

    >>> explorer = Explorer(lambda size: Figure(figsize=(size, 1)), {"size": [1, 2]}, start={"size": 2})
    >>> explorer.values, explorer.png[:4]
    ({'size': 2}, b'\\x89PNG')
    """

    def __init__(
        self,
        draw: Callable[..., Figure],
        choices: Mapping[str, Sequence],
        start: Mapping[str, object] | None = None,
    ) -> None:
        self.draw, self.values = draw, {}
        for name, values in choices.items():
            if not len(values):
                raise InputError(f"choice {name!r} has no values: give one or more")
            self.values[name] = (start or {}).get(name, values[0])
            if self.values[name] not in values:
                raise InputError(f"choice {name!r} cannot start at {self.values[name]!r}: it is none of its values")
        if unknown := set(start or {}) - set(choices):
            raise InputError(f"a start for {', '.join(map(repr, sorted(unknown)))}, which is no choice")
        self.png = _png(draw(**self.values))
        self.box = self._box(choices)

    def _box(self, choices: Mapping[str, Sequence]) -> Any:
        """Make the controls above the picture; None, and a line that says so, without ipywidgets."""
        try:
            import ipywidgets
        except ImportError:
            print(f"{' and '.join(choices)} cannot be moved without ipywidgets: pip install ipywidgets")
            return None
        picture = ipywidgets.Image(value=self.png, format="png", layout={"max_width": "100%", "object_fit": "contain"})

        def redraw(change: Mapping) -> None:
            self.values[change["owner"].description] = change["new"]
            self.png = picture.value = _png(self.draw(**self.values))

        controls = []
        for name, values in choices.items():
            menu = any(isinstance(value, str) for value in values)
            options = [(value if menu else f"{value:g}", value) for value in values]
            look = {"options": options, "value": self.values[name], "description": name}
            kind, late = (
                (ipywidgets.Dropdown, {}) if menu else (ipywidgets.SelectionSlider, {"continuous_update": False})
            )
            controls.append(kind(**look, **late))
            controls[-1].observe(redraw, names="value")
        return ipywidgets.VBox([*controls, picture])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Offer the widget and, for a page without a kernel, the picture."""
        return still_and_live("image/png", self.png, f"{self.values}", self.box)
