"""The explorer, moved as a browser moves it: by the state of its widgets."""

import base64
import io
import sys

import pytest
from matplotlib.figure import Figure

from landmark.course.explorer import Explorer
from landmark.utils.errors import InputError

WIDGET = "application/vnd.jupyter.widget-view+json"


def drawn(width, side):
    figure = Figure(figsize=(1, 1))
    figure.add_axes((0, 0, 1, 1)).axvspan(0, width, color="red" if side == "left" else "blue")
    return figure


def png(width, side):
    out = io.BytesIO()
    drawn(width, side).savefig(out, format="png", dpi=100, metadata={"Software": None})
    return out.getvalue()


def explorer():
    return Explorer(drawn, {"width": [0.1, 0.5, 0.9], "side": ["left", "right"]}, start={"width": 0.5})


def test_moving_a_control_draws_with_all_values():
    """Fails when the picture stays, one control forgets the other, or a menu and a slider are mixed up."""
    one = explorer()
    slider, menu, picture = one.box.children
    assert (type(slider).__name__, type(menu).__name__) == ("SelectionSlider", "Dropdown")
    assert picture.value == png(0.5, "left")
    slider.value = 0.9
    menu.value = "right"
    assert picture.value == one.png == png(0.9, "right")


def test_a_page_without_kernel_shows_the_start():
    """Fails when a rendered page is left empty where the widget stands."""
    one = explorer()
    bundle = one._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == png(0.5, "left")
    assert bundle[WIDGET]["model_id"] == one.box.model_id


def test_nothing_is_captured():
    """Fails when an Output widget comes back: its messages to the kernel can make a headless runner wait for ever."""
    assert "Output" not in {type(child).__name__ for child in explorer().box.children}


def test_without_ipywidgets_one_line_and_the_picture(monkeypatch, capsys):
    """Fails when a notebook stops, or says nothing, because an optional package is missing."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bundle = explorer()._repr_mimebundle_()
    assert capsys.readouterr().out == "width and side cannot be moved without ipywidgets: pip install ipywidgets\n"
    assert WIDGET not in bundle and base64.b64decode(bundle["image/png"]) == png(0.5, "left")


@pytest.mark.parametrize(
    ("choices", "start", "line"),
    [
        ({"width": []}, {}, "'width' has no values"),
        ({"width": [1, 2]}, {"width": 3}, "cannot start at 3"),
        ({"width": [1, 2]}, {"widht": 1}, "'widht', which is no choice"),
    ],
)
def test_wrong_choices_in_one_line(choices, start, line):
    """Fails when a misspelt start is ignored, or an empty choice ends in an IndexError."""
    with pytest.raises(InputError, match=line):
        Explorer(drawn, choices, start)
