"""CPUs, threads and sockets of this process and those that it starts."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from landmark.utils import process
from landmark.utils.errors import InputError


def child(code, **environment):
    """What a process of its own prints; variables given as None are not set there."""
    names = process.WAITING + process.COUNTING
    kept = {key: value for key, value in os.environ.items() if key not in names}
    kept |= {key: str(value) for key, value in environment.items()}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_affinity_is_respected():
    """Fails when CPUs that a scheduler has given to others are counted."""
    code = "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]); "
    code += "from landmark.utils.process import usable_cpus; print(usable_cpus())"
    assert child(code) == ["1"]


V2, V1 = "0::/a/b\n", "9:memory:/a\n3:cpu,cpuacct:/a/b\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (V2, {"a/b/cpu.max": "max 100000"}, 64),
        (V2, {"a/b/cpu.max": "250000 100000"}, 3),
        (V2, {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 200000"}, 2),
        (V2, {"a/b/cpu.max": "6400000 100000", "a/cpu.max": "9900000 100000"}, 64),
        ("0::/docker/0123\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"unified/cpu.max": "300000 100000"}, 3),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000"}, 64),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "150000", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000"}, 2),
        ("1:cpu:/host/0123\n", {"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, 5),
        ("1:cpuset:/\n", {"cpuset/cpu.max": "100000 100000"}, 64),
        (V2, {"a/b/cpu.max": ""}, 64),
        (None, {}, 64),
    ],
)
def test_quotas_of_control_groups(tmp_path, monkeypatch, groups, files, expected):
    """Fails when a container's share of the time is overlooked, or a group without a limit counts as one."""
    monkeypatch.setattr(process, "_affinity", lambda: 64)
    if groups:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert process.usable_cpus(tmp_path) == expected


SHOW = "import os, sys, landmark; print(*(os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')), "
SHOW += "'torch' in sys.modules)"


def test_threads_are_settled_before_torch():
    """Fails when torch's threads spin for as long as by default, or what the user has set is changed."""
    assert child(SHOW) == [str(process.SPINS), "None", "False"]
    assert child(SHOW, OMP_WAIT_POLICY="active") == ["None", "active", "False"]
    assert child(SHOW, GOMP_SPINCOUNT=7) == ["7", "None", "False"]


def test_kernels_of_notebooks_have_it_too():
    """Fails when the runner of the notebooks starts kernels in which torch's threads spin."""
    code = "import os, runpy; runpy.run_path('notebooks/run.py'); print(os.environ['GOMP_SPINCOUNT'])"
    assert child(f"import os; os.chdir({str(Path(__file__).parents[2])!r}); {code}") == [str(process.SPINS)]


def test_a_quota_limits_the_threads(monkeypatch):
    """Fails when torch starts a thread for each CPU of the machine in a container with less, or the user's word is lost."""
    monkeypatch.setattr(process, "usable_cpus", lambda: 1)
    monkeypatch.setattr(process, "_affinity", lambda: 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        process.settle_threads()
        assert os.environ["OMP_NUM_THREADS"] == "2" and torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        process.settle_threads()
        assert os.environ["OMP_NUM_THREADS"] == "1" and torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


LONG = f"{'j' * 50}/{'k' * 45}"
LOAD = """
import os, sys, tempfile
from multiprocessing import util
from landmark.data.folder import GoogleLandmarks; from landmark.data.dataset import LandmarkDataset; from landmark.data.dataset import eval_transform; from landmark.data.loader import make_loader

def main():
    data = LandmarkDataset(GoogleLandmarks(sys.argv[1]).test, sys.argv[1], "test", None, *eval_transform(32, (0,), (1,)))
    print(sum(len(batch.images) + len(batch.bad) for batch in make_loader(data, 4, workers=2)), util.get_temp_dir())
    print(tempfile.gettempdir() == os.environ["TMPDIR"])

if __name__ == "__main__":
    main()
"""


def test_workers_of_a_loader_with_a_long_tmpdir(tmp_path, world):
    """Fails when a TMPDIR that leaves no room for a socket's name ends workers with tracebacks, or holds them up."""
    folder = tmp_path / LONG
    folder.mkdir(parents=True)
    (tmp_path / "load.py").write_text(LOAD)
    done = subprocess.run([sys.executable, tmp_path / "load.py", world], env=os.environ | {"TMPDIR": str(folder)},
                          capture_output=True, text=True, timeout=100)  # fmt: skip
    images, sockets, same = done.stdout.split()
    assert images == "12" and same == "True" and not os.path.exists(sockets), "workers' own folder goes with them"


def test_other_workers_with_a_long_tmpdir(tmp_path, world):
    """Fails when the processes that make a world or reduce a data set cannot start under a long TMPDIR."""
    folder = tmp_path / LONG
    folder.mkdir(parents=True)
    code = "import sys; from landmark.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = os.environ | {"TMPDIR": str(folder)}
    for args in (
        ["shrink", world, "--size", "16", "--out", tmp_path / "small", "--workers", "2"],
        ["synth", tmp_path / "w", "--landmarks", "1", "--images", "2", "--test", "320", "--size", "32", "--known", "0",
         "--unknown", "0", "--workers", "2"],
    ):  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code, *args], env=environment, capture_output=True, timeout=100)
        assert done.returncode == 0, done.stderr


def test_no_folder_for_sockets(monkeypatch):
    """Fails when no folder can hold a socket and nobody says that TMPDIR is the reason."""
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * 90)
    monkeypatch.setattr(process.os, "access", lambda *_: False)
    with pytest.raises(InputError, match="TMPDIR=/xxx.*: too long for worker processes: set one of at most 75 bytes"):
        process.settle_sockets()


def _slow_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number, os.getpid()


def test_results_come_in_the_order_of_the_tasks():
    """Fails when a worker that is done sooner goes first, a task is lost between two chunks, or no other process works."""
    results = list(process.in_order(_slow_first, range(11), workers=2, chunk=2))
    assert [number for number, _ in results] == list(range(11)) and os.getpid() not in {pid for _, pid in results}
    assert [number for number, _ in process.in_order(_slow_first, range(1, 4), workers=0)] == [1, 2, 3]


def test_tasks_are_not_taken_far_ahead():
    """Fails when all tasks are read before the first result is used: they may be large, or without end."""
    taken = []
    results = process.in_order(abs, (taken.append(i) or i for i in itertools.count()), workers=2, chunk=3)
    assert [next(results) for _ in range(3)] == [0, 1, 2] and len(taken) <= (2 * 2 + 1) * 3
    results.close()


def _fails(number):
    raise ValueError(f"number {number}")


def test_an_error_of_a_worker_comes_out():
    """Fails when an error in a worker ends in a wait for ever, or is swallowed."""
    with pytest.raises(ValueError, match="number 0"):
        list(process.in_order(_fails, range(9), workers=2))
    with pytest.raises(InputError, match="-1 workers: give 0 or more"):
        list(process.in_order(_fails, range(9), workers=-1))
