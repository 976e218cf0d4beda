"""A recipe at work: from what runs know of a test set to its answers, and to a submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from landmark.course.retrieving.material import Material
from landmark.course.retrieving.recipes import PartWeights, parts_of
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.neighbours import unit
from landmark.evaluation.submission import write_submission
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.fusion.crowd import company_score, overuse
from landmark.retrieval.fusion.rule import decide
from landmark.retrieval.vectors.likeness import class_centres, pair_likeness
from landmark.training.run import Run


class Answered(NamedTuple):
    """What a recipe answers to the test images that could be read."""

    ids: list[str]
    landmark: np.ndarray  # (Q,) landmark_id; -1 where there is no answer
    score: np.ndarray  # (Q,) any number, of which the order counts

    def mapping(self) -> dict[str, tuple[int, float]]:
        """image_id → (landmark_id, score), as `metrics` wants it."""
        rows = zip(self.ids, self.landmark.tolist(), self.score.tolist(), strict=True)
        return {image_id: (landmark, score) for image_id, landmark, score in rows if landmark >= 0}


def answer(material: Material, recipe: str | Sequence[str]) -> Answered:
    """Answer a test set by a recipe.

    Args:
        material: runs on the data set.
        recipe: its name, or its parts, see `recipes.PARTS`.

    Raises:
        InputError: no such recipe, a classifier that is not there, or images that cannot be read.
    """
    parts, weights = parts_of(recipe), material.parts
    if "nearest" not in parts:
        return Answered(material.ids, *material.classify("crops" in parts))
    queries, index, others = material.vectors("whiten" in parts, "expand" in parts)
    near = material.near("whiten" in parts, "expand" in parts)
    burden: np.ndarray | float = 0.0
    if "penalty" in parts and others is not None:
        burden = weights.penalty * pair_likeness(queries, index, others, near)
    local = "delf" if "delf" in parts else weights.local if "local" in parts else "none"
    inliers = None if local == "none" else material.inliers(near, local)
    verdict = decide(near, material.landmark, _settings(material.search, parts), inliers=inliers, burden=burden)
    landmark, score = verdict.landmark, verdict.score
    if "centres" in parts:
        known, centres = np.unique(material.landmark), unit(class_centres(index, material.landmark))
        place = np.searchsorted(known, landmark).clip(max=len(known) - 1)
        score = score + weights.centres * (queries * centres[place]).sum(1)
    if "softmax" in parts:
        label, sure = material.classify("crops" in parts)
        score = score + weights.softmax * np.where(label == landmark, sure, 0)
    if "company" in parts:
        score = (1 - weights.company) * score + weights.company * company_score(queries, score)
    if "overuse" in parts:
        score = score - weights.overuse * overuse(landmark)
    return Answered(material.ids, landmark, score)


def _settings(search: SearchConfig, parts: Sequence[str]) -> SearchConfig:
    """Settings of the vote, without the parts that are not in the recipe."""
    return replace(search, neighbours=search.neighbours if "vote" in parts else 1,
                   margin=search.margin if "margin" in parts else 0.0)  # fmt: skip


def submit_recipe(
    runs: Sequence[Run], data: GoogleLandmarks, recipe: str | Sequence[str], out: str | Path, *,
    search: SearchConfig | None = None, parts: PartWeights | None = None, progress: bool = True,
) -> dict:  # fmt: skip
    """Write the submission of a recipe: a row for every test image, empty where it cannot be read.

    Args:
        runs: finished runs; several are an ensemble.
        data: with train.csv and the test images.
        recipe: its name, or its parts.
        out: file to write.
        search, parts: settings, as of `Material`.
        progress: show bars.

    Returns:
        rows, answers, and bad: image id → why it could not be read.

    Raises:
        InputError: as of `answer`, or scores that are not numbers.
    """
    material = Material(runs, data, search=search, parts=parts, progress=progress)
    answers, ids = answer(material, recipe).mapping(), data.test["id"].tolist()
    rows = [answers.get(image_id, (None, None)) for image_id in ids]
    write_submission(out, ids, [row[0] for row in rows], [row[1] for row in rows])
    return {"rows": len(ids), "answers": len(answers), "bad": material.bad}
