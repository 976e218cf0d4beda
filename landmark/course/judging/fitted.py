"""Rules of confidence that are fitted: on a run's train images, on images without a landmark, on answers.

Beside the rules of `evaluation.confidence`, which read the prediction record alone. A fitted rule is a function of the
record as well, of one that was made with `KEEP`; the answer stays the class of the largest logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from landmark.course.answers import test_predictions, truth_of
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.confidence import RULES, Evidence, Rule, temperature_softmax
from landmark.evaluation.metrics import auroc
from landmark.evaluation.report.calibration import fit_temperature
from landmark.retrieval.vectors.likeness import (
    centre_similarity,
    class_centres,
    neighbour_similarity,
    penalised_similarity,
)
from landmark.training.predict_run import predict_table
from landmark.training.run import Run
from landmark.utils.errors import InputError

KEEP = ("embedding", "logits")  # of the records that the rules read
NEIGHBOURS = (1, 5, 10, 20)  # k of which one is chosen


@dataclass(frozen=True, kw_only=True)
class FittedRules:
    """What the fitted rules of one run rest on.

    Args:
        temperature: of the softmax.
        train: (M, D) embeddings of the run's train images.
        centres: (C, D) of their classes, see `class_centres`.
        others: (L, D) embeddings of images without a landmark; none, and the penalised rule is not there.
        k: which nearest train image counts.
        penalised_k: the same of the penalised rule.
    """

    temperature: float
    train: np.ndarray
    centres: np.ndarray
    others: np.ndarray
    k: int = 1
    penalised_k: int = 1

    @classmethod
    def fit(
        cls, train: np.ndarray, class_index: np.ndarray, others: np.ndarray, embedding: np.ndarray, logits: np.ndarray,
        correct: np.ndarray, neighbours: Sequence[int] = NEIGHBOURS,
    ) -> FittedRules:  # fmt: skip
        """Fit the rules; k has the largest AUROC of right answers against all others, and is the least in a tie.

        Args:
            train: (M, D) embeddings of train images.
            class_index: (M,) int, their classes.
            others: (L, D) embeddings of images without a landmark; L may be 0.
            embedding: (N, D) of images that are neither trained on nor reported.
            logits: (N, K) of the same.
            correct: (N,) bool, whether each answer is right; those to unknown landmarks and distractors are not.
            neighbours: what k may be; those above M are left out.

        Raises:
            InputError: answers that are all right or all wrong, or no train image.
        """
        if not len(train):
            raise InputError("0 train images: a run's rules are fitted on those it learnt from")
        correct, temperature = np.asarray(correct, bool), fit_temperature(logits, correct)

        def best(score: Callable[[int], np.ndarray]) -> int:
            scores = {k: score(k) for k in neighbours if k <= len(train)}
            return max(scores, key=lambda k: (auroc(scores[k][correct], scores[k][~correct]), -k), default=1)

        k, penalised_k = best(lambda k: neighbour_similarity(embedding, train, k)), 1
        if len(others):
            penalised_k = best(lambda k: penalised_similarity(embedding, train, others, k))
        return cls(temperature=temperature, train=train, centres=class_centres(train, class_index), others=others,
                   k=k, penalised_k=penalised_k)  # fmt: skip

    def rules(self) -> dict[str, Rule]:
        """List all rules by name: those of the record, then the fitted ones.

        softmax, logit, margin, energy: see `confidence`. temperature: max softmax(z / T). centre: cosine to the nearest
        class centre. neighbour: cosine to the k-th nearest train image, which falls with the distance
        sqrt(2 − 2 · cosine) of unit embeddings. penalised: the same less the mean cosine to the nearest images without
        a landmark.

        Source: Guo et al., 2017 (temperature); Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors,
        2022 (neighbour); the first places of Google Landmark Recognition 2020 and 2021 (penalised).
        """
        fitted: dict[str, Rule] = {
            "temperature": lambda answers: temperature_softmax(_kept(answers, "logits"), self.temperature),
            "centre": lambda answers: centre_similarity(_kept(answers, "embedding"), self.centres),
            "neighbour": lambda answers: neighbour_similarity(_kept(answers, "embedding"), self.train, self.k),
        }
        if len(self.others):
            fitted["penalised"] = lambda answers: penalised_similarity(
                _kept(answers, "embedding"), self.train, self.others, self.penalised_k
            )
        return RULES | fitted


def _kept(answers: Evidence, name: str) -> np.ndarray:
    column = getattr(answers, name)
    if column is None:
        raise InputError(f"the record holds no {name}: predict with keep={list(KEEP)}")
    return column


def fit_rules(run: Run, data: GoogleLandmarks, fitted_on: GoogleLandmarks) -> FittedRules:
    """Fit the rules of a run: on its train images, on images without a landmark, and on its answers to a dev world.

    Args:
        run: a finished run of a network that shows embeddings.
        data: with the run's train images, and those without a landmark under nonlandmark/, if there are any.
        fitted_on: a dev world: temperature and k are chosen by the run's answers to its test images.

    Raises:
        InputError: as of `FittedRules.fit`, or train images that are not in the folder.
    """
    table = data.labelled()
    sides = run.sides
    chosen = (
        table["landmark_id"].isin(run.labels.landmark_ids)
        if sides is None
        else table["id"].isin(sides["id"][sides["side"] == "train"])
    )
    if not chosen.any():
        raise InputError(f"{data.root}: none of the train images of {run.path}: give the data that it was trained on")
    table = table[chosen]
    train = predict_table(run, table, data.root, "train", keep=["embedding"])
    landmark = dict(zip(table["id"], table["landmark_id"], strict=True))
    classes = np.array([run.labels.to_index(landmark[image_id]) for image_id in train.ids])
    bare = data.nonlandmark[["id"]]
    others = np.zeros((0, _kept(train, "embedding").shape[1]), np.float32)
    if len(bare):
        others = _kept(predict_table(run, bare, data.root, "nonlandmark", keep=["embedding"]), "embedding")
    answers, truth = test_predictions(run, fitted_on, KEEP), truth_of(fitted_on)
    scored = np.array([image_id in truth for image_id in answers.ids], bool)
    correct = np.array([run.labels.to_landmark(int(k)) in truth.get(i, ())
                        for i, k in zip(answers.ids, answers.class_index, strict=True)])  # fmt: skip
    return FittedRules.fit(_kept(train, "embedding"), classes, others, _kept(answers, "embedding")[scored],
                           _kept(answers, "logits")[scored], correct[scored])  # fmt: skip
