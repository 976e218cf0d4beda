"""Predict, score, explain, doubt.

bootstrap     Intervals of GAP, and of the difference of two models, from resampled test sets. NumPy only.
confidence    How sure a network is of its answer: one number for each image, by a rule that has a name.
label_errors  Labels and turns that a trained network doubts: what to look at first in a data set.
metrics       Scores of landmark recognition and retrieval, with their uncertainty. NumPy only.
neighbours    Exact nearest neighbours by blocked matrix products. NumPy only.
open_world    Scores when the test set shows more than the label set: closed, open, and by kind of image.
prediction    From a model and images to a record of its answers, one for each image.
saliency      Which pixels does a network answer from, and who checks the map?
submission    Read and write submissions: `id,landmarks` with at most one "landmark_id score" a row.
write         A submission written while predicting: constant memory, several ranks, and it goes on where it stopped.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.evaluation.bootstrap import gap_bootstrap, paired_gap_bootstrap
    from landmark.evaluation.confidence import (
        RULES,
        Evidence,
        temperature_softmax,
    )
    from landmark.evaluation.label_errors import detector_scores, find_suspects
    from landmark.evaluation.metrics import (
        auroc,
        gap_steps,
        global_average_precision,
        mean_average_precision,
        score_summary,
        top1_accuracy,
    )
    from landmark.evaluation.open_world import answers_by_kind, closed_set, gap_against_distractors, restrict
    from landmark.evaluation.prediction import Predictions, predict, predictions
    from landmark.evaluation.report.calibration import reliability
    from landmark.evaluation.report.risk import answered, certified_threshold, operate, plain_threshold, risk_coverage
    from landmark.evaluation.saliency.deletion import deletion_curve, deletion_score, deletion_table
    from landmark.evaluation.saliency.maps import correlation, grad_cam, random_saliency, smooth_grad, vanilla_gradient
    from landmark.evaluation.submission import read_submission, write_submission
    from landmark.evaluation.write import write_predictions

__all__ = [
    "Evidence",
    "Predictions",
    "RULES",
    "answered",
    "answers_by_kind",
    "auroc",
    "certified_threshold",
    "closed_set",
    "correlation",
    "deletion_curve",
    "deletion_score",
    "deletion_table",
    "detector_scores",
    "find_suspects",
    "gap_against_distractors",
    "gap_bootstrap",
    "gap_steps",
    "global_average_precision",
    "grad_cam",
    "mean_average_precision",
    "operate",
    "paired_gap_bootstrap",
    "plain_threshold",
    "predict",
    "predictions",
    "random_saliency",
    "read_submission",
    "reliability",
    "restrict",
    "risk_coverage",
    "score_summary",
    "smooth_grad",
    "temperature_softmax",
    "top1_accuracy",
    "vanilla_gradient",
    "write_predictions",
    "write_submission",
]

__getattr__, __dir__ = lazy(__name__, __file__)
