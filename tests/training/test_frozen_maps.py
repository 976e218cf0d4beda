"""Maps kept for all epochs: against the images they stand for, through kills, on full disks. A real ResNet50."""

import collections
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landmark.data.dataset import Bad, LandmarkDataset, train_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.models.frozen import Learner
from landmark.models.int8 import has_int8
from landmark.training import frozen_maps, trainer
from landmark.training.config import TrainConfig
from landmark.training.frozen_maps import Views
from landmark.training.step import train_step
from landmark.training.trainer import fit
from landmark.utils import distributed
from landmark.utils.errors import InputError
from tests.helpers import LOGGED, Killed
from tests.helpers import same as same_weights

INT8 = has_int8(torch.device("cpu"))
CONFIG = TrainConfig(
    model="resnet50", size=32, batch_size=4, epochs=3, min_images=2, dev_fraction=0.3, weights="none", lr=0.01,
    freeze="layer3", int8=INT8,
)  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(frozen_maps, "PIECE", 3)


@pytest.fixture
def dataset(world):
    table = GoogleLandmarks(world).train
    both = train_transform(32, (0.5,) * 3, (0.5,) * 3)
    return LandmarkDataset(table, world, "train", LabelMap(table["landmark_id"]), *both, seed=5)


def maps(images):
    """Stand-in for frozen stages: smaller, in bytes, and another map for another flip or shift."""
    return (images[..., ::8, ::8] * 50 + 128).to(torch.uint8)


def filled(dataset, count, folder):
    kept = Views(dataset, count, folder)
    collections.deque(kept.fill(maps), 0)
    return kept


def same(run, other):
    return same_weights(run, other) and run.metrics[LOGGED].equals(other.metrics[LOGGED])


def test_epochs_see_the_views_in_turn(tmp_path, dataset):
    """Fails when a map is another image's, another view's or another label's, or a bad image shifts those after it."""
    kept, bad = filled(dataset, 2, tmp_path), 0
    for epoch in range(5):
        for index in range(len(dataset)):
            expected, found = dataset[epoch % 2, index], kept[epoch, index]
            if isinstance(expected, Bad):
                bad += 1
                assert found == expected
            else:
                assert torch.equal(found.image, maps(expected.image[None])[0])
                assert (found.label, found.image_id) == (expected.label, expected.image_id)
    assert bad and len(kept) == len(dataset) and kept.shape == (3, 4, 4)
    pairs = [(kept[0, i], kept[1, i]) for i in range(len(dataset))]
    assert any(not torch.equal(a.image, b.image) for a, b in pairs if not isinstance(a, Bad)), "views differ"


def test_with_a_view_for_each_epoch_it_learns_what_it_does_without(tmp_path, world):
    """Fails when kept maps differ from those computed on the way: rounding, order, augmentation or bad images."""
    without = fit(CONFIG, world, tmp_path / "without", workers=0, progress=False)
    found = fit(replace(CONFIG, views=7), world, tmp_path / "with", workers=0, progress=False)
    assert found.result["bad_images"] == without.result["bad_images"] != {}
    if INT8:  # integers do not depend on the size of the batch
        assert same(found, without)
    assert np.allclose(found.metrics[LOGGED], without.metrics[LOGGED], rtol=1e-3, atol=1e-4)
    assert not (found.path / "views").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_anywhere_it_ends_the_same_and_computes_no_view_twice(tmp_path, world, monkeypatch, workers):
    """Fails when a kill among the views or the steps changes a bit, or throws away files that were whole."""
    monkeypatch.setattr(trainer, "IN_MEMORY", 0)
    config = replace(CONFIG, views=2)
    whole = fit(config, world, tmp_path / "whole", workers=workers, progress=False)
    calls, limit, real = [], [4], Learner.maps

    def counted(self, images):
        if len(calls) == limit[0]:
            raise Killed
        calls.append(1)
        return real(self, images)

    def deadly(learning, batch, number, *more):
        if number == 3:
            raise Killed
        return train_step(learning, batch, number, *more)

    monkeypatch.setattr(Learner, "maps", counted)
    monkeypatch.setattr(trainer, "train_step", deadly)
    for limit[0] in (4, 100):
        with pytest.raises(Killed):
            fit(config, world, tmp_path / "run", workers=workers, progress=False, save_steps=2)
    files = len(list((tmp_path / "run" / "views").glob("*.safetensors")))
    assert files > 4 and len(calls) == 1 + 3 + 1 + files - 3, "a blank image in each start, then every file once"
    monkeypatch.setattr(trainer, "train_step", train_step)
    run = fit(config, world, tmp_path / "run", workers=workers, progress=False)
    assert same(run, whole) and len(calls) == files + 3


def test_asked_to_stop_it_keeps_the_views_it_has(tmp_path, world, monkeypatch):
    """Fails when Ctrl-C among the views waits for all of them, or loses those that were made."""
    fill, scratch = Views.fill, tmp_path / "scratch"

    def interrupted(self, *args):
        for number, batch in enumerate(fill(self, *args)):
            if number == 1:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    monkeypatch.setattr(Views, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(replace(CONFIG, views=2), world, tmp_path / "run", workers=0, progress=False, scratch=scratch)
    (folder,) = scratch.iterdir()
    assert len(list(folder.glob("*.safetensors"))) == 2 and not (tmp_path / "run" / "views").exists()
    monkeypatch.setattr(Views, "fill", fill)
    fit(replace(CONFIG, views=2), world, tmp_path / "run", workers=0, progress=False, scratch=scratch)
    assert not list(scratch.iterdir()), "a finished run leaves the maps to nobody"


def test_views_of_a_start_without_a_state_are_not_trusted(tmp_path, world, monkeypatch):
    """Fails when maps are used whose weights and ranges nobody knows."""
    config = replace(CONFIG, views=2)
    whole = fit(config, world, tmp_path / "whole", workers=0, progress=False)
    real = Learner.maps
    monkeypatch.setattr(Learner, "maps", lambda self, images: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        fit(config, world, tmp_path / "run", workers=0, progress=False)
    monkeypatch.setattr(Learner, "maps", real)
    for state in (tmp_path / "run").glob("state*"):
        state.unlink()
    for name in ("000-0000000.safetensors", ".x.part"):
        (tmp_path / "run" / "views" / name).write_bytes(b"of another network")
    assert same(fit(config, world, tmp_path / "run", workers=0, progress=False), whole)


def test_a_rank_that_comes_late_makes_its_own_share(tmp_path, dataset, monkeypatch):
    """Fails when ranks share out what each finds missing, while another writes already: some files nobody makes."""
    first = Views(dataset, 2, tmp_path)
    files = first.missing()
    next(first.fill(maps))
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "gather", lambda own: [files, own])
    assert len(filled(dataset, 2, tmp_path).missing()) == len(files[2::2])
    assert set(first.missing()) == set(files[2::2])


def test_a_disk_without_room_is_told_before_the_work(tmp_path, dataset, monkeypatch):
    """Fails when an hour of maps ends in a full disk that could have been foreseen."""
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr("landmark.utils.errors.shutil.disk_usage", lambda folder: usage(0, 0, 10))
    with pytest.raises(InputError, match=r"need .* have 10 B free: ask for fewer views than 2"):
        filled(dataset, 2, tmp_path / "views")
    assert not list((tmp_path / "views").iterdir())


def test_a_write_that_fails_leaves_no_half_file(tmp_path, dataset, monkeypatch):
    """Fails when a full disk shows a traceback, or leaves a file that a later start takes for whole."""

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frozen_maps, "save_file", full)
    with pytest.raises(InputError, match="000-0000000.safetensors: cannot be written .*No space left.*goes on"):
        filled(dataset, 2, tmp_path)
    assert not list(tmp_path.iterdir())


def test_damage_is_named(tmp_path, dataset):
    """Fails when a file cut short, or one that is gone, is a traceback or a wrong map."""
    kept = filled(dataset, 1, tmp_path)
    path = tmp_path / "000-0000000.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="000-0000000.safetensors: damaged .*delete it"):
        kept[0, 0]
    path.unlink()
    with pytest.raises(InputError, match="000-0000000"):
        kept[4, 1]


def test_views_need_frozen_stages():
    """Fails when a run asks for views of stages that change with every step, or have no name."""
    with pytest.raises(InputError, match="views is for stages that do not train, and freeze=85"):
        TrainConfig(views=2)
    with pytest.raises(InputError, match="views=-1"):
        TrainConfig(views=-1, freeze="block7")
