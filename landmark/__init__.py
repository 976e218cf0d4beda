"""Landmark recognition: models, honest scores and a miniature world to learn them on.

    utils       the cellar: errors, files, devices, ranks, HTTP
    data        a folder in the GLDv2 layout becomes batches
    models      images become logits
    figures     arrays become figures
    world       the miniature world
    prepare     download, check and shrink a data set
    evaluation  predict, score, explain, doubt
    training    a run, start to finish
    retrieval   photographs find their like: embeddings, neighbours, local features, votes
    course      what the notebooks run and measure
    cli         the command `landmark`

The names below are loaded from their files when first asked for, so that `import landmark` stays light.
"""

import logging
from typing import TYPE_CHECKING

from landmark.utils.faces import lazy
from landmark.utils.process import settle_threads

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.data.dataset import LandmarkDataset, eval_transform, train_transform
    from landmark.data.folder import GoogleLandmarks, LabelMap
    from landmark.data.loader import make_loader
    from landmark.evaluation.bootstrap import gap_bootstrap
    from landmark.evaluation.label_errors import find_suspects
    from landmark.evaluation.metrics import global_average_precision, top1_accuracy
    from landmark.evaluation.prediction import predict
    from landmark.evaluation.saliency.deletion import deletion_score
    from landmark.evaluation.saliency.maps import grad_cam
    from landmark.models.net import create_model
    from landmark.models.recipes import list_models
    from landmark.prepare.check import check_data
    from landmark.prepare.download import fetch_data
    from landmark.prepare.shrink import shrink_data
    from landmark.training.config import TrainConfig
    from landmark.training.run import Run, open_run
    from landmark.training.trainer import fit
    from landmark.utils.device import describe, seed_everything
    from landmark.utils.distributed import launch
    from landmark.utils.errors import InputError
    from landmark.world.config import WorldConfig
    from landmark.world.make import make_world

__all__ = [
    "GoogleLandmarks",
    "InputError",
    "LabelMap",
    "LandmarkDataset",
    "Run",
    "TrainConfig",
    "WorldConfig",
    "check_data",
    "create_model",
    "deletion_score",
    "describe",
    "eval_transform",
    "fetch_data",
    "find_suspects",
    "fit",
    "gap_bootstrap",
    "global_average_precision",
    "grad_cam",
    "launch",
    "list_models",
    "make_loader",
    "make_world",
    "open_run",
    "predict",
    "seed_everything",
    "shrink_data",
    "top1_accuracy",
    "train_transform",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent until asked, see `utils.log.show_log`
settle_threads()  # torch, which is not loaded yet, asks once
__getattr__, __dir__ = lazy(__name__, __file__)
