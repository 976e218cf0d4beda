"""The ladder: what each part of a recipe adds to open GAP, and what each system adds to an ensemble."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from landmark.course.answers import truth_of
from landmark.course.retrieving.answering import Answered, answer
from landmark.course.retrieving.material import Material
from landmark.course.retrieving.recipes import PARTS
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.report.answers import Answers, tabulate
from landmark.evaluation.report.hits import Ranking, gap
from landmark.evaluation.report.resamples import compare_pairs, interval, over_seeds, resample
from landmark.retrieval.embed import Embedder
from landmark.training.run import Run
from landmark.utils.errors import InputError

LADDER = ("nearest", "whiten", "penalty", "vote", "overuse", "centres", "margin", "softmax", "company", "expand")
"""Parts that are added one after another to the classifier's own answers, those first that add most on dev worlds, see
`fit_recipe`; `local` costs more than all others."""


def table_of(answered: Answered, truth: Mapping[str, Collection[int]], labels: Collection[int]) -> Answers:
    """Lay the answers of a recipe beside the truth.

    Args:
        answered: of `answer`.
        truth: landmark ids of the images that are scored, see `truth_of`.
        labels: landmark ids of the label set, which tells unknown landmarks from known ones.
    """
    return tabulate({i: row for i, row in answered.mapping().items() if i in truth}, truth, labels, name="the recipe")


def open_gap(answers: Answers, share: float | None = None) -> float:
    """Compute open GAP, at a share of distractors; as it is when left out."""
    return float(gap(Ranking(answers).hits(np.ones((1, len(answers)), np.int32)), share=share)[0])


def recipe_ladder(
    systems: Sequence[Run | Embedder], data: GoogleLandmarks, parts: Sequence[str] = LADDER, *,
    labels: Sequence[int] | None = None, share: float | None = None, n: int = 1000, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Add one part after another, and take open GAP after each.

    Every system is one seed: rows are means over seeds, and intervals are paired, over images and seeds together. The
    part `nearest` takes the place of the classifier's answers, with which the ladder begins where there is one.

    Args:
        systems: runs of one model that differ in their seed, or embedders.
        data: with train.csv, the test images and the solution.
        parts: in the order in which they are added, `nearest` before all but `softmax`.
        labels: landmark ids of the label set; the first run's when left out.
        share: of distractors; as it is when left out.
        n: resamples.
        seed: of the resamples.

    Returns:
        A row for each part: gap, low, high; its difference to the row before with difference_low and _high; and
        seconds that it takes for an image, the network's pass left out where its vectors were kept.

    Raises:
        InputError: as of `answer`, or no label set.
    """
    trained = [it for it in systems if isinstance(it, Run)]
    if labels is None:
        if not trained:
            raise InputError("embedders know no label set: give labels")
        labels = trained[0].labels.landmark_ids
    steps: dict[str, tuple[str, ...]] = {"paper": ("softmax",)} if len(trained) == len(systems) else {}
    added: list[str] = []
    for part in parts:
        added.append(part)
        steps[f"+ {part}"] = tuple(added)
    truth, materials = truth_of(data), [Material([system], data) for system in systems]
    tables: dict[str, list[Answers]] = {}
    seconds: dict[str, float] = {}
    for name, step in steps.items():
        start = time.perf_counter()
        tables[name] = [table_of(answer(material, step), truth, labels) for material in materials]
        seconds[name] = (time.perf_counter() - start) / max(sum(len(material.ids) for material in materials), 1)
    return paired_table(tables, share, n, seed).assign(seconds=pd.Series(seconds))


def paired_table(tables: Mapping[str, Sequence[Answers]], share: float | None, n: int, seed: int) -> pd.DataFrame:
    """Score systems, each of one or several seeds, and compare each one with the one before it.

    Args:
        tables: name → answers of each seed, all to the same images.
        share: of distractors; as it is when left out.
        n: resamples.
        seed: of the resamples.

    Returns:
        A row for each: gap, low, high, difference, difference_low, difference_high.
    """
    rankings = {name: [Ranking(table) for table in some] for name, some in tables.items()}

    def measure(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.stack([gap(ranking.hits(counts), share=share) for ranking in some], axis=1)
                for name, some in rankings.items()}  # fmt: skip

    kind = next(iter(tables.values()))[0].kind
    here, drawn = measure(np.ones((1, len(kind)), np.int32)), resample(kind, measure, n, seed)
    means = {name: scores.mean(keepdims=True) for name, scores in here.items()}
    values = {name: interval(means[name].item(), over_seeds(drawn[name], seed)) for name in tables}
    steps = compare_pairs(means, drawn, [(b, a) for a, b in pairwise(tables)], seed=seed)
    differences = {step.a: (step.difference, step.low, step.high) for step in steps}
    return pd.DataFrame.from_dict(values, orient="index", columns=["gap", "low", "high"]).join(
        pd.DataFrame.from_dict(differences, "index", columns=["difference", "difference_low", "difference_high"])
    )


def contributions(
    runs: Sequence[Run], data: GoogleLandmarks, recipe: str | Sequence[str] = "best", *,
    weights: Sequence[float] | None = None, share: float | None = None, n: int = 1000, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Leave each system out of an ensemble, and take what open GAP loses.

    Args:
        runs: two or more.
        data: with train.csv, the test images and the solution.
        recipe: of the ensemble.
        weights: of the systems; all the same when left out.
        share: of distractors; as it is when left out.
        n: resamples.
        seed: of the resamples.

    Returns:
        A row for each system: gap without it, and its contribution with low and high over images.

    Raises:
        InputError: fewer than two systems, or as of `answer`.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} system: an ensemble has two or more to leave one out of")
    weights = [1.0] * len(runs) if weights is None else list(weights)
    truth, labels = truth_of(data), runs[0].labels.landmark_ids
    whole = table_of(answer(Material(runs, data, weights), recipe), truth, labels)
    rows = {}
    for i, run in enumerate(runs):
        some, kept = ([*column[:i], *column[i + 1 :]] for column in (list(runs), weights))
        less = table_of(answer(Material(some, data, kept), recipe), truth, labels)
        row = paired_table({"without": [less], "with": [whole]}, share, n, seed).loc["with"]
        rows[str(run.path)] = {"gap_without": row["gap"] - row["difference"], "contribution": row["difference"],
                               "low": row["difference_low"], "high": row["difference_high"]}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def fit_recipe(
    materials: Sequence[Material], parts: Sequence[str] = LADDER, *, share: float | None = 0.9,
    start: Sequence[str] = ("nearest",), least: float = 0.0,
) -> tuple[tuple[str, ...], pd.DataFrame]:  # fmt: skip
    """Choose the parts of a recipe on dev worlds: the one that adds most is taken, until none adds anything.

    Args:
        materials: of dev worlds with distractors, none of which is reported on.
        parts: that may be taken.
        share: of distractors at which GAP is taken; as it is when left out.
        start: parts to begin with.
        least: mean open GAP that a part must add.

    Returns:
        The parts, and what was tried: step, part, gap, and whether it was taken.

    Raises:
        InputError: no dev world, or a part that is none.
    """
    if not materials:
        raise InputError("0 dev worlds: give one to choose a recipe on")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise InputError(f"no part {unknown[0]!r}: choose of {', '.join(PARTS)}")

    def mean(recipe: Sequence[str]) -> float:
        return float(np.mean([open_gap(table_of(answer(m, recipe), truth_of(m.data), m.landmark.tolist()), share)
                              for m in materials]))  # fmt: skip

    chosen, best, tried = list(start), mean(start), []
    for step in range(len(parts)):
        scores = {part: mean([*chosen, part]) for part in parts if part not in chosen}
        if not scores:
            break
        winner = max(scores, key=lambda part: scores[part])
        taken = scores[winner] > best + least
        tried += [{"step": step, "part": part, "gap": score, "taken": taken and part == winner}
                  for part, score in scores.items()]  # fmt: skip
        if not taken:
            break
        chosen, best = [*chosen, winner], scores[winner]
    return tuple(part for part in PARTS if part in chosen), pd.DataFrame(tried)
