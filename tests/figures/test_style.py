"""Every figure: text that can be drawn, facts that are right, bad input refused, nothing left open."""

import io
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from landmark.figures import dataset, evaluation, pictures, scores, style, training

RNG = np.random.default_rng(0)
PICTURES = list(RNG.integers(0, 256, (4, 12, 16, 3), dtype=np.uint8))
NAMES = ["cost $5", "$x^{", "故宫 (北京)", "วัดพระแก้ว", "मंदिर", "경복궁", "Ναός", "🗼 \U0010ffff\ud800"]


def run_table():
    frame = {"step": [0, 5, 10], "train_loss": [3, 2, 1.0], "dev_loss": [np.nan, 2, 1.5], "dev_gap": [np.nan, 0.2, 0.4]}
    return pd.DataFrame(frame)


def gap_frame(names, **more):
    row = {"closed": 0.7, "closed_low": 0.6, "closed_high": 0.8, "open": 0.3, "open_low": 0.2, "open_high": 0.4} | more
    return pd.DataFrame([row] * len(names), index=pd.Index(names, dtype=object))  # Arrow holds no lone surrogates


class Credited(list):
    """Pictures with a line for each of those who took them, as `course.pictures` gives them."""

    credits = tuple(f"{k}. {name}: Ada of {name}, CC BY 4.0" for k, name in enumerate(NAMES * 5, 1))


MAPS = RNG.random((4, 6, 8))
SAMPLES = {
    "learning_curves": lambda: training.learning_curves({n: run_table() for n in NAMES}, chance=3.0),
    "interval_bars": lambda: evaluation.interval_bars(
        NAMES, [0.5] * 8, [0.4] * 8, [0.6] * 8, xlabel="GAP", title="$ 北京", lines={"chance": 0.1, "perfect": 1}
    ),
    "gap_table": lambda: evaluation.gap_table(gap_frame(NAMES, paper=0.6, loss=1.2, paper_loss=1.3)),
    "gap_walk": lambda: scores.gap_walk([1, 0, 1, 1, 0, 1, 0, 0], 5, names=NAMES),
    "gap_walk, long": lambda: scores.gap_walk(RNG.random(300) < 0.5, 400),
    "open_world": lambda: scores.open_world({"right": [0.9, 0.8], "$": [0.1]}, [0, 0.5], [0.8, 0.5], here=0.4),
    "batch_gap_noise": lambda: scores.batch_gap_noise({16: RNG.random(20), 64: RNG.random(20)}, 0.5),
    "deletion_curves": lambda: scores.deletion_curves({n: RNG.random((3, 5)) for n in ["random", *NAMES[:3]]}),
    "sketch_error": lambda: scores.sketch_error([64, 256, 1024], RNG.random((3, 9)) + 0.01),
    "window_mixing": lambda: dataset.window_mixing([1, 2, 4], [0.1, 0.5, 1.0], chosen=2),
    "class_sizes": lambda: dataset.class_sizes([100, 30, 10, 3, 1], 10),
    "filter_curve": lambda: dataset.filter_curve([100, 30, 10, 3, 1], 10),
    "parameter_bars": lambda: training.parameter_bars(
        [(n, i) for i, n in enumerate(NAMES)], {NAMES[0]: 1.0, NAMES[1]: 0.5}
    ),
    "gradient_flow": lambda: training.gradient_flow([("a", 0.0), ("b", 0.2), ("c", 1e-4)]),
    "throughput_bars": lambda: training.throughput_bars({n: 10.0 for n in NAMES}, device="a $ GPU"),
    "image_grid": lambda: pictures.image_grid(
        PICTURES, NAMES[:4], columns=2, frames=[None, style.RED] * 2, row_labels=NAMES[4:6], title="$"
    ),
    "image_grid, credited": lambda: pictures.image_grid(Credited(PICTURES), columns=2, title="$"),
    "saliency_panels": lambda: pictures.saliency_panels(PICTURES, {"grad_cam": MAPS, "$": MAPS}, NAMES[:4]),
    "attention_maps": lambda: pictures.attention_maps(PICTURES, MAPS, [(0, 0)] * 4, NAMES[:4]),
    "nearest_neighbours": lambda: pictures.nearest_neighbours(
        PICTURES[:2], [PICTURES[1:], PICTURES[:3]], [[True, False, True]] * 2, NAMES[:2], [NAMES[:3]] * 2
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_figure_draws_untrusted_text_without_boxes_and_without_pyplot(name):
    """Fails when mathtext chokes on a place name, a glyph is missing, pyplot keeps a figure or an axis is unnamed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph missing from font", and layouts that collapse
        fig = SAMPLES[name]()
        fig.savefig(io.BytesIO(), dpi=50)
    assert isinstance(fig, Figure) and not plt.get_fignums()
    assert fig.get_suptitle() and ": " in fig.get_label(), "its alt text says what is seen, not only what it is about"
    for ax in fig.axes:
        if ax.axison and ax.get_label() != "<colorbar>":
            assert ax.get_xlabel() or ax.get_ylabel() or fig.get_supylabel()


def test_credits_stand_below_the_pictures_and_inside_the_figure():
    """Fails when credits run out of the figure, lie on pictures or make these smaller, or one is left out."""
    figure, bare = (pictures.image_grid(some, columns=2, title="t") for some in (Credited(PICTURES), PICTURES))
    for one in (figure, bare):
        one.savefig(io.BytesIO())
    (text,) = (text for text in figure.texts if text.get_text() == figure.get_supxlabel())
    around, (axes,) = text.get_window_extent(), figure.axes
    assert around.x0 >= 0 and around.x1 <= figure.bbox.x1 and around.y0 >= 0
    assert around.y1 <= axes.get_window_extent().y0
    assert axes.get_window_extent().width >= 0.95 * bare.axes[0].get_window_extent().width
    assert text.get_text().split() == " · ".join(map(style.label, Credited.credits)).split()
    assert bare.get_supxlabel() == ""


@pytest.mark.parametrize(
    "draw",
    [
        lambda some: pictures.saliency_panels(some, {"Grad-CAM": MAPS}, title="t"),
        lambda some: pictures.attention_maps(some, MAPS, title="t"),
    ],
)
def test_maps_over_photographs_credit_them(draw):
    """Fails when a photograph under a saliency or attention map is shown without its author, or the credit lies on it."""
    figure, bare = draw(Credited(PICTURES[:4])), draw(PICTURES[:4])
    figure.savefig(io.BytesIO())
    assert figure.get_supxlabel().split() == " · ".join(map(style.label, Credited.credits)).split()
    (text,) = (text for text in figure.texts if text.get_text() == figure.get_supxlabel())
    assert text.get_window_extent().y1 <= min(axes.get_window_extent().y0 for axes in figure.axes)
    assert bare.get_supxlabel() == ""


def test_label_spells_what_no_font_holds(monkeypatch):
    """Fails when a character that the fonts lack reaches matplotlib, or the spelling says "?"."""
    latin = frozenset(range(0x20, 0x7F)) | {ord("…")}
    monkeypatch.setattr(style, "_drawable", lambda: latin)
    spelled = {
        "Église": "Eglise",
        "경복": "gyeongbog",
        "कि": "kai",
        "北京": "[U+5317 4EAC]",
        "a\u200d\n b": "a b",
        "ﬁ": "fi",
    }
    assert {text: style.label(text) for text in spelled} == spelled
    assert all(set(map(ord, style.label(name))) <= latin for name in NAMES)


def test_label_cuts_by_width_and_escapes_after_cutting():
    """Fails when wide characters count as one column, or a cut leaves half an escape behind."""
    assert style.label("abcdef", width=6) == "abcdef"
    assert style.label("abcdefg", width=6) == "abcde…"
    assert style.label("$$$$$$", width=3) == r"\$\$…"
    assert style.label("") == ""


def test_the_readers_style_survives():
    """Fails when building a figure changes matplotlib's settings for the reader's own figures."""
    before = dict(plt.rcParams)
    evaluation.interval_bars(["a"], [1], [0], [2], xlabel="x", title="t")
    with pytest.raises(ValueError):
        evaluation.interval_bars([], [], [], [], xlabel="x", title="t")
    assert dict(plt.rcParams) == before


REFUSED = {
    "no runs": lambda: training.learning_curves({}),
    "a run without dev loss": lambda: training.learning_curves({"a": run_table().drop(columns="dev_loss")}),
    "a run of one row": lambda: training.learning_curves({"a": run_table()[:1]}),
    "unequal lists": lambda: evaluation.interval_bars(["a", "b"], [1], [0], [2], xlabel="x", title="t"),
    "an empty table": lambda: evaluation.gap_table(gap_frame([])),
    "a table without open": lambda: evaluation.gap_table(gap_frame(["a"]).drop(columns="open")),
    "no predictions": lambda: scores.gap_walk([], 3),
    "more hits than landmarks": lambda: scores.gap_walk([True, True], 1),
    "no scores": lambda: scores.open_world({}, [0, 1], [1, 0]),
    "one share": lambda: scores.open_world({"right": [1.0]}, [0], [1]),
    "one batch": lambda: scores.batch_gap_noise({16: [0.5]}, 0.5),
    "a curve of one step": lambda: scores.deletion_curves({"a": [[0.5]]}),
    "one dimension": lambda: scores.sketch_error([64], [[0.1]]),
    "NaN errors": lambda: scores.sketch_error([64, 128], [[0.1], [np.nan]]),
    "windows without shares": lambda: dataset.window_mixing([1, 2], [0.1]),
    "no classes": lambda: dataset.class_sizes([], 3),
    "an empty class": lambda: dataset.class_sizes([3, 0], 3),
    "one class to filter": lambda: dataset.filter_curve([3]),
    "no stages": lambda: training.parameter_bars([]),
    "no gradients": lambda: training.gradient_flow([]),
    "no rates": lambda: training.throughput_bars({}),
    "no pictures": lambda: pictures.image_grid([]),
    "channels first": lambda: pictures.image_grid([np.zeros((3, 9, 9))]),
    "a picture in 0..255 floats": lambda: pictures.image_grid([np.full((3, 3, 3), 200.0)]),
    "one title for two pictures": lambda: pictures.image_grid(PICTURES[:2], ["a"]),
    "no methods": lambda: pictures.saliency_panels(PICTURES, {}),
    "maps of other pictures": lambda: pictures.saliency_panels(PICTURES, {"a": MAPS[:1]}),
    "negative attention": lambda: pictures.attention_maps(PICTURES, -MAPS),
    "too few matches": lambda: pictures.nearest_neighbours(PICTURES[:1], [PICTURES[:1]], [[None]], matches=[]),
    "no neighbours": lambda: pictures.nearest_neighbours(PICTURES[:1], [[]], [[]]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_in_one_line_that_names_the_argument(name):
    """Fails when empty or mismatched input draws nonsense or dies inside matplotlib."""
    with pytest.raises(ValueError, match=r"^[^\n]{3,120}: [^\n]+$"):
        REFUSED[name]()
