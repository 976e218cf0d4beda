"""Runs that are trained side by side, beside those that are trained one by one."""

from dataclasses import replace

import pytest

from landmark.course import together
from landmark.training.config import TrainConfig
from landmark.training.trainer import fit
from landmark.utils.errors import InputError

SMALL = TrainConfig(model="efficientnet_lite0", size=32, steps=2, batch_size=4, min_images=2, weights="none")


def test_side_by_side_or_one_by_one_is_the_same(tmp_path, world, monkeypatch):
    """Fails when a process trains with other settings, runs change places, or all are trained in one process."""
    monkeypatch.setattr(together, "usable_cpus", lambda: 2)
    monkeypatch.setattr(together, "fit", lambda *job, **more: alone.append(job[2]) or fit(*job, progress=False))
    alone: list = []
    jobs = [(replace(SMALL, seed=seed), world, tmp_path / f"run{seed}") for seed in (1, 2)]
    found = together.fit_all(jobs)
    assert all((tmp_path / f"run{seed}/result.json").exists() for seed in (1, 2))
    assert [run.config.seed for run in found] == [1, 2] and alone == [job[2] for job in jobs]
    before = [run.result["seconds"] for run in found]
    assert [run.result["seconds"] for run in together.fit_all(jobs)] == before, "finished runs are loaded"
    direct = fit(replace(SMALL, seed=2), world, tmp_path / "direct", workers=0, progress=False)
    for name in ("dev_loss", "train_images"):
        assert direct.result[name] == pytest.approx(found[1].result[name], rel=1e-3)


def test_what_fails_in_a_process_fails_here(tmp_path, world, monkeypatch):
    """Fails when a run that could not be trained is left out without a word."""
    monkeypatch.setattr(together, "usable_cpus", lambda: 2)
    jobs = [(replace(SMALL, seed=seed), world, tmp_path / f"run{seed}") for seed in (1, 2)]
    (tmp_path / "run2").mkdir()
    (tmp_path / "run2/other.txt").touch()
    with pytest.raises(InputError, match="run2: exists and is not a training run"):
        together.fit_all(jobs)


def test_processes_are_asked_to_save_when_it_is_stopped(tmp_path, world, monkeypatch):
    """Fails when Ctrl-C leaves trainings behind, or kills them before they have saved their states."""
    started = []

    class Child:
        """A process that ends when it is asked to."""

        returncode = None

        def __init__(self, words, env, **more):
            assert env["OMP_NUM_THREADS"] == "1"
            started.append(self)
            self.calls = []

        def poll(self):
            if len(started) == 2:
                raise KeyboardInterrupt

        def terminate(self):
            self.calls.append("terminate")

        def wait(self):
            self.calls.append("wait")

    monkeypatch.setattr(together, "usable_cpus", lambda: 2)
    monkeypatch.setattr(together.subprocess, "Popen", Child)
    jobs = [(replace(SMALL, seed=seed), world, tmp_path / f"run{seed}") for seed in (1, 2, 3)]
    with pytest.raises(KeyboardInterrupt):
        together.fit_all(jobs)
    assert [child.calls for child in started] == [["terminate", "wait"]] * 2
