"""Two runs with a frozen backbone on the small world, trained once."""

from dataclasses import replace

import pytest

from landmark.data.folder import GoogleLandmarks
from landmark.training.trainer import fit
from tests.helpers import CONFIG


@pytest.fixture(scope="session")
def lesson(tmp_path_factory, world):
    """A run of ResNet50, one of Xception, and their data."""
    folder = tmp_path_factory.mktemp("lesson")
    runs = [fit(replace(CONFIG, model=model, steps=1, freeze="all", lr=1e-3), world, folder / model, workers=0,
                progress=False) for model in ("resnet50", "xception")]  # fmt: skip
    return *runs, GoogleLandmarks(world)
