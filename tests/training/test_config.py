"""Settings that cannot be meant are refused."""

from dataclasses import replace

import pytest

from landmark.training.config import TrainConfig
from landmark.utils.errors import InputError


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"model": "vgg"}, "resnet50"), ({"lr": float("nan")}, "lr"), ({"lr": 0}, "lr"), ({"steps": 5, "epochs": 1}, "both"), ({"steps": 0}, "steps"),
     ({"batch_size": 1}, "batch_size"), ({"dev_fraction": 1.0}, "dev_fraction"), ({"size": 2.5}, "size"), ({"bad_limit": -1}, "bad_limit"), ({"int8": True}, "block7"), ({"int8": 1, "freeze": "block7"}, "int8"),
     ({"loss": "hinge"}, "no loss 'hinge': choose one of cross_entropy"), ({"loss": "arcface", "head": "mlp"}, "loss=arcface .*head=mlp .*cosine, subcenter"),
     ({"loss": "bce", "label_smoothing": 0.1}, "label_smoothing"), ({"nonlandmarks": 0.5}, "loss=cross_entropy .*uniform, bce, bce_ranked"),
     ({"head": "tail"}, "no head"), ({"temperature": 0}, "temperature"), ({"temperature": 2.0}, "spatial"), ({"root": True}, "cbp"), ({"l2": 1}, "l2=1: give true or false"),
     ({"label_smoothing": 1}, "label_smoothing"), ({"nonlandmarks": -1}, "nonlandmarks")],
)  # fmt: skip
def test_settings_that_cannot_be_meant(settings, word):
    """Fails when a nonsense setting trains for an hour first."""
    with pytest.raises(InputError, match=word):
        TrainConfig(**settings)


def test_what_follows_from_the_loss():
    """Fails when a margin loss trains on a head without cosines, or a loss for images without a landmark sees none."""
    heads = {loss: TrainConfig(loss=loss).network["head"] for loss in ("cross_entropy", "arcface", "subcenter_arcface")}
    assert heads == {"cross_entropy": "mlp", "arcface": "cosine", "subcenter_arcface": "subcenter"}
    assert TrainConfig(loss="cosface", head="subcenter").network["head"] == "subcenter"
    assert [TrainConfig(loss=x).without for x in ("cross_entropy", "bce", "uniform")] == [0, 0.2, 0.2]
    assert TrainConfig(loss="bce", nonlandmarks=0.0).without == 0
    assert replace(TrainConfig(), loss="arcface").network["head"] == "cosine", "what is left out follows a change"
