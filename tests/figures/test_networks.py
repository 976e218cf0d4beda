"""Drawings of networks: everything inside the canvas, no text over another, the numbers right."""

import io
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from landmark.figures import mechanisms, networks
from tests.helpers import texts

LONG = [
    ("image", (3, 299, 299), 0), ("xception", (2048, 10, 10), 20806952), ("AveragePool", (2048,), 0),
    ("CompactBilinearPooling", (8192,), 0), ("Reshape", (8, 32, 32), 0), ("SelfAttention2d", (8, 32, 32), 81),
    ("Flatten", (8192,), 0), ("fully connected: 512, 6512", (6512,), 53354816),
]  # fmt: skip


def softmax(x):
    powers = np.exp(np.outer(x, x))
    return powers / powers.sum(1, keepdims=True)


WEIGHTS = np.full((4, 4), 1 / 16)
DRAWINGS = {
    "architecture": lambda: networks.architecture({"plain": LONG[:4]}, "Xception"),
    "architecture, two": lambda: networks.architecture(
        {"plain": LONG[:4], "long": LONG}, "Two", {"Reshape", "Flatten"}
    ),
    "architecture, least": lambda: networks.architecture({"no more than an input and a stage": LONG[:2]}, "The least"),
    "evaluation_flow": networks.evaluation_flow,
    "depthwise_separable": mechanisms.depthwise_separable,
    "depthwise_separable, small": lambda: mechanisms.depthwise_separable(3, 32, 149, 5),
    "count_sketch_steps": lambda: mechanisms.count_sketch_steps([3, -1, 2], [2, 0, 2], [1, -1, -1], [1, 0, 1, 0]),
    "count_sketch_steps, one": lambda: mechanisms.count_sketch_steps([3], [0], [-1], [-3]),
    "residual_block": lambda: mechanisms.residual_block(
        [("1×1 conv.\nnorm", "64 × 8 × 8")] * 3, "x, unchanged", "ReLU", "One"
    ),
    "residual_block, least": lambda: mechanisms.residual_block([("conv.", "8 × 8")], "x", "", "The least"),
    "self_attention_flow": lambda: mechanisms.self_attention_flow([0.0, 1.0, 2.0], softmax([0.0, 1.0, 2.0]), 0.1),
    "self_attention_flow, one": lambda: mechanisms.self_attention_flow([-1.5], [[1.0]], -1.0),
    "spatial_attention_flow": lambda: mechanisms.spatial_attention_flow(np.zeros((4, 4)), WEIGHTS),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_stays_on_the_canvas_and_apart(name):
    """Fails when a label is cut off at the edge or two labels overlap, which no one sees before the notebook runs."""
    fig = DRAWINGS[name]()
    assert isinstance(fig, Figure) and not plt.get_fignums()
    assert ": " in fig.get_label(), "its alt text says what is seen, not only what it is about"
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    boxes = {text.get_text(): text.get_window_extent(canvas.get_renderer()) for text in texts(fig)}
    for words, box in boxes.items():
        assert fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1, f"{words!r} leaves the canvas sideways"
        assert fig.bbox.y0 <= box.y0 and box.y1 <= fig.bbox.y1, f"{words!r} leaves the canvas"
    for (one, a), (two, b) in combinations([(t.get_text(), t.get_window_extent()) for t in texts(fig)], 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 + 2 or b.y1 <= a.y0 + 2  # line boxes hold some air
        assert apart, f"{one!r} overlaps {two!r}"


def test_architecture_writes_every_shape_and_marks_what_is_new():
    """Fails when a stage's shape or parameters are dropped, or another stage than that which changed is highlighted."""
    fig = DRAWINGS["architecture, two"]()
    words = [text.get_text() for text in texts(fig)]
    shapes = [w for w in words if w.replace(" × ", "").isdigit()]
    assert sorted(shapes) == sorted(networks.times(shape) for _, shape, _ in LONG[:4] + LONG)
    assert words.count("20.8 M parameters") == 2 and words.count("input") == 2
    assert [t.get_text() for t in texts(fig) if t.get_weight() == "bold"] == ["Reshape", "Flatten"]
    assert "long: image 3 × 299 × 299; xception 2048 × 10 × 10, 20.8 M parameters; AveragePool 2048;" in fig.get_label()
    assert "Reshape 8 × 32 × 32, new; SelfAttention2d 8 × 32 × 32, 81 parameters; Flatten 8192, new" in fig.get_label()


def test_evaluation_flow_numbers_follow_from_its_squares():
    """Fails when the drawn ranking and the GAP written below it disagree: (1 + 2/3 + 3/7) / 4."""
    words = " ".join(text.get_text() for text in texts(networks.evaluation_flow()))
    assert f"(1/1 + 2/3 + 3/7) / 4 = {(1 + 2 / 3 + 3 / 7) / 4:.2f}" in words
    assert f"(1/1 + 2/2 + 3/4) / 4 = {(1 + 1 + 3 / 4) / 4:.2f}" in words
    assert "other landmarks" not in words, "these count in M, so that M could not be the same in both"


def test_dollar_signs_are_drawn_as_they_are():
    """Fails when a name with "$" goes through mathtext."""
    fig = networks.architecture({"$\\frac{": [("a$x^{", (3, 4, 4), 0), ("$b$", (2,), 5)]}, "$ title $")
    fig.savefig(io.BytesIO(), dpi=40)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: networks.architecture({}, "nothing"),
        lambda: networks.architecture({"x": LONG[:1]}, "an input alone"),
        lambda: networks.architecture({"x": [("a", (3,), 0), ("b", (), 0)]}, "a stage without shape"),
        lambda: mechanisms.residual_block([], "x", "", "nothing is added"),
        lambda: mechanisms.self_attention_flow([], [], 0.1),
        lambda: mechanisms.self_attention_flow([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]], 0.1),
        lambda: mechanisms.count_sketch_steps([], [], [], [0]),
        lambda: mechanisms.count_sketch_steps([1], [2], [1], [0, 1]),
        lambda: mechanisms.count_sketch_steps([1, 2], [0, 1], [1, 1], [1, -2]),
        lambda: mechanisms.spatial_attention_flow([[1.0]], [[0.5, 0.5]]),
        lambda: mechanisms.spatial_attention_flow([], []),
    ],
)
def test_bad_input_is_refused_in_one_line(draw):
    """Fails when empty input or a wrong sketch is drawn as if it were right."""
    with pytest.raises(ValueError, match=r"^[^\n]+: [^\n]+$"):
        draw()
