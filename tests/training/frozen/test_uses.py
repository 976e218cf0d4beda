"""Runs with frozen stages and their maps: bit for bit what they are without. A real ResNet50."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from landmark.data.folder import GoogleLandmarks
from landmark.models.frozen import Prefix
from landmark.models.int8 import has_int8
from landmark.models.net import create_model
from landmark.training import trainer
from landmark.training.config import TrainConfig
from landmark.training.frozen import maps
from landmark.training.frozen.cache import shelves
from landmark.training.predict_run import predict_table, submit
from landmark.training.step import train_step
from landmark.training.trainer import fit
from landmark.utils.errors import InputError
from tests.helpers import LOGGED, Killed
from tests.helpers import same as same_weights

CONFIG = TrainConfig(
    model="resnet50", size=32, batch_size=4, epochs=2, min_images=2, dev_fraction=0.3, weights="none", lr=0.01,
    freeze="layer3",
)  # fmt: skip
FORMS = [False, pytest.param(True, marks=pytest.mark.skipif(not has_int8(torch.device("cpu")), reason="no int8"))]


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDMARK_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(maps, "PIECE", 3)


@pytest.fixture
def seen(monkeypatch):
    """Images that frozen stages look at, the blank one apart that tells the size of their maps."""
    found, real = [], Prefix.maps

    def counted(self, images):
        found.extend(image for image in images if image.any())
        return real(self, images)

    monkeypatch.setattr(Prefix, "maps", counted)
    return found


def trained(config, world, out, **more):
    return fit(config, world, out, **{"workers": 0, "progress": False} | more)


def same(run, other):
    return same_weights(run, other) and run.metrics[LOGGED].equals(other.metrics[LOGGED])


def answers(run, world):
    data = GoogleLandmarks(world)
    found = predict_table(run, data.test, data.root, workers=0, keep=["embedding", "logits"])
    return {name: column.tobytes() for name, column in found.columns().items()}


@pytest.mark.parametrize("int8", FORMS)
def test_with_maps_it_learns_and_answers_what_it_does_without(tmp_path, world, int8):
    """Fails when kept maps differ from those computed on the way: rounding, order, flips or bad images."""
    config = replace(CONFIG, int8=int8)
    without = trained(config, world, tmp_path / "without")
    assert not shelves()
    found = trained(replace(config, views=7), world, tmp_path / "with")
    assert same(found, without) and found.result["bad_images"] == without.result["bad_images"]
    assert sorted(shelf.basis["transform"] for shelf in shelves()) == ["eval", "train"]
    assert answers(found, world) == answers(without, world)
    for run, name in ((found, "a.csv"), (without, "b.csv")):
        submit(run, GoogleLandmarks(world), tmp_path / name, workers=0, progress=False)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_other_poolings_and_seeds_look_at_no_image_again(tmp_path, world, seen):
    """Fails when a run with another pooling computes maps that are there, or they follow its seed or its split."""
    weights = tmp_path / "w.safetensors"
    save_file(create_model("resnet50", 0, seed=7).backbone.state_dict(), weights)
    config, runs, counts = replace(CONFIG, views=2, weights=str(weights)), [], []
    for name, more in (("a", {}), ("b", {"model": "resnet50_gem"}), ("c", {"seed": 1})):
        runs.append(trained(replace(config, **more), world, tmp_path / name))
        answers(runs[-1], world)
        counts.append(len(seen))
    whole, tests = runs[0].result, predict_table(runs[0], GoogleLandmarks(world).test, world).ids
    assert whole["bad_images"], "and they are not counted"
    train = whole["train_images"] - len(whole["bad_images"])
    assert counts[0] == 2 * train + whole["dev_images"] + len(tests)
    assert counts[1] == counts[0], "the same split: nothing is computed"
    sides = [set(run.sides.query("side == 'dev'")["id"]) for run in (runs[0], runs[2])]
    assert counts[2] - counts[1] == 2 * len(sides[0] - sides[1]) + len(sides[1] - sides[0]) > 0


@pytest.mark.parametrize(("workers", "cleared"), [(0, True), (2, False)])
def test_killed_anywhere_it_ends_the_same(tmp_path, world, monkeypatch, workers, cleared):
    """Fails when a kill among the maps or the steps, or a cache that was cleared after it, changes a bit."""
    monkeypatch.setattr(trainer, "IN_MEMORY", 0)
    config = replace(CONFIG, views=1, int8=has_int8(torch.device("cpu")))
    whole = trained(config, world, tmp_path / "whole", workers=workers)
    for shelf in shelves():
        shelf.drop()
    calls, limit, real = [], [4], Prefix.maps

    def counted(self, images):
        if len(calls) == limit[0]:
            raise Killed
        calls.append(1)
        return real(self, images)

    def deadly(learning, batch, number, *more):
        if number == 3:
            raise Killed
        return train_step(learning, batch, number, *more)

    monkeypatch.setattr(Prefix, "maps", counted)
    monkeypatch.setattr(trainer, "train_step", deadly)
    for limit[0] in (4, 1000):
        with pytest.raises(Killed):
            trained(config, world, tmp_path / "run", workers=workers, save_steps=2)
    monkeypatch.setattr(trainer, "train_step", train_step)
    for shelf in shelves() if cleared else ():
        assert shelf.drop()
    assert same(trained(config, world, tmp_path / "run", workers=workers), whole)


def test_without_room_a_run_is_the_same(tmp_path, world, monkeypatch, log_lines):
    """Fails when a run whose maps find no room sees other flips and shifts, or stops."""
    found = trained(replace(CONFIG, views=1), world, tmp_path / "with")
    monkeypatch.setenv("LANDMARK_CACHE_GB", "0.000001")
    without = trained(replace(CONFIG, views=1), world, tmp_path / "without")
    assert same(found, without) and any("are not kept" in line for line in log_lines)


def test_views_need_frozen_stages():
    """Fails when a run asks for views of stages that change with every step, or have no name."""
    with pytest.raises(InputError, match="views is for stages that do not train, and freeze=85"):
        TrainConfig(views=2)
    with pytest.raises(InputError, match="views=-1"):
        TrainConfig(views=-1, freeze="block7")
