"""The same network from the paper's way of measuring to the organisers', a change at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from landmark.course.answers import test_answers, truth_of
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.report.answers import Answers, tabulate
from landmark.evaluation.report.hits import Hits, Ranking, gap
from landmark.evaluation.report.resamples import interval, over_seeds, resample
from landmark.evaluation.report.summary import SHARES
from landmark.training.predict_run import predict_table
from landmark.training.run import Run
from landmark.utils.errors import InputError

Score = Callable[[Hits], np.ndarray]


def fall_steps(runs: Sequence[Run], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """Follow one network from the images it learnt from to a test set of which 98.3 % show no landmark.

    Args:
        runs: of one model that differ in their seed; their means are reported.
        data: theirs.
        n: resamples of images and seeds together.

    Returns:
        A row for each step: GAP `value`, its 95 % interval `low` to `high`, and the `change` from the step before with
        its own, `change_low` to `change_high`.

    Raises:
        InputError: no run, or one that does not say what it learnt from.
    """
    if not runs:
        raise InputError("no run to follow")
    steps = [_of_run(run, data, n) for run in runs]
    rows: dict[str, list[float]] = {}
    value, samples = np.nan, np.full(n, np.nan)
    for name in steps[0]:
        before, others = value, samples
        value = float(np.mean([of_run[name][0] for of_run in steps]))
        samples = over_seeds(np.stack([of_run[name][1] for of_run in steps], axis=1))
        rows[name] = [*interval(value, samples), *interval(value - before, samples - others)]
    columns = ["value", "low", "high", "change", "change_low", "change_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _of_run(run: Run, data: GoogleLandmarks, n: int) -> dict[str, tuple[float, np.ndarray]]:
    """GAP of each step, as it is and on resamples; the steps of the test set share theirs."""
    asked = tabulate(test_answers(run, data), truth_of(data), run.labels.landmark_ids)
    here, most = asked.images()["distractor"] / max(len(asked), 1), SHARES[-1]
    on_test: dict[str, Score] = {
        "test images of known landmarks": partial(gap, closed=True),
        "unknown landmarks are asked as well": partial(gap, share=0.0),
        f"distractors are asked, {here:.0%} as here": gap,
        f"distractors, {most:.1%} as in 2019": partial(gap, share=most),
    }
    return (
        _resampled(_side(run, data, "train"), {"images that it was trained on": gap}, n, 0)
        | _resampled(_side(run, data, "dev"), {"dev images, held out": gap}, n, 1)
        | _resampled(asked, on_test, n, 2)
    )


def _resampled(answers: Answers, scores: Mapping[str, Score], n: int, seed: int) -> dict[str, tuple[float, np.ndarray]]:
    """Measure scores on the images as they are and on n resamples of them."""
    ranking = Ranking(answers)

    def measure(counts: np.ndarray) -> dict[str, np.ndarray]:
        ranked = ranking.hits(counts)
        return {name: score(ranked) for name, score in scores.items()}

    once = measure(np.ones((1, len(answers)), np.int32))
    drawn = resample(answers.kind, measure, n, seed)
    return {name: (float(once[name][0]), drawn[name]) for name in scores}


def _side(run: Run, data: GoogleLandmarks, side: str) -> Answers:
    """Answers of a run to the images of one side of its split, "train" or "dev"."""
    if run.sides is None:
        raise InputError(f"{run.path}: does not say what it learnt from: train it anew")
    table = data.labelled()
    table = table[table["id"].isin(run.sides["id"][run.sides["side"] == side])]
    record = predict_table(run, table, data.root, "train", keep=["embedding"])
    truth = {i: (int(landmark),) for i, landmark in zip(table["id"], table["landmark_id"], strict=True)}
    return tabulate(record.mapping(run.labels), truth, run.labels.landmark_ids)
