"""What the processes of test_distributed.py run; importable in each of them."""

import os

import numpy as np
import torch
from torch import nn

from landmark.data.dataset import LandmarkDataset, eval_transform
from landmark.data.folder import GoogleLandmarks
from landmark.data.loader import make_loader
from landmark.evaluation import prediction
from landmark.models.layers import Dropout
from landmark.models.net import create_model
from landmark.training import run, step, trainer
from landmark.utils import distributed
from landmark.utils.errors import InputError


class Plain(nn.Module):
    """A network with dropout and without BatchNorm: what several ranks learn can be compared with what one does."""

    def __init__(self, classes):
        super().__init__()
        self.data_config = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        self.backbone = nn.Conv2d(3, 6, 3, 4)
        self.head = nn.Sequential(Dropout(0.3), nn.Linear(6, classes))

    def forward(self, x):
        return self.head(self.backbone(x).relu().mean((2, 3)))

    def learnt_numbers(self):
        """None: it has no γ and no p."""
        return {}


def create(name, classes, *, weights=None, freeze=0, seed=0, **more):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Plain(classes)


def fit(config, root, out):
    """`trainer.fit` of the plain network, unless stages are frozen."""
    if not isinstance(config.freeze, str):
        step.create_model = run.create_model = create
    trainer.fit(config, root, out, workers=0, progress=False)


def fail_on_rank_one(out):
    """One rank finds bad input while the others wait for it."""
    with distributed.group():
        if distributed.rank() == 1:
            raise InputError("image 0123456789abcdef is on fire")
        distributed.total(1)
        (out / "went on").touch()


def sums(out):
    """What `total` and `gather` say on each rank."""
    with distributed.group():
        text = (
            f"{distributed.size()} {distributed.total(distributed.rank() + 1, 0.5)} {distributed.gather(os.getpid())}"
        )
        (out / f"rank{distributed.rank()}").write_text(text)


def embed(root, out):
    """Each rank embeds its share of the train images; all write what they got."""
    with distributed.group():
        data = GoogleLandmarks(root)
        dataset = LandmarkDataset(data.train, root, "train", None, *eval_transform(32, (0.5,) * 3, (0.5,) * 3))
        model = create_model("resnet50", 3)
        mine = prediction.predict(model, make_loader(dataset, 4, shared=True), keep=["embedding"])
        answers = prediction.merged(distributed.gather(mine))
        np.savez(out / f"rank{distributed.rank()}.npz", ids=np.array(answers.ids), rows=answers.embedding)
