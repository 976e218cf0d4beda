"""The tables of the course: scores of its runs, with intervals, beside those of the paper."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from landmark.course.runs import course_run
from landmark.data.folder import GoogleLandmarks
from landmark.data.tables import scored
from landmark.evaluation import bootstrap, metrics, open_world
from landmark.evaluation.confidence import DEFAULT
from landmark.evaluation.prediction import Predictions
from landmark.training.predict_run import predict_table
from landmark.training.run import Run

PAPER = pd.DataFrame(
    {"paper": [0.241, 0.674, 0.119, 0.812, 0.841], "paper_loss": [3.183, 1.301, 3.079, 0.908, 0.932]},
    index=["resnet50", "xception", "xception_spatial", "xception_cbp", "xception_cbp_attention"],
)
"""GAP and loss on the 2019 paper's own dev set, from its Figure 5."""


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


def test_scores(run: Run, data: GoogleLandmarks, n: int = 1000) -> dict[str, float]:
    """Closed and open GAP with 95 % bootstrap intervals, top-1 accuracy and loss of one run.

    Closed: the landmark queries of the label set alone. Open: the whole test set, distractors and all.
    """
    predictions, everything = test_predictions(run, data), truth_of(data)
    answers = open_world.restrict(predictions.mapping(run.labels), everything)
    closed = open_world.closed_set(everything, run.labels.landmark_ids)
    inside = open_world.restrict(answers, closed)
    low, high = bootstrap.gap_bootstrap(inside, closed, n)
    open_low, open_high = bootstrap.gap_bootstrap(answers, everything, n)
    return {
        "closed": metrics.global_average_precision(inside, closed), "closed_low": low, "closed_high": high,
        "open": metrics.global_average_precision(answers, everything), "open_low": open_low, "open_high": open_high,
        "top1": metrics.top1_accuracy(inside, closed), "loss": float(np.nanmean(predictions.loss)),
    }  # fmt: skip


def score_table(models: Iterable[str], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """The paper's Figure 5, measured: a row of `test_scores` for each model, the paper's figures beside them."""
    rows = {}
    for model in models:
        run = course_run(model)
        rows[model] = {"dev": run.result["dev_gap"], **test_scores(run, data, n), "minutes": run.result["seconds"] / 60}
    return pd.DataFrame.from_dict(rows, orient="index").join(PAPER)


def dev_table(models: Iterable[str]) -> pd.DataFrame:
    """What the runs of some models reached on the dev set, and what they cost."""
    rows = {}
    for model in models:
        result = course_run(model).result
        rows[model] = {"dev GAP": result["dev_gap"], "dev top-1": result["dev_top1"], "dev loss": result["dev_loss"],
                       "train images": result["train_images"], "minutes": result["seconds"] / 60}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def learning_tables(models: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The logs of some models' runs, by name."""
    return {model: course_run(model).metrics for model in models}


def paired_differences(pairs: Sequence[tuple[str, str]], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """Closed GAP of the first model of each pair minus that of the second, with the interval of the difference."""
    rows = {}
    for first, second in pairs:
        runs = [course_run(name) for name in (first, second)]
        closed = open_world.closed_set(truth_of(data), runs[0].labels.landmark_ids)
        a, b = (open_world.restrict(test_answers(run, data), closed) for run in runs)
        rows[f"{first} − {second}"] = bootstrap.paired_gap_bootstrap(a, b, closed, n)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high"])
