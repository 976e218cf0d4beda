"""Runs that are trained side by side, beside those that are trained one by one."""

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from landmark.course import together
from landmark.training.config import TrainConfig
from landmark.training.trainer import fit
from landmark.utils.errors import InputError
from landmark.utils.locks import alone, lock_of

SMALL = TrainConfig(model="efficientnet_lite0", size=32, steps=2, batch_size=4, min_images=2, weights="none")


def two_cores(monkeypatch):
    monkeypatch.setattr(together, "usable_cpus", lambda: 2)
    monkeypatch.setattr(together.torch, "get_num_threads", lambda: 2)


def test_side_by_side_or_one_by_one_is_the_same(tmp_path, world, monkeypatch):
    """Fails when a process trains with other settings, runs change places, or all are trained in one process."""
    two_cores(monkeypatch)
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
    two_cores(monkeypatch)
    jobs = [(replace(SMALL, seed=seed), world, tmp_path / f"run{seed}") for seed in (1, 2)]
    (tmp_path / "run2").mkdir()
    (tmp_path / "run2/other.txt").touch()
    with pytest.raises(InputError, match="run2: exists and is not a training run"):
        together.fit_all(jobs)


def test_a_run_that_another_notebook_trains_is_waited_for(tmp_path, monkeypatch):
    """Fails when two notebooks that want the same run are told that one of them must not, or both train it."""
    asked: list = []
    monkeypatch.setattr(together, "fit", lambda *job, **more: asked.append(job[2]))
    out = tmp_path / "run"
    with alone(lock_of(out)):
        other = threading.Thread(target=together.fit_all, args=[[(SMALL, tmp_path, out)]])
        other.start()
        other.join(0.6)
        assert other.is_alive() and not asked
    other.join(20)
    assert asked == [out] and not list(tmp_path.iterdir())


def test_what_another_notebook_trains_comes_last(tmp_path, monkeypatch):
    """Fails when a notebook waits for a run while others are left to train, or runs come back in another order."""
    monkeypatch.setattr(together, "fit", lambda *job, **more: asked.append(job[2].name) or job[2].name)
    asked: list = []
    jobs = [(SMALL, tmp_path, tmp_path / name) for name in "abcd"]
    left: list = []
    with alone(lock_of(tmp_path / "b")):
        other = threading.Thread(target=lambda: left.extend(together.fit_all(jobs)))
        other.start()
        other.join(0.6)
        assert asked == ["a", "c", "d"]
    other.join(20)
    assert asked[3:] == ["b"] and left == ["a", "b", "c", "d"]


def test_as_many_at_a_time_as_threads_are_allowed(tmp_path, monkeypatch):
    """Fails when a notebook that shares the machine with others, and has one thread for that, fills all cores."""
    asked: list = []
    monkeypatch.setattr(together, "fit", lambda *job, **more: None)
    monkeypatch.setattr(together, "usable_cpus", lambda: 4)
    monkeypatch.setattr(together, "_train_beside", lambda jobs, at_once: asked.append(at_once))
    jobs = [(SMALL, tmp_path, tmp_path / name) for name in "abc"]
    for threads in (1, 2, 8):
        monkeypatch.setattr(together.torch, "get_num_threads", lambda threads=threads: threads)
        together.fit_all(jobs)
    assert asked == [2, 3]


def test_quick_runs_need_no_process(tmp_path, monkeypatch):
    """Fails when two steps of training wait for a process that takes longer to start."""
    asked: list = []
    monkeypatch.setattr(together, "fit", lambda *job, **more: asked.append(job[2]))
    two_cores(monkeypatch)
    monkeypatch.setattr(together, "_train_beside", lambda *jobs: pytest.fail("a process"))
    monkeypatch.setenv("LANDMARK_QUICK", "1")
    together.fit_all([(SMALL, tmp_path, tmp_path / name) for name in "ab"])
    assert asked == [tmp_path / "a", tmp_path / "b"]


def test_one_process_trains_several_runs(tmp_path, world, monkeypatch):
    """Fails when each run has a process of its own, one that fails keeps the next from being trained, or one is lost."""
    started = []

    class Counted(subprocess.Popen):
        def __init__(self, *args, **more):
            started.append(self)
            super().__init__(*args, **more)

    monkeypatch.setattr(together.subprocess, "Popen", Counted)
    outs = [tmp_path / f"run{seed}" for seed in range(4)]
    outs[0].mkdir()
    (outs[0] / "other.txt").touch()  # not a run: it cannot be trained there
    together._train_beside([(replace(SMALL, seed=seed), world, out) for seed, out in enumerate(outs)], 2)
    assert len(started) == 2 and all(child.returncode is not None for child in started)
    assert [(out / "result.json").exists() for out in outs] == [False, True, True, True]


def test_processes_are_asked_to_save_when_it_is_stopped(tmp_path, world, monkeypatch):
    """Fails when Ctrl-C leaves trainings behind, or kills them before they have saved their states."""
    slow = replace(SMALL, steps=100_000)
    jobs = [(replace(slow, seed=seed), world, tmp_path / f"run{seed}") for seed in (1, 2)]

    def interrupt():
        deadline = time.monotonic() + 100
        while not all((job[2] / "config.json").exists() for job in jobs):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)  # some steps
        os.kill(os.getpid(), signal.SIGINT)

    two_cores(monkeypatch)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        together.fit_all(jobs)
    thread.join()
    for _, _, out in jobs:
        assert list(out.glob("state-*.pt")) and not (out / "result.json").exists()
