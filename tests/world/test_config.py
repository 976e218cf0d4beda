"""Settings of a world that cannot be meant are refused."""

import numpy as np
import pytest

from landmark.utils.errors import InputError
from landmark.world.config import WorldConfig


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"landmarks": 0}, "landmarks=0: give a whole number from 1 to 20000"), ({"size": 31}, "from 32 to 2048"),
     ({"seed": -1}, "seed=-1"), ({"test": 1.5}, "test=1.5"), ({"known": 1.1}, "known=1.1"), ({"unknown": -0.1}, "unknown"),
     ({"known": 0.7, "unknown": 0.4}, "more than all"), ({"pretraining": 1}, "true or false")],
)  # fmt: skip
def test_settings_that_cannot_be_meant(settings, words):
    """Fails when a world of nonsense is begun, or the message does not say what is wrong."""
    with pytest.raises(InputError, match=words):
        WorldConfig(**settings)


def test_numbers_of_numpy_are_settings():
    """Fails when a world asked for with NumPy's numbers cannot be noted as JSON."""
    assert type(WorldConfig(images=np.int64(9)).images) is int and WorldConfig(known=1, unknown=0).known == 1
