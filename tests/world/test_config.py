"""Settings of a world: those out of range are refused before anything is made."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from landmark.utils.errors import InputError
from landmark.world.config import WorldConfig
from landmark.world.make import make_world


@pytest.mark.parametrize(
    "settings",
    [{"landmarks": 0}, {"nonlandmarks": -1}, {"size": 2.5}, {"known": 1.2}, {"known": 0.8, "unknown": 0.4}, {"colour": 1}, {"seed": -1},
     {"images": True}, {"unknown": float("nan")}, {"size": "64"}],
)  # fmt: skip
def test_bad_settings_are_named(tmp_path, settings):
    """Fails when a setting out of range starts to render, or the message does not say which one it is."""
    with pytest.raises(InputError, match=next(iter(settings))):
        make_world(tmp_path / "w", progress=False, **settings)
    assert not list(tmp_path.iterdir())


def test_the_edges_are_in_range():
    """Fails when a bound is taken for its neighbour, or rounding makes three tenths and seven tenths too many."""
    for settings in (
        {"landmarks": 1, "images": 2, "test": 0, "size": 32},
        {"known": 0.3, "unknown": 0.7},
        {"known": 1, "unknown": 0},
    ):
        WorldConfig(**settings)
    for settings in ({"size": 31}, {"images": 1}, {"siblings": 0}, {"test": 500_001}):
        with pytest.raises(InputError):
            WorldConfig(**settings)


def test_numbers_of_numpy_are_plain_ones():
    """Fails when settings that come from a table or a grid cannot be written as JSON, or are other settings."""
    config = WorldConfig(landmarks=np.int64(3), size=np.int32(64))
    assert config == WorldConfig(landmarks=3, size=64) and json.loads(json.dumps(asdict(config)))["size"] == 64


def test_the_filter_is_a_third_of_the_images():
    """Fails when the filter keeps landmarks of one image, or drops those of the label set: 60 images, at least 20."""
    assert [WorldConfig(images=n).min_images for n in (2, 6, 8, 60)] == [2, 2, 2, 20]


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
