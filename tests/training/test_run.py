"""A run's folder: what stands in it, what it refuses, how damage is named."""

import numpy as np
import pytest

from landmark.data.folder import GoogleLandmarks
from landmark.training import run as training_run
from landmark.training.config import TrainConfig
from landmark.training.run import open_run
from landmark.training.splits import split_dev
from landmark.training.trainer import fit
from landmark.utils.errors import InputError
from tests.helpers import CONFIG, Small

pytestmark = pytest.mark.usefixtures("small_networks")


def test_a_run_and_its_files(tmp_path, world):
    """Fails when a file of the run is missing, the log has other columns, or a finished run is trained again."""
    run = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    names = {p.name for p in run.path.iterdir()}
    weights = {"best.safetensors", "last.safetensors"}
    assert names == {"config.json", "labels.json", "metrics.csv", "split.csv", "result.json"} | weights
    assert tuple(run.metrics.columns) == training_run.LOG and run.metrics["step"].iloc[-1] == 5
    assert np.isfinite(run.metrics[["train_loss", "dev_loss", "dev_gap"]]).all().all()
    before = (run.path / "best.safetensors").stat().st_mtime_ns
    assert fit(CONFIG, world, tmp_path / "run", workers=0, progress=False).result == run.result
    assert (run.path / "best.safetensors").stat().st_mtime_ns == before
    assert len(run.labels) == 3 and run.result["bad_images"]


def test_numbers_that_a_network_learns_stand_in_the_log(tmp_path, world, monkeypatch):
    """Fails when γ is not logged, is logged as it was before learning, or takes another column's place."""
    seen = iter([0.1, 0.2, 0.3, 0.4, 0.5])
    monkeypatch.setattr(Small, "learnt_numbers", lambda self: {"gamma": next(seen)})
    run = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False, tensorboard=True)
    assert tuple(run.metrics.columns) == (*training_run.LOG, "gamma")
    assert run.metrics["gamma"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5][: len(run.metrics)]


def test_a_run_knows_its_images(tmp_path, world):
    """Fails when train and dev are exchanged, cut without notice, or an older run without the list does not open."""
    run = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    table = GoogleLandmarks(world).labelled(CONFIG.min_images)
    split = split_dev(table, world, CONFIG.dev_fraction, CONFIG.seed)
    sides = run.sides.set_index("id")
    assert sides.index[sides["side"] == "dev"].tolist() == split.dev["id"].tolist()
    assert sides.index[sides["side"] == "train"].tolist() == split.train["id"].tolist()
    assert sides["landmark_id"].to_dict() == dict(zip(table["id"], table["landmark_id"], strict=True))
    path = run.path / "split.csv"
    text = path.read_text()
    for damaged in (text[: text.rindex("\n", 0, -1) + 1], "id,side\nx,train\n", "", text.replace(",dev", ",x")):
        path.write_text(damaged)
        with pytest.raises(InputError, match=r"split.csv: damaged"):
            _ = open_run(run.path).sides
    path.unlink()
    assert open_run(run.path).sides is None


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
