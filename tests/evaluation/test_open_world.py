"""The open-world curve, against a case worked by hand."""

from landmark.evaluation import open_world


def test_open_world_curve_by_hand():
    """Fails when distractors join without their predictions: one right answer below one distractor halves GAP."""
    truth = {"a": [1], "d": []}
    answers = {"a": (1, 0.5), "d": (2, 0.9)}
    assert open_world.gap_against_distractors(answers, truth, [0.0, 0.5]) == [1.0, 0.5]
