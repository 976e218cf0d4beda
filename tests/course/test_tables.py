"""Closed and open scores of a run, against the functions they are made of."""

import json

import pytest

from landmark.course import tables
from landmark.data.folder import GoogleLandmarks
from landmark.training.trainer import fit
from tests.helpers import CONFIG

pytestmark = pytest.mark.usefixtures("small_networks")


def test_closed_and_open_scores(tmp_path, world):
    """Fails when the closed score counts a distractor, or the kept predictions differ from fresh ones."""
    run, data = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False), GoogleLandmarks(world)
    scores = tables.test_scores(run, data, n=20)
    assert scores["closed_low"] <= scores["closed"] <= scores["closed_high"] and 0 <= scores["open"] <= scores["closed"]
    assert tables.test_scores(run, data, n=20) == pytest.approx(scores)
    assert json.loads((run.path / "result.json").read_text())["classes"] == 3
