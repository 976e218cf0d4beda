"""What is saved of a run: whole, of this run alone, and what a later start needs is in it."""

import json
import shutil

import pandas as pd
import pytest
import torch

from landmark.data.folder import GoogleLandmarks
from landmark.data.images import image_path
from landmark.training import run as training_run
from landmark.training import step, trainer
from landmark.training.checkpoints import Checkpoints
from landmark.training.config import TrainConfig
from landmark.training.splits import Split, split_dev
from landmark.training.state import State, open_state
from landmark.training.step import Learning, train_step
from landmark.training.trainer import fit
from landmark.utils.errors import InputError
from tests.helpers import LOGGED, Killed, Small, same

CONFIG = TrainConfig(
    model="resnet50", size=32, batch_size=4, steps=4, min_images=2, dev_fraction=0.3, weights="none", lr=0.01
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    def create(name, classes, *, weights=None, freeze=0, seed=0, **more):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Small(classes)

    monkeypatch.setattr(step, "create_model", create)
    monkeypatch.setattr(training_run, "create_model", create)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """Train on a folder, die after two steps; then let trainings live."""

    def start(root):
        def deadly(learning, batch, number, *more):
            if number == 2:
                raise Killed
            return train_step(learning, batch, number, *more)

        monkeypatch.setattr(trainer, "train_step", deadly)
        with pytest.raises(Killed):
            fit(CONFIG, root, tmp_path / "run", workers=0, progress=False, save_steps=1)
        monkeypatch.setattr(trainer, "train_step", train_step)
        return tmp_path / "run"

    return start


def _tables(split):
    return split.train.to_csv(), split.dev.to_csv(), split.duplicates, split.notes


def test_a_split_comes_back_as_it_was(tmp_path, folder):
    """Fails when rows change sides or their order, or pairs of duplicates point at other images."""
    table = GoogleLandmarks(folder).train
    split = split_dev(table, folder, 0.3)
    assert split.duplicates and not table["id"].is_monotonic_increasing
    torch.save(split.packed, tmp_path / "split.pt")
    saved = torch.load(tmp_path / "split.pt", weights_only=True)
    assert _tables(Split.of(table, saved)) == _tables(split)
    empty = Split(table[:3], table[3:].reset_index(drop=True), [], ["a note"])
    assert _tables(Split.of(table, empty.packed)) == _tables(empty)


def test_progress_comes_back_as_it_was(tmp_path):
    """Fails when a number of the log loses a bit, or a field of the state is forgotten."""
    table = pd.DataFrame({"id": ["0" * 16, "1" * 16], "landmark_id": [1, 1]})
    split, network = Split(table[:1], table[1:].reset_index(drop=True), []), Small(3)
    ranges = {"conv": {"shape": [1, 2], "channels": torch.rand(3, 2)}}
    state = State(split, 7, [{"step": 5, "dev_gap": 0.1}], [(1 / 3, 4.0)], 1.5, 0.1, {"0": "gone"}, "ab", ranges)
    Checkpoints(tmp_path).save(7, state.pack(network.state_dict(), Learning.of(network, CONFIG), "float32"))
    saved = open_state(tmp_path, "float32")
    back = State.of(saved, Split.of(table, saved["split"]))
    assert _tables(back.split) == _tables(split) and torch.equal(
        back.ranges["conv"]["channels"], ranges["conv"]["channels"]
    )
    names = ("step", "rows", "losses", "seconds", "best", "bad", "weights")
    assert [getattr(back, name) for name in names] == [getattr(state, name) for name in names]
    with pytest.raises(InputError, match="computed in float32 until it stopped, here it would be bfloat16"):
        open_state(tmp_path, "bfloat16")


def test_a_run_in_former_integers_is_refused(tmp_path, world, stopped):
    """Fails when a state with ranges of other integers goes on in these, or the way out names this same precision."""
    states = Checkpoints(stopped(world))
    saved = states.load() | {"precision": "float32, int8 summed in 32 bits"}
    states.save(json.loads(saved["kept"])["step"] + 1, saved)
    with pytest.raises(InputError, match="summed in 32 bits until it stopped.*go on with the version that began it"):
        open_state(tmp_path / "run", "float32, int8 of torch's FBGEMM")


def test_a_row_of_the_log_by_hand():
    """Fails when the mean loss is not one of images, the speed counts earlier rows, or an equal score is a better one."""
    state = State(None, 6, [{"seconds": 1.0}], [(1.0, 2.0), (4.0, 1.0)], 2.5, 0.2)
    assert state.log({"dev_gap": 0.3}, 4, 0.01)
    assert state.rows[1] == {"step": 6, "epoch": 1.5, "seconds": 2.5, "train_loss": 2.0, "dev_gap": 0.3,
                             "images_per_second": 2.0, "lr": 0.01}  # fmt: skip
    assert state.losses == [] and state.best == 0.3 and not state.log({"dev_gap": 0.3}, 4, 0.01)


def test_a_run_goes_on_with_its_own_split(tmp_path, world, stopped, monkeypatch):
    """Fails when a stopped run divides its images again, and one that was scored on is learnt from by then."""
    root = shutil.copytree(world, tmp_path / "data")
    path = stopped(root)
    table = GoogleLandmarks(root).labelled(2)
    before = split_dev(table, root, 0.3)
    for image_id in before.dev["id"]:
        image_path(root, "train", image_id).write_bytes(b"<html>")
    assert set(split_dev(table, root, 0.3).dev["id"]) != set(before.dev["id"]), "worked out again, it is another one"
    monkeypatch.setattr(trainer, "split_dev", None)
    run = fit(CONFIG, root, path, workers=0, progress=False)
    assert run.result["dev_images"] == len(before.dev)
    assert set(before.dev["id"]) <= run.result["bad_images"].keys(), "still the ones that it is scored on"


def test_a_state_from_before_splits_were_saved(tmp_path, world, stopped):
    """Fails when a state of an older version, which holds no split and no hash of weights, no longer opens."""
    whole = fit(CONFIG, world, tmp_path / "whole", workers=0, progress=False)
    path = stopped(world)
    state = Checkpoints(path).load()
    older = {key: value for key, value in state.items() if key not in ("split", "weights_sha256")}
    assert older.keys() == {"model", "adam", "scaler", "kept", "ranks", "ranges", "precision"}
    assert json.loads(older["kept"]).keys() == {"step", "rows", "losses", "seconds", "best", "bad"}
    Checkpoints(path).clear()
    Checkpoints(path).save(2, older)
    run = fit(CONFIG, world, path, workers=0, progress=False)
    assert same(run, whole) and run.metrics[LOGGED].equals(whole.metrics[LOGGED])
