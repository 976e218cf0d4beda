"""Predictions: softmax by hand, several ranks merged, a row for every image."""

import numpy as np
import pytest
import torch
from torch import nn

from landmark.data.dataset import Bad, Batch
from landmark.data.folder import LabelMap
from landmark.data.loader import Quarantine
from landmark.evaluation import prediction
from landmark.evaluation.prediction import Predictions, merged
from landmark.utils.errors import InputError
from tests.helpers import Small


def test_merged_counts_an_image_once():
    """Fails when padding or a repeated image counts twice in GAP."""
    parts = [Predictions(["b", "a"], np.array([1, 0]), np.array([0.5, 0.25]), np.zeros(2), [Bad("x", "empty file")]),
             Predictions(["a", "c"], np.array([0, 2]), np.array([0.25, 0.1]), np.zeros(2), [Bad("x", "empty file")])]  # fmt: skip
    whole = merged(parts)
    assert whole.ids == ["a", "b", "c"] and whole.class_index.tolist() == [0, 1, 2] and len(whole.bad) == 1
    assert whole.score.tolist() == [0.25, 0.5, 0.1]


def test_predictions_are_softmax_and_restore_the_mode(world):
    """Fails when the score is a logit, a bad image is dropped silently, or the model stays in evaluation mode."""
    torch.manual_seed(0)
    model = Small(3).train()
    images = torch.randn(4, 3, 32, 32)
    loader = [Batch(images, torch.tensor([0, 1, 2, -1]), list("abcd"), [Bad("e", "empty file")])]
    found = prediction.predict(model, loader)
    assert model.training and found.ids == list("abcd") and found.bad[0].image_id == "e"
    with torch.no_grad():
        logits = model.eval()(images)
    assert np.allclose(found.score, logits.softmax(1).max(1).values, atol=0.02)
    assert np.allclose(
        found.loss[:3], nn.functional.cross_entropy(logits[:3], torch.tensor([0, 1, 2]), reduction="none"), atol=0.05
    )
    assert np.isnan(found.loss[3])
    assert found.mapping(LabelMap([7, 8, 9]))["a"][0] == 7 + found.class_index[0]
    with pytest.raises(InputError, match="limit 0"):
        prediction.predict(model, loader, quarantine=Quarantine(0))


def test_submission_has_a_row_for_every_image(tmp_path, world):
    """Fails when an unreadable image loses its row, or the order of the test table changes."""
    found = prediction.Predictions(["b", "a"], np.array([1, 0]), np.array([0.5, 0.25]), np.zeros(2), [])
    found.write(tmp_path / "s.csv", LabelMap([7, 8]), ["a", "x", "b"])
    assert (tmp_path / "s.csv").read_text().splitlines() == ["id,landmarks", "a,7 0.25", "x,", "b,8 0.5"]
