"""Settings that cannot be meant are refused."""

import pytest

from landmark.training.config import TrainConfig
from landmark.utils.errors import InputError


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"model": "vgg"}, "resnet50"), ({"lr": float("nan")}, "lr"), ({"lr": 0}, "lr"), ({"steps": 5, "epochs": 1}, "both"), ({"steps": 0}, "steps"),
     ({"batch_size": 1}, "batch_size"), ({"dev_fraction": 1.0}, "dev_fraction"), ({"size": 2.5}, "size"), ({"bad_limit": -1}, "bad_limit"), ({"int8": True}, "block7"), ({"int8": 1, "freeze": "block7"}, "int8")],
)  # fmt: skip
def test_settings_that_cannot_be_meant(settings, word):
    """Fails when a nonsense setting trains for an hour first."""
    with pytest.raises(InputError, match=word):
        TrainConfig(**settings)
