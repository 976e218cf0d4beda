"""The named systems side by side: what each scores closed, open and among distractors, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from landmark.course.answers import truth_of
from landmark.course.retrieving.answering import answer
from landmark.course.retrieving.ladder import table_of
from landmark.course.retrieving.material import Material
from landmark.course.retrieving.recipes import RECIPES, parts_of
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.hits import Ranking, gap
from landmark.evaluation.report.resamples import interval, over_seeds, resample
from landmark.retrieval.config import SearchConfig
from landmark.training.run import Run
from landmark.utils.errors import InputError


def systems_table(
    runs: Sequence[Run], data: GoogleLandmarks, *, own: Mapping[str, Sequence[Run | Sequence[Run]]] | None = None,
    share: float = 0.9, count: int | None = None, compared: int = SearchConfig.rerank, n: int = 1000, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Score every recipe by name on the same images.

    Every run, or ensemble of runs, is one seed: rows are means over seeds, intervals over images and seeds together.

    Args:
        runs: of one model that differ in their seed, for all recipes but those of `own`.
        data: with train.csv, the test images and the solution.
        own: recipe → its own runs, or ensembles such as the two networks of `sirius`, for each seed one; without an
            entry `xception_gem` is left out.
        share: of distractors of the last score.
        count: test images, evenly spread; all when left out.
        compared: neighbours whose local features are compared.
        n: resamples.
        seed: of the resamples.

    Returns:
        A row for each recipe: closed and open GAP; `hard`, open GAP at that share, with low and high; and the seconds
        that it takes for an image from vectors that are kept. What an earlier call kept of local features or of the
        classifier takes no time again.

    Raises:
        InputError: no run, no such recipe, or as of `answer`.
    """
    own = own or {}
    if not all([runs, *own.values()]):
        raise InputError("no run: give one to answer by recipes with")
    for name in own:
        parts_of(name)
    search = SearchConfig(rerank=compared)
    groups = {name: [[one] if isinstance(one, Run) else list(one) for one in own.get(name, runs)]
              for name in RECIPES if name != "xception_gem" or name in own}  # fmt: skip
    made = {_names(group): Material(group, data, search=search, count=count)
            for some in groups.values() for group in some}  # fmt: skip
    tables: dict[str, list[Answers]] = {}
    seconds: dict[str, float] = {}
    for name, systems in groups.items():
        materials = [made[_names(group)] for group in systems]
        images = sum(len(material.ids) for material in materials)  # their vectors are made here, outside the clock
        start = time.perf_counter()
        answers = [answer(material, name) for material in materials]
        seconds[name] = (time.perf_counter() - start) / max(images, 1)
        asked = set(materials[0].photos.ids)
        truth = {image_id: shown for image_id, shown in truth_of(data).items() if image_id in asked}
        tables[name] = [table_of(answered, truth, runs[0].labels.landmark_ids) for answered in answers]
    rankings = {name: [Ranking(table) for table in some] for name, some in tables.items()}
    kind = next(iter(tables.values()))[0].kind

    def measure(counts: np.ndarray, closed: bool = False, share: float | None = share) -> dict[str, np.ndarray]:
        return {name: np.stack([gap(it.hits(counts), closed=closed, share=share) for it in some], axis=1)
                for name, some in rankings.items()}  # fmt: skip

    once, drawn = np.ones((1, len(kind)), np.int32), resample(kind, measure, n, seed)
    closed, opened, hard = measure(once, True, None), measure(once, share=None), measure(once)
    rows = {}
    for name in tables:
        _, low, high = interval(hard[name].mean().item(), over_seeds(drawn[name], seed))
        rows[name] = {"closed": closed[name].mean(), "open": opened[name].mean(), "hard": hard[name].mean(),
                      "low": low, "high": high, "seconds": seconds[name]}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def _names(group: Sequence[Run]) -> tuple[Path, ...]:
    """Name an ensemble: its material is made once for all recipes."""
    return tuple(run.path for run in group)
