"""The tables of the course: scores of its runs over seeds, with intervals, beside those of the paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from landmark.course.answers import answers_table, test_answers, test_predictions, truth_of
from landmark.course.runs import course_runs, trained
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.report.answers import tabulate
from landmark.evaluation.report.hits import Ranking, gap
from landmark.evaluation.report.resamples import Difference
from landmark.evaluation.report.results import Evaluation, System
from landmark.evaluation.report.summary import evaluate
from landmark.training.run import Run, open_run

DENSE = (*np.linspace(0, 0.9, 19).tolist(), 0.925, 0.95, 0.965, 0.975, 0.983, 0.99)  # shares of distractors
PAPER = pd.DataFrame(
    {"paper": [0.241, 0.674, 0.119, 0.812, 0.841], "paper_loss": [3.183, 1.301, 3.079, 0.908, 0.932]},
    index=["resnet50", "xception", "xception_spatial", "xception_cbp", "xception_cbp_attention"],
)
"""GAP and loss on the 2019 paper's own dev set, from its Figure 5."""


def course_evaluation(models: Iterable[str], data: GoogleLandmarks, n: int = 1000) -> Evaluation:
    """Evaluate the course's runs of some models, all seeds of each, on a test set; see `evaluation.report.evaluate`."""
    runs = tuple((model, run.path, run.result["sha256"]) for model, some in trained(models).items() for run in some)
    return _evaluated(runs, data, n)


@lru_cache(8)
def _evaluated(runs: tuple[tuple[str, Path, str], ...], data: GoogleLandmarks, n: int) -> Evaluation:
    """Evaluate runs, each given as model, folder and hash of its weights; once for a data set that was opened."""
    truth = truth_of(data)
    tables, groups = {}, dict[str, list[str]]()
    for model, path, _ in runs:
        run = open_run(path)
        name = f"{model}, seed {run.config.seed}"
        tables[name] = tabulate(test_answers(run, data), truth, run.labels.landmark_ids, name=name)
        groups.setdefault(model, []).append(name)
    return evaluate(tables, models=groups, n=n)


def _systems(report: Evaluation) -> dict[str, System]:
    """Scores of each model: of its seeds together, or of its one run."""
    return {system.run.partition(",")[0]: system for system in report.models or report.runs}


def score_table(models: Iterable[str], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """The paper's Figure 5, measured: for each model the mean over its seeds, and the paper's figures beside it.

    `closed`: GAP on the test images of landmarks in the label set. `open`: on the whole test set, distractors and all.
    Their `low` and `high` are the ends of 95 % intervals over images and seeds together. `spread` is the largest closed
    GAP of a seed less the smallest.
    """
    models = list(models)
    report, rows = course_evaluation(models, data, n), {}
    single = {system.run: system for system in report.runs}
    for model, system in _systems(report).items():
        runs = course_runs(model)
        closed = [single[f"{model}, seed {run.config.seed}"].scores["gap_closed"].value for run in runs]
        answers = [report.tables[f"{model}, seed {run.config.seed}"] for run in runs]
        inside, whole = system.scores["gap_closed"], system.scores["gap"]
        rows[model] = {
            "seeds": len(runs), "dev": np.mean([run.result["dev_gap"] for run in runs]),
            "closed": inside.value, "closed_low": inside.low, "closed_high": inside.high,
            "spread": max(closed) - min(closed),
            "open": whole.value, "open_low": whole.low, "open_high": whole.high, 
            "top1": np.mean([one.correct[one.kind == 0].mean() for one in answers]),
            "loss": np.mean([np.nanmean(test_predictions(run, data).loss) for run in runs]),
            "minutes": sum(run.result["seconds"] for run in runs) / 60,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").join(PAPER)


def paired_differences(pairs: Sequence[tuple[str, str]], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """GAP of the first model of each pair less that of the second, closed and open, with 95 % intervals.

    Both answer the same images, so the luck of the draw cancels; images and seeds are resampled together.
    """
    report = course_evaluation(dict.fromkeys(model for pair in pairs for model in pair), data, n)
    rows: dict[str, dict[str, Any]] = {f"{first} − {second}": {} for first, second in pairs}
    for short, score in (("closed", "gap_closed"), ("open", "gap")):
        name = f"model {score}" if report.models else score
        found = {(x.a.partition(",")[0], x.b.partition(",")[0]): x for x in report.paired[name]}
        nothing = Difference("", "", 0.0, 0.0, 0.0, 1.0, 1.0)  # of a model to itself
        found |= {(first, second): nothing for first, second in pairs if first == second}
        for first, second in pairs:
            difference, low, high = _less(found, first, second)
            rows[f"{first} − {second}"] |= {short: difference, f"{short}_low": low, f"{short}_high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def _less(found: Mapping[tuple[str, str], Difference], first: str, second: str) -> tuple[float, float, float]:
    """Read the first one's score less the second's, and its interval, from pairs that stand in either order."""
    if (first, second) in found:
        x = found[first, second]
        return x.difference, x.low, x.high
    x = found[second, first]
    return -x.difference, -x.high, -x.low


def compare_runs(runs: Mapping[str, Run], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """GAP of single runs, closed and open, and the difference of each to the first one, on the same test images.

    The 95 % intervals are over the images alone: another seed may move a run further than they reach.

    Args:
        runs: by the names that they shall have in the table, two or more.
        data: with the test set and its solution.
        n: resamples.

    Returns:
        A row for each run: closed, open, then difference (of closed GAP), low and high, NaN for the first run.
    """
    report = evaluate({name: answers_table(run, data) for name, run in runs.items()}, n=n)
    first, *others = runs
    pairs = {(x.a, x.b): x for x in report.paired["gap_closed"]}
    rows = {system.run: {"closed": system.scores["gap_closed"].value, "open": system.scores["gap"].value}
            for system in report.runs}  # fmt: skip
    for name in others:
        rows[name] |= dict(zip(("difference", "low", "high"), _less(pairs, name, first), strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")


def distractor_table(models: Iterable[str], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """Open GAP of each model when distractors make up 0, 60, 90 and 98.3 % of the test set: value, low and high."""
    rows = {}
    for model, system in _systems(course_evaluation(models, data, n)).items():
        rows[model] = {(f"{share:.1%}".replace(".0%", "%"), name): getattr(value, name)
                       for share, value in system.at.items() for name in ("value", "low", "high")}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def distractor_curves(
    models: Iterable[str], data: GoogleLandmarks, n: int = 1000
) -> tuple[dict[str, tuple[Sequence[float], Sequence[float]]], dict[str, list[tuple[float, float, float, float]]]]:
    """Open GAP of each model as distractors join: curves of means over seeds, and (share, value, low, high) of some.

    They are what `figures.gap_by_share` draws.
    """
    models = list(models)
    report = course_evaluation(models, data, n)
    once = np.ones((1, sum(report.images.values())), np.int32)
    curves: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for model in models:
        ranked = [Ranking(table).hits(once) for name, table in report.tables.items() if name.startswith(f"{model},")]
        curves[model] = (DENSE, [float(np.mean([gap(one, share=share)[0] for one in ranked])) for share in DENSE])
    marks = {model: [(share, *value) for share, value in system.at.items()]
             for model, system in _systems(report).items()}  # fmt: skip
    return curves, marks


def dev_table(models: Iterable[str]) -> pd.DataFrame:
    """What the runs of some models reached on the dev set, and what they cost: means over their seeds."""
    rows = {}
    for model, runs in trained(models).items():
        results = [run.result for run in runs]
        means = {name: np.mean([result[key] for result in results]) for name, key in (
            ("dev GAP", "dev_gap"), ("dev top-1", "dev_top1"), ("dev loss", "dev_loss"),
            ("train images", "train_images"), ("seconds", "seconds"))}  # fmt: skip
        rows[model] = {"seeds": len(results)} | means
    return pd.DataFrame.from_dict(rows, orient="index")


def learning_tables(models: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The logs of some models' runs, by name: of the first seed."""
    return {model: runs[0].metrics for model, runs in trained(models).items()}
