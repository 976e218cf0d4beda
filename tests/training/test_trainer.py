"""Runs: what they write, how they resume, what they refuse. Real JPEGs, a small network in the place of the large ones."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landmark.data import folder
from landmark.data.folder import GoogleLandmarks
from landmark.data.images import image_path
from landmark.models import int8
from landmark.models.frozen import prefix_ranges
from landmark.models.int8 import has_int8
from landmark.models.net import create_model
from landmark.training import checkpoints, splits, step, trainer
from landmark.training import run as training_run
from landmark.training.checkpoints import Checkpoints
from landmark.training.config import TrainConfig
from landmark.training.predict_run import submit
from landmark.training.run import open_run
from landmark.training.step import train_step
from landmark.training.trainer import fit
from landmark.utils import distributed, files
from landmark.utils.errors import ArchiveError, InputError
from landmark.utils.files import atomic_path
from landmark.utils.locks import alone
from tests.helpers import CONFIG, LOGGED, Killed, Small, same

pytestmark = pytest.mark.usefixtures("small_networks")


def test_training_leaves_the_filters_of_warnings(tmp_path, world, overlapping):
    """Fails when Python is silent after a training, because threads that decode changed what it warns of."""
    fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    overlapping()


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_it_learns_where_gradients_are_off(tmp_path, world, mode):
    """Fails when a cell or function that predicts cannot train on the way, or the run then differs."""
    run = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    with mode():
        assert same(fit(CONFIG, world, tmp_path / "other", workers=0, progress=False), run)
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode) and not torch.is_grad_enabled()


def test_a_run_from_before_a_setting_existed(tmp_path, world):
    """Fails when a run whose config.json lacks a newer setting, which is at its default, is refused as another one."""
    run = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    content = json.loads((run.path / "config.json").read_text())
    del content["settings"]["int8"]
    (run.path / "config.json").write_text(json.dumps(content))
    assert fit(CONFIG, world, run.path, workers=0, progress=False).result == run.result
    other = TrainConfig(**CONFIG.__dict__ | {"int8": True, "freeze": "layer1"})
    with pytest.raises(InputError, match="int8: False → True"):
        fit(other, world, run.path, workers=0, progress=False)


@pytest.fixture(scope="module")
def packed(world, tmp_path_factory):
    """The tiny world with its train images in two TARs."""
    root = tmp_path_factory.mktemp("packed")
    shutil.copy(world / "train.csv", root)
    (root / "train").mkdir()
    files = sorted((world / "train").glob("*/*/*/*.jpg"))
    for number in range(2):
        with tarfile.open(root / "train" / f"images_{number:03}.tar", "w") as tar:
            for path in files[number::2]:
                tar.add(path, path.relative_to(world / "train").as_posix())
    return root


@pytest.mark.parametrize("where", ["folder", "tars"])
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_any_step_it_ends_the_same(tmp_path, world, packed, monkeypatch, workers, where):
    """Fails when weights, losses or the order of images after a kill at any step differ by one bit."""
    root = world if where == "folder" else packed
    monkeypatch.setattr(trainer, "IN_MEMORY", 0)  # else small worlds need no workers
    seen, fatal = [], [None]

    def watched(learning, batch, number, *more):
        if number == fatal[0]:
            raise Killed
        seen.append((number, tuple(batch.ids)))
        return train_step(learning, batch, number, *more)

    monkeypatch.setattr(trainer, "train_step", watched)
    whole = fit(CONFIG, root, tmp_path / "whole", workers=workers, progress=False)
    order = list(seen)
    for last in range(1, 5) if workers == 0 else (2,):
        seen.clear()
        fatal[0] = last
        with pytest.raises(Killed):
            fit(CONFIG, root, tmp_path / f"{last}", workers=workers, progress=False, save_steps=2)
        fatal[0] = None
        run = fit(CONFIG, root, tmp_path / f"{last}", workers=workers, progress=False, save_steps=2)
        assert same(run, whole) and run.metrics[LOGGED].equals(whole.metrics[LOGGED])
        assert dict(seen) == dict(order) and len(seen) == len(order) + last % 2, "steps after the last state only"
        assert not list(run.path.glob("state*"))


@pytest.mark.parametrize("int8", [False, True])
def test_with_frozen_stages_a_killed_run_ends_the_same(tmp_path, world, monkeypatch, int8):
    """Fails when the fast form of the frozen stages, or the ranges of their integers, are others after a kill."""
    if int8 and not has_int8(torch.device("cpu")):
        pytest.skip("the chip has no products of bytes")
    monkeypatch.setattr(step, "create_model", create_model)
    monkeypatch.setattr(training_run, "create_model", create_model)
    config = TrainConfig(**CONFIG.__dict__ | {"steps": 3, "freeze": "layer3", "int8": int8})
    whole = fit(config, world, tmp_path / "whole", progress=False)
    revive, measured = _stopped_after(2, monkeypatch), []
    monkeypatch.setattr(step, "prefix_ranges", lambda *args: measured.append(1) or prefix_ranges(*args))
    with pytest.raises(Killed):
        fit(config, world, tmp_path / "run", progress=False, save_steps=1)
    revive()
    run = fit(config, world, tmp_path / "run", progress=False)
    assert same(run, whole) and run.metrics[LOGGED].equals(whole.metrics[LOGGED])
    assert len(measured) == int8, "the ranges of the state are used"
    start = create_model("resnet50", len(run.labels), seed=config.seed).state_dict()
    rest = [torch.equal(start[key], value) for key, value in run.model("last").state_dict().items() if "layer2" in key]
    assert rest and all(rest)


def test_another_training_in_the_same_folder_is_refused_before_it_writes(tmp_path, world, monkeypatch):
    """Fails when settings and labels of a run are exchanged while it trains, for the lock is taken after they are."""
    inside, go_on, split, done = threading.Event(), threading.Event(), splits.split_dev, []

    def waiting(*args):
        inside.set()
        assert go_on.wait(60)
        return split(*args)

    monkeypatch.setattr(trainer, "split_dev", waiting)
    first = threading.Thread(target=lambda: done.append(fit(CONFIG, world, tmp_path / "run", progress=False)))
    first.start()
    try:
        assert inside.wait(60)
        for config in (CONFIG, TrainConfig(**CONFIG.__dict__ | {"lr": 0.02, "min_images": 3})):
            with pytest.raises(InputError, match="another process is training this run: wait for it"):
                fit(config, world, tmp_path / "run", progress=False)
        assert [p.name for p in (tmp_path / "run").iterdir()] == [".lock"]
    finally:
        go_on.set()
        first.join(60)
    assert open_run(tmp_path / "run").config == CONFIG == done[0].config
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_run_that_another_process_has_just_finished_is_loaded(tmp_path, world, monkeypatch):
    """Fails when a process that looked before the end and locked after it trains over the finished run."""
    other = contextlib.ExitStack()

    @contextlib.contextmanager
    def late(path, busy, **more):
        monkeypatch.setattr(distributed, "alone", alone)
        fit(CONFIG, world, tmp_path / "run", progress=False)
        other.files = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "run").iterdir()}
        with alone(path, busy, **more):
            yield

    monkeypatch.setattr(distributed, "alone", late)
    fit(CONFIG, world, tmp_path / "run", progress=False)
    assert other.files == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "run").iterdir()}


def test_a_finished_run_is_loaded_from_where_nothing_can_be_written(tmp_path, world, monkeypatch):
    """Fails when a lock is needed to look at what is finished."""
    fit(CONFIG, world, tmp_path / "run", progress=False)

    def refuse(*args, **more):
        raise AssertionError("nothing is to be written")

    monkeypatch.setattr(distributed, "alone", refuse)
    assert fit(CONFIG, world, tmp_path / "run", progress=False).result["step"]


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path, world, monkeypatch):
    """Fails when images are inspected and a network is made before a wrong --out is noticed."""
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(trainer, "split_dev", lambda *args: pytest.fail("the images were looked at"))
    with pytest.raises(InputError, match="file.*cannot be written") as error:
        fit(CONFIG, world, tmp_path / "file" / "run", progress=False)
    assert "\n" not in str(error.value) and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("stage", ["nosuch", "global_pool", "fc"])
def test_a_stage_that_is_none_is_refused_by_name(tmp_path, world, monkeypatch, stage):
    """Fails when what comes behind the map is offered as a stage, or a wrong name claims the folder."""
    monkeypatch.setattr(step, "create_model", create_model)
    with pytest.raises(InputError, match=f"no stage '{stage}' to freeze.*layer3, layer4, or all$"):
        fit(TrainConfig(**CONFIG.__dict__ | {"freeze": stage}), world, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("left", [".lock", ".config.json.x.part"])
def test_what_a_killed_start_leaves_does_not_claim_the_folder(tmp_path, world, left):
    """Fails when a process that was killed as it began keeps its folder from the same command for ever."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / left).write_text("{")
    fit(CONFIG, world, tmp_path / "run", progress=False)
    assert not list((tmp_path / "run").glob(".*"))


WRONG = {
    "stage": ({"freeze": "nosuch"}, {}, "no stage 'nosuch'"),
    "weights": ({"weights": "gone.safetensors"}, {}, "gone.safetensors: no such file"),
    "tensorboard": ({}, {"tensorboard": True}, "TensorBoard is not installed"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_work_is_told_before_the_images_are_looked_at(tmp_path, world, monkeypatch, what):
    """Fails when hours are spent on the images before a setting is refused that could be judged at once."""
    monkeypatch.setattr(step, "create_model", create_model)
    monkeypatch.setattr(trainer, "check_coverage", lambda *args: pytest.fail("the images were looked at"))
    monkeypatch.setattr(training_run.importlib.util, "find_spec", lambda name: None)
    settings, more, told = WRONG[what]
    with pytest.raises(InputError, match=told):
        fit(TrainConfig(**CONFIG.__dict__ | settings), world, tmp_path / "run", progress=False, **more)
    assert not (tmp_path / "run").exists()


def _stopped_after(last, monkeypatch):
    """Let trainings die in the step after this one, until the returned function is called."""

    def deadly(learning, batch, number, *more):
        if number == last:
            raise Killed
        return train_step(learning, batch, number, *more)

    monkeypatch.setattr(trainer, "train_step", deadly)
    return lambda: monkeypatch.setattr(trainer, "train_step", train_step)


def test_a_stopped_run_goes_on_without_its_first_weights(tmp_path, world, monkeypatch):
    """Fails when a state that holds all weights is not enough, and the file that it began with must be there."""
    monkeypatch.setattr(step, "create_model", create_model)
    monkeypatch.setattr(training_run, "create_model", create_model)
    weights = tmp_path / "first.safetensors"
    save_file(create_model("resnet50", 0, seed=7).backbone.state_dict(), weights)
    config = TrainConfig(**CONFIG.__dict__ | {"steps": 3, "freeze": "layer3", "weights": str(weights)})
    whole = fit(config, world, tmp_path / "whole", progress=False)
    revive = _stopped_after(2, monkeypatch)
    with pytest.raises(Killed):
        fit(config, world, tmp_path / "run", progress=False, save_steps=1)
    revive()
    weights.unlink()
    assert same(fit(config, world, tmp_path / "run", progress=False), whole)


@pytest.mark.parametrize("states", [0, 1])
def test_a_run_is_bound_to_the_content_of_its_weights(tmp_path, world, monkeypatch, states):
    """Fails when a run that stopped goes on, or begins again, under the name of weights that have changed since."""
    monkeypatch.setattr(step, "create_model", lambda name, classes, **more: Small(classes))
    monkeypatch.setattr(training_run, "create_model", lambda name, classes: Small(classes))
    weights, config = tmp_path / "w.safetensors", replace(CONFIG, weights=str(tmp_path / "w.safetensors"))
    weights.write_bytes(b"first")
    revive = _stopped_after(2, monkeypatch)
    with pytest.raises(Killed):
        fit(config, world, tmp_path / "run", progress=False, save_steps=1 if states else None)
    revive()
    weights.write_bytes(b"second")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(
        InputError, match="this run began with other weights in .*w.safetensors, whose sha256 was a"
    ) as e:
        fit(config, world, tmp_path / "run", progress=False)
    assert "\n" not in str(e.value) and before == {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    weights.write_bytes(b"first")
    run = fit(config, world, tmp_path / "run", progress=False)
    recorded = json.loads((run.path / "config.json").read_text())["weights_sha256"]
    assert recorded == hashlib.sha256(b"first").hexdigest()
    weights.write_bytes(b"second")
    assert fit(config, world, tmp_path / "run", progress=False).result == run.result, "what is finished is loaded"


@pytest.mark.parametrize("recorded", ["whole path", "as an older version did"])
def test_weights_are_known_from_any_folder(tmp_path, world, monkeypatch, recorded):
    """Fails when `w.safetensors` here and `../w.safetensors` from below are called other settings of a run."""
    monkeypatch.setattr(step, "create_model", lambda name, classes, **more: Small(classes))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    run = fit(replace(CONFIG, weights="w.safetensors"), world, tmp_path / "run", progress=False)
    if recorded != "whole path":
        for name in ("config.json", "result.json"):
            content = json.loads((run.path / name).read_text())
            content["settings"]["weights"] = "w.safetensors"
            (run.path / name).write_text(json.dumps(content))
        assert fit(replace(CONFIG, weights="w.safetensors"), world, run.path, progress=False).result["step"]
        monkeypatch.chdir("below")  # such a path leads nowhere from here, and --resume does not need it to
        assert fit(training_run.saved_config(run.path), world, run.path, progress=False).result["step"]
        return
    monkeypatch.chdir("below")
    assert fit(replace(CONFIG, weights="../w.safetensors"), world, run.path, progress=False).result == run.result
    assert fit(training_run.saved_config(run.path), world, run.path, progress=False).result == run.result
    with pytest.raises(InputError, match="weights: .*/w.safetensors → .*/below/w.safetensors"):
        fit(replace(CONFIG, weights="w.safetensors"), world, run.path, progress=False)


@pytest.mark.arithmetic
def test_a_stopped_run_goes_on_in_its_own_arithmetic(tmp_path, world, monkeypatch):
    """Fails when a run is half of one precision and half of another without a word, or does not record its own."""
    revive = _stopped_after(2, monkeypatch)
    monkeypatch.setenv("LANDMARK_PRECISION", "bfloat16")
    with pytest.raises(Killed):
        fit(CONFIG, world, tmp_path / "run", progress=False, save_steps=1)
    revive()
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")
    with pytest.raises(InputError, match="computed in bfloat16 until it stopped, here it would be float32.*LANDMARK_P"):
        fit(CONFIG, world, tmp_path / "run", progress=False)
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    monkeypatch.setenv("LANDMARK_PRECISION", "bfloat16")
    run = fit(CONFIG, world, tmp_path / "run", progress=False)
    assert json.loads((run.path / "config.json").read_text())["precision"] == run.result["precision"] == "bfloat16"


FILES = ("config.json", "labels.json", "metrics.csv", "best.safetensors", "state.pt", "last.safetensors", "result.json")


@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, world, monkeypatch, full_disk, name):
    """Fails when safetensors' own error of a full disk is a traceback, or a file of the run is left half-written."""
    open_path = atomic_path

    @contextlib.contextmanager
    def limited(target):
        with open_path(target) as part, full_disk(16 if target.name == name else 1 << 30):
            yield part

    with monkeypatch.context() as patch:
        for module in (training_run, folder, checkpoints, files):
            patch.setattr(module, "atomic_path", limited)
        with pytest.raises(InputError, match=rf"{name}: cannot be written \(.*, [0-9.]+ .?B free\)") as error:
            fit(CONFIG, world, tmp_path / "run", progress=False, save_steps=2)
    assert "\n" not in str(error.value) and not list((tmp_path / "run").glob(".*.part"))
    run = fit(CONFIG, world, tmp_path / "run", progress=False)
    assert same(run, fit(CONFIG, world, tmp_path / "whole", progress=False))


@pytest.mark.arithmetic
@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("changes", [{"freeze": 0}, {"freeze": "layer3", "views": 1}], ids=["all", "frozen"])
def test_any_precision_learns_on_any_chip(tmp_path, world, monkeypatch, name, changes):
    """Fails when a precision that the chip lacks ends in a crash, or the scaler of float16 skips every step."""
    monkeypatch.setattr(step, "create_model", create_model)
    monkeypatch.setattr(training_run, "create_model", create_model)
    monkeypatch.setenv("LANDMARK_PRECISION", name)
    config = TrainConfig(**CONFIG.__dict__ | {"steps": 4} | changes)
    run = fit(config, world, tmp_path / "run", progress=False)
    start = create_model("resnet50", len(run.labels), seed=config.seed).state_dict()
    moved = [key for key, value in run.model("last").state_dict().items() if not torch.equal(start[key], value)]
    assert np.isfinite(run.metrics[LOGGED]).all().all()
    assert {"head.1.weight", "backbone.layer4.0.bn3.weight"} <= {*moved}


def test_the_callers_default_dtype_changes_nothing(tmp_path, world, monkeypatch):
    """Fails when float64 as torch's default ends in a raw error about dtypes, or draws other random numbers."""
    monkeypatch.setattr(step, "create_model", create_model)
    monkeypatch.setattr(training_run, "create_model", create_model)
    config, written = TrainConfig(**CONFIG.__dict__ | {"model": "xception_cbp", "steps": 2}), []
    try:
        for name, dtype in (("one", torch.float32), ("two", torch.float64)):
            torch.set_default_dtype(dtype)
            run = fit(config, world, tmp_path / name, progress=False)
            submit(run, GoogleLandmarks(world), tmp_path / f"{name}.csv", bad_limit=12, progress=False)
            written.append((run, (tmp_path / f"{name}.csv").read_text()))
            assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    (one, rows), (two, same_rows) = written
    assert same(one, two) and rows == same_rows


def test_integers_that_cannot_be_had_claim_no_folder(tmp_path, world, monkeypatch):
    """Fails when a run that this machine cannot train leaves its settings behind, and blocks the folder for others."""
    monkeypatch.setattr(int8, "ENGINE", "another")
    config = TrainConfig(**CONFIG.__dict__ | {"freeze": "layer3", "int8": True})
    with pytest.raises(InputError, match="AVX2"):
        fit(config, world, tmp_path / "run", workers=0, progress=False)
    assert not (tmp_path / "run" / "config.json").exists()


def test_asked_to_stop_it_finishes_the_step(tmp_path, world, monkeypatch):
    """Fails when Ctrl-C in the middle of a step saves half of it, or the second one is not obeyed at once."""
    whole = fit(CONFIG, world, tmp_path / "whole", workers=0, progress=False)
    signals = [1]

    def interrupted(learning, batch, number, *more):
        for _ in range(signals[0] if number == 2 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(learning, batch, number, *more)

    monkeypatch.setattr(trainer, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)
    assert [p.name.split("-")[1] for p in (tmp_path / "run").glob("state-*.pt")] == ["000000003"]
    with pytest.raises(InputError, match="not finished"):
        open_run(tmp_path / "run")
    signals[0] = 2
    with pytest.raises(KeyboardInterrupt):
        fit(CONFIG, world, tmp_path / "twice", workers=0, progress=False)
    assert not list((tmp_path / "twice").glob("state-*.pt"))
    monkeypatch.setattr(trainer, "train_step", train_step)
    for name in ("run", "twice"):
        run = fit(CONFIG, world, tmp_path / name, workers=0, progress=False)
        assert same(run, whole) and run.metrics[LOGGED].equals(whole.metrics[LOGGED])


def test_a_failed_start_does_not_claim_the_folder(tmp_path, world, monkeypatch):
    """Fails when a run that could not begin keeps its folder from the corrected command."""
    monkeypatch.undo()
    with pytest.raises(InputError, match="no such file"):
        fit(TrainConfig(**{**CONFIG.__dict__, "weights": "gone.pth"}), world, tmp_path / "run", workers=0)
    with pytest.raises(InputError, match="stage"):
        fit(TrainConfig(**{**CONFIG.__dict__, "freeze": "cellar"}), world, tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path, world, monkeypatch):
    """Fails when a NaN reaches a saved state, healthy ones are dropped, or the message lacks step and images."""
    forward, calls = Small.forward, iter(range(100))

    def poisoned(self, x):
        return forward(self, x * (float("nan") if self.training and next(calls) == 2 else 1))

    monkeypatch.setattr(Small, "forward", poisoned)
    with pytest.raises(InputError, match=r"loss of step 3 is nan.*images: [0-9a-f]{16}"):
        fit(CONFIG, world, tmp_path / "run", workers=0, progress=False, save_steps=1)
    state = Checkpoints(tmp_path / "run").load()
    assert json.loads(state["kept"])["step"] == 2 and all(torch.isfinite(v).all() for v in state["model"].values())


def test_the_number_of_processes_is_part_of_a_stopped_run(tmp_path, world, monkeypatch):
    """Fails when a run of two processes goes on with one, whose batches are other ones."""
    _stopped_after(2, monkeypatch)
    with pytest.raises(Killed):
        fit(CONFIG, world, tmp_path / "run", workers=0, progress=False, save_steps=1)
    states = Checkpoints(tmp_path / "run")
    states.save(9, {**states.load(), "ranks": 2})
    with pytest.raises(InputError, match="2 processes"):
        fit(CONFIG, world, tmp_path / "run", workers=0, progress=False)


def test_rows_without_an_image_are_told(tmp_path, world, log_lines):
    """Fails when a training goes on without some of its images and says nothing, or lists only those that it met."""
    data = tmp_path / "data"
    shutil.copytree(world, data)
    table = GoogleLandmarks(data).labelled(2)
    gone = sorted(table["id"])[:3]
    for image_id in gone:
        image_path(data, "train", image_id).unlink()
    run = fit(replace(CONFIG, steps=1), data, tmp_path / "run", workers=0, progress=False)
    (told,) = log_lines
    assert f"3 of {len(table)} rows of train have no image" in told and gone[0] in told
    missing = {i for i, reason in run.result["bad_images"].items() if reason == "no such file"}
    assert missing == set(gone)


def test_a_tar_that_ends_in_zeros_is_not_trained_on(tmp_path, world):
    """Fails when a download that stopped, its space laid out beforehand, passes for a data set with fewer images."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(world / "train.csv", data)
    shutil.copytree(world / "train", data / "loose")
    (data / "train").mkdir()
    with tarfile.open(data / "train/images_000.tar", "w") as tar:
        for path in sorted((data / "loose").rglob("*.jpg")):
            tar.add(path, path.relative_to(data / "loose"))
    with tarfile.open(data / "train/images_000.tar") as tar:
        end = tar.getmembers()[-10].offset
    whole = (data / "train/images_000.tar").read_bytes()
    (data / "train/images_000.tar").write_bytes(whole[:end] + bytes(len(whole) - end + 20_000))
    with pytest.raises(ArchiveError, match=rf"images_000\.tar: incomplete: .* after byte {end}"):
        fit(replace(CONFIG, bad_limit=100), data, tmp_path / "run", workers=0, progress=False)
    assert not (tmp_path / "run/result.json").exists()


def test_too_many_bad_images_fail_the_run(tmp_path, world):
    """Fails when a data set full of broken files trains on what is left."""
    with pytest.raises(InputError, match="bad images, limit 0"):
        fit(TrainConfig(**{**CONFIG.__dict__, "bad_limit": 0}), world, tmp_path / "run", workers=0, progress=False)


def test_decay_by_hand(tmp_path, world):
    """Fails when the rate does not fall along half a cosine: 1, 0.905, 0.655, 0.345, 0.095 of it."""
    run = fit(TrainConfig(**{**CONFIG.__dict__, "decay": True}), world, tmp_path / "run", workers=0, progress=False)
    shares = 0.5 * (1 + np.cos(np.pi * np.arange(1, 6) / 5))
    assert np.allclose(run.metrics["lr"] / 0.01, shares, atol=1e-6)


def test_a_slow_drive_is_written_to_less_often(tmp_path, world, monkeypatch):
    """Fails when saving to a slow drive takes more than a twentieth of the time of training."""
    save, steps = Checkpoints.save, []

    def slow(self, step, state):
        steps.append(step)
        now[0] += 100
        save(self, step, state)

    now = [0.0]
    monkeypatch.setattr(Checkpoints, "save", slow)
    monkeypatch.setattr(trainer.time, "monotonic", lambda: now[0])

    def steady(*given):
        now[0] += 10
        return train_step(*given)

    monkeypatch.setattr(trainer, "train_step", steady)
    long = TrainConfig(**{**CONFIG.__dict__, "steps": 250})
    fit(long, world, tmp_path / "run", workers=0, progress=False, save_seconds=30)
    assert steps == [4, 205], "after 30 s, then after 20 times the 100 s that it took"


def test_tensorboard_on_request(tmp_path, world):
    """Fails when the log is not written where it was asked for, or is written unasked."""
    fit(CONFIG, world, tmp_path / "quiet", workers=0, progress=False)
    run = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False, tensorboard=True)
    assert list((run.path / "tensorboard").iterdir()) and not (tmp_path / "quiet" / "tensorboard").exists()
