"""A run's folder: what stands in it, what it refuses, how damage is named."""

import numpy as np
import pytest

from landmark.training import run as training_run
from landmark.training.config import TrainConfig
from landmark.training.run import open_run
from landmark.training.trainer import fit
from landmark.utils.errors import InputError
from tests.helpers import CONFIG

pytestmark = pytest.mark.usefixtures("small_networks")


def test_a_run_and_its_files(tmp_path, world):
    """Fails when a file of the run is missing, the log has other columns, or a finished run is trained again."""
    run = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    names = {p.name for p in run.path.iterdir()}
    assert names == {"config.json", "labels.json", "metrics.csv", "best.safetensors", "last.safetensors", "result.json"}
    assert tuple(run.metrics.columns) == training_run.LOG and run.metrics["step"].iloc[-1] == 5
    assert np.isfinite(run.metrics[["train_loss", "dev_loss", "dev_gap"]]).all().all()
    before = (run.path / "best.safetensors").stat().st_mtime_ns
    assert fit(CONFIG, world, tmp_path / "run", workers=0, progress=False).result == run.result
    assert (run.path / "best.safetensors").stat().st_mtime_ns == before
    assert len(run.labels) == 3 and run.result["bad_images"]


def test_other_settings_are_refused(tmp_path, world):
    """Fails when a folder silently mixes two runs."""
    fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    with pytest.raises(InputError, match="lr: 0.01 → 0.02"):
        fit(TrainConfig(**{**CONFIG.__dict__, "lr": 0.02}), world, tmp_path / "run", workers=0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="not a training run"):
        fit(CONFIG, world, tmp_path / "other", workers=0)
    with pytest.raises(InputError, match="not a training run"):
        open_run(tmp_path)


@pytest.mark.parametrize("name", ["best.safetensors", "labels.json", "result.json", "config.json"])
def test_damage_is_named(tmp_path, world, name):
    """Fails when a truncated file of a run is loaded, or its name is not in the message."""
    run = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    path = run.path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=name.split(".")[0]):
        open_run(run.path).model()
