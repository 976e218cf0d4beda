"""Networks that learn, against the numbers that were given."""

import numpy as np
import pandas as pd
import pytest

from landmark.figures import training

STAGES = [("block1", 900), ("block2", 4000), ("head", 50)]


def test_learning_curves_draw_each_run_from_its_own_rows():
    """Fails when a run is drawn from another's table, a row without a value counts as zero, or a line has another's name."""
    table = pd.DataFrame(
        {"step": [0, 5, 9], "train_loss": [3, 2, 1.0], "dev_loss": [3, np.nan, 1.5], "dev_gap": [np.nan, 0.2, 0.4]}
    )
    fig = training.learning_curves({"a": table, "b": table.assign(dev_gap=[0.1, np.nan, 0.9])}, chance=2.5)
    loss, gap = fig.axes
    train, dev = loss.lines[:2]
    assert train.get_xdata().tolist() == [0, 5, 9] and dev.get_xdata().tolist() == [0, 9]
    assert dev.get_ydata().tolist() == [3, 1.5] and train.get_color() == dev.get_color()
    curves = {line.get_label(): line.get_ydata() for line in gap.lines}
    assert list(curves["a"]) == [0.2, 0.4] and list(curves["b"]) == [0.1, 0.9]
    assert list(curves["perfect"]) == [1, 1] and list(loss.lines[-1].get_ydata()) == [2.5, 2.5]
    assert [(text.get_text(), text.xy[1]) for ax in (loss, gap) for text in ax.texts] == [
        ("a uniform guess", 2.5),
        ("perfect", 1),
    ]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b"] and not loss.get_legend()
    assert "a, dev loss from 3.00 to 1.50 at step 9; a, dev GAP from 0.20 to 0.40 at step 9; b" in fig.get_label()


def test_words_of_a_curve_name_its_best_point():
    """Fails when the alt text calls the largest loss or the smallest GAP the best."""
    table = pd.DataFrame(
        {"step": [1, 2, 3], "train_loss": [3, 2, 1], "dev_loss": [3, 1, 2], "dev_gap": [0.1, 0.5, 0.4]}
    )
    words = training.learning_curves({"a": table}).get_label()
    assert "dev loss from 3.00 to 2.00 at step 3, best 1.00 at step 2" in words
    assert "dev GAP from 0.10 to 0.40 at step 3, best 0.50 at step 2" in words


def test_training_loss_is_a_running_mean():
    """Fails when the noise of single steps is drawn, or the mean looks ahead: against a plain loop of span n / 20."""
    values = np.random.default_rng(0).random(100)
    table = pd.DataFrame({"step": range(100), "train_loss": values, "dev_loss": values, "dev_gap": values})
    smooth = training.learning_curves({"a": table}).axes[0].lines[0].get_ydata()
    decay = 1 - 2 / (100 // 20 + 1)
    for last in (0, 1, 50, 99):
        weights = decay ** np.arange(last, -1, -1)
        assert smooth[last] == pytest.approx((weights * values[: last + 1]).sum() / weights.sum())


def test_a_bar_of_parameters_is_split_where_a_part_of_a_stage_is_frozen():
    """Fails when a bar has another stage's height, or a stage of which a part trains looks wholly trained or frozen."""
    fig = training.parameter_bars(STAGES, {"block1": 1.0, "block2": 0.75})
    (ax,) = fig.axes
    resting, trained = ax.patches[::2], ax.patches[1::2]
    assert [bar.get_height() for bar in resting] == pytest.approx([900e-6, 3000e-6, 0])
    assert [bar.get_height() for bar in trained] == pytest.approx([0, 1000e-6, 50e-6])
    assert [bar.get_y() for bar in trained] == pytest.approx([900e-6, 3000e-6, 0]), (
        "the trained part stands on the frozen"
    )
    assert {bar.get_hatch() for bar in resting} == {"////"} and {bar.get_hatch() for bar in trained} == {None}
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [name for name, _ in STAGES]
    assert [text.get_text() for text in ax.texts] == ["75.0% frozen"]
    assert "block1 900, frozen; block2 4.0 k, 75.0% frozen; head 50" in fig.get_label()


def test_a_stage_has_a_bar_for_its_gradient_or_a_word():
    """Fails when a bar has another stage's norm, or a stage that gets nothing has a bar that reads as a value."""
    (ax,) = training.gradient_flow([("block1", 0.0), ("block2", 4000), ("head", 50)]).axes
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in ax.patches] == [(1, 4000), (2, 50)]
    assert [(text.get_position()[0], text.get_text()) for text in ax.texts] == [(0, "none")]


def test_bars_of_throughput_are_as_long_as_the_rates():
    """Fails when rates and names are paired wrongly, or the number beside a bar is another's."""
    (ax,) = training.throughput_bars({"float32": 10.0, "bfloat16": 1234.0}).axes
    assert [bar.get_width() for bar in ax.patches] == [10, 1234]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["float32", "bfloat16"] and ax.yaxis_inverted()
    assert [text.get_text() for text in ax.texts] == ["10", "1,234"]


def test_a_learnt_number_is_drawn_from_its_start():
    """Fails when the value before the first step is left out, or two runs share one curve."""
    table = pd.DataFrame({"step": [5, 10], "gamma": [0.2, 0.4]})
    runs = {"from 0": table, "from 1": table.assign(gamma=[0.9, 0.8])}
    fig = training.number_curves(runs, "gamma", start={"from 0": 0.0, "from 1": 1.0}, symbol="γ", title="γ")
    curves = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in fig.axes[0].lines[:2]]
    assert curves == [([0, 5, 10], [0.0, 0.2, 0.4]), ([0, 5, 10], [1.0, 0.9, 0.8])]
    assert fig.axes[0].get_ylabel() == "γ" and "from 1" in fig.get_label()
    with pytest.raises(ValueError, match="gamma"):
        training.number_curves({"a": table.drop(columns="gamma")}, "gamma", start={"a": 0}, symbol="γ", title="γ")
