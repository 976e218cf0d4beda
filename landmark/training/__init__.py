"""A run, start to finish.

checkpoints  Saved states of a stopped run: `state-<step>-<hash>.pt`, the newest two kept, each whole or not there.
config       The settings of a training run, checked when they are made.
frozen       What frozen stages make of images, computed once for all runs.
predict_run  What a run answers: a record kept beside it, or a submission.
run          A training run as a folder: its labels, log, checkpoints and result.
splits       Train and dev rows that share no photograph, neither by id nor by likeness.
state        What is saved of a run while it lasts.
step         One step of learning: a batch goes in, weights move.
trainer      Training, start to finish.
"""

from typing import TYPE_CHECKING

from landmark.utils.faces import lazy

if TYPE_CHECKING:  # the names and their homes: what `lazy` loads when one is first asked for
    from landmark.training.config import TrainConfig
    from landmark.training.frozen.maps import FrozenMaps
    from landmark.training.predict_run import predict_table, submit
    from landmark.training.run import Run, open_run, saved_config
    from landmark.training.splits import Split, split_dev
    from landmark.training.step import Learning, train_step
    from landmark.training.trainer import Trainer, fit

__all__ = [
    "FrozenMaps",
    "Learning",
    "Run",
    "Split",
    "TrainConfig",
    "Trainer",
    "fit",
    "open_run",
    "predict_table",
    "saved_config",
    "split_dev",
    "submit",
    "train_step",
]

__getattr__, __dir__ = lazy(__name__, __file__)
