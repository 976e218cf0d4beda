"""Closed and open scores of a run, against the functions they are made of."""

import json

import pytest
import torch

from landmark.course import tables
from landmark.data.folder import GoogleLandmarks
from landmark.training import run as training_run
from landmark.training import step
from landmark.training.config import TrainConfig
from landmark.training.trainer import fit
from tests.helpers import Small


@pytest.fixture(autouse=True)
def small(monkeypatch):
    def create(name, classes, *, weights=None, freeze=0, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Small(classes)

    monkeypatch.setattr(step, "create_model", create)
    monkeypatch.setattr(training_run, "create_model", create)


CONFIG = TrainConfig(
    model="resnet50", size=32, batch_size=4, steps=5, min_images=2, dev_fraction=0.3, weights="none", lr=0.01
)


def test_closed_and_open_scores(tmp_path, world):
    """Fails when the closed score counts a distractor, or the kept predictions differ from fresh ones."""
    run, data = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False), GoogleLandmarks(world)
    scores = tables.test_scores(run, data, n=20)
    assert scores["closed_low"] <= scores["closed"] <= scores["closed_high"] and 0 <= scores["open"] <= scores["closed"]
    assert tables.test_scores(run, data, n=20) == pytest.approx(scores)
    assert json.loads((run.path / "result.json").read_text())["classes"] == 3
