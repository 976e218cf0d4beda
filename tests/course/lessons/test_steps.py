"""The steps of the fall against the metrics, on the same answers."""

import pytest

from landmark.course.answers import test_answers as answers_of
from landmark.course.answers import truth_of
from landmark.course.lessons.steps import fall_steps
from landmark.evaluation.metrics import global_average_precision
from landmark.evaluation.open_world import closed_set, gap_against_distractors, restrict
from landmark.training.predict_run import predict_table
from landmark.utils.errors import InputError


def test_each_step_is_its_metric(lesson):
    """Fails when a step holds the wrong images, is measured otherwise than its name says, or a change has no base."""
    run, _, data = lesson
    steps = fall_steps([run, run], data, n=20)
    truth, answers = truth_of(data), answers_of(run, data)
    closed = closed_set(truth, run.labels.landmark_ids)
    wanted = []
    for side in ("train", "dev"):
        table = data.labelled()
        table = table[table["id"].isin(run.sides["id"][run.sides["side"] == side])]
        mapping = predict_table(run, table, data.root, "train").mapping(run.labels)
        shown = {i: [x] for i, x in zip(table["id"], table["landmark_id"], strict=True)}
        wanted.append(global_average_precision(mapping, shown))
    wanted.append(global_average_precision(restrict(answers, closed), closed))
    without, with_most = gap_against_distractors(answers, truth, [0.0, 0.983])
    wanted += [without, global_average_precision(answers, truth), with_most]
    assert steps["value"].tolist() == pytest.approx(wanted)
    assert steps["change"].tolist()[1:] == pytest.approx([b - a for a, b in zip(wanted, wanted[1:], strict=False)])
    assert steps["change"].isna().tolist() == [True] + [False] * 5
    inside = (steps["low"] <= steps["value"] + 1e-9) & (steps["value"] <= steps["high"] + 1e-9)
    assert inside.sum() >= 4, "intervals of so few images may miss, but not most of them"


def test_no_run_is_refused(lesson):
    """Fails when an empty table comes back."""
    with pytest.raises(InputError, match="no run to follow"):
        fall_steps([], lesson[2])
