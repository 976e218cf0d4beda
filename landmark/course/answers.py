"""What runs answer about a test set, as the metrics want it."""

from __future__ import annotations

from collections.abc import Collection

from landmark.data.folder import GoogleLandmarks
from landmark.data.tables import scored
from landmark.evaluation.confidence import DEFAULT
from landmark.evaluation.prediction import Predictions
from landmark.evaluation.report.answers import Answers, tabulate
from landmark.training.predict_run import predict_table
from landmark.training.run import Run


def truth_of(data: GoogleLandmarks, split: str = "all") -> dict[str, tuple[int, ...]]:
    """image_id → landmark ids of the test images that are scored, see `tables.scored`."""
    return scored(data.solution, split, f"the solution of {data.root}")


def test_predictions(run: Run, data: GoogleLandmarks, keep: Collection[str] = ()) -> Predictions:
    """Predictions of a run on the whole test set, kept beside it, see `predict_table`."""
    truth = truth_of(data)
    known = [next((x for x in truth.get(i, ()) if x in run.labels), -1) for i in data.test["id"]]
    return predict_table(run, data.test.assign(landmark_id=known), data.root, keep=keep)


def test_answers(run: Run, data: GoogleLandmarks, score: str = DEFAULT) -> dict[str, tuple[int, float]]:
    """image_id → (landmark_id, score) of the test images that are scored, as `metrics` wants it beside `truth_of`.

    Args:
        run: a finished run.
        data: with the test set and its solution.
        score: name of a rule, see `confidence.RULES`.
    """
    truth, answers = truth_of(data), test_predictions(run, data).mapping(run.labels, score)
    return {image_id: answer for image_id, answer in answers.items() if image_id in truth}


def answers_table(run: Run, data: GoogleLandmarks, split: str = "all") -> Answers:
    """Lay a run's answers beside the truth, one row for each image of a part of the test set.

    Args:
        run: a finished run.
        data: with the test set and its solution.
        split: "public", "private" or "all".
    """
    truth, answers = truth_of(data, split), test_answers(run, data)
    return tabulate({i: answers[i] for i in truth if i in answers}, truth, run.labels.landmark_ids, name=run.path.name)
