"""Train several runs, on a CPU one for each core: small networks leave a second core idle."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm.auto import tqdm

from landmark.training.config import TrainConfig
from landmark.training.run import Run
from landmark.training.trainer import fit
from landmark.utils import distributed
from landmark.utils.device import device
from landmark.utils.errors import InputError
from landmark.utils.files import quick
from landmark.utils.locks import alone, held, lock_of
from landmark.utils.process import usable_cpus

Job = tuple[TrainConfig, Path, Path]  # settings, folder of the data, folder of the run
_CHILD = "from landmark.course.together import train_each; train_each()"


def fit_all(jobs: Sequence[Job]) -> list[Run]:
    """Train runs, or load those that are finished; stopped ones go on.

    On a CPU with several cores each run that is left has a process and one thread of its own, as many at a time as
    this process may have threads. Beside a GPU, in the processes of `torchrun`, and in quick mode, where a process
    takes longer to start than a run to end, they are trained one after the other. A run that another notebook is
    training comes last: by then it is done, or waited for.

    Args:
        jobs: arguments of `fit` for each.

    Returns:
        The finished runs, in the order of the jobs.

    Raises:
        InputError: as `fit`, for the first run that cannot be trained.
        KeyboardInterrupt: asked to stop; every run has saved its state.
    """
    waiting = [job for job in jobs if not _finished(job)]
    many = device().type == "cpu" and distributed.size() == 1 and not quick()
    at_once = min(len(waiting), usable_cpus(), torch.get_num_threads()) if many else 1
    if at_once > 1:
        _train_beside(waiting, at_once)  # what fails there fails below as well, with its error
    in_turn = _free_first(jobs) if distributed.size() == 1 else jobs  # all ranks take them in the same order
    found = {job[2]: _fitted(job) for job in in_turn}
    return [found[out] for _, _, out in jobs]


def _free_first(jobs: Sequence[Job]) -> Iterator[Job]:
    """Yield jobs in order, but those that another process works at when there is nothing else left to do."""
    left = list(jobs)
    while left:
        job = next((job for job in left if _finished(job) or not held(lock_of(job[2]))), left[0])
        left.remove(job)
        yield job


def _finished(job: Job) -> bool:
    return (job[2] / "result.json").exists()


def _fitted(job: Job, progress: bool = True) -> Run:
    """Train a run or load it, once whoever trains it is done."""
    config, root, out = job
    if _finished(job) or distributed.size() > 1:
        return fit(config, root, out, progress=progress)
    with alone(lock_of(out), waiting=f"{out.name}: another process is training this run, and is waited for"):
        return fit(config, root, out, progress=progress)


def train_each() -> None:
    """Train the runs whose jobs come in as lines of JSON, and answer each with a line, finished or not."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        settings, root, out = json.loads(line)
        with contextlib.suppress(InputError):  # it is told by whoever loads the run
            _fitted((TrainConfig(**settings), Path(root), Path(out)), progress=False)
        print(file=answers, flush=True)


def _train_beside(jobs: Sequence[Job], at_once: int) -> None:
    """Train runs in some processes, each of which takes the next run when it is done with one."""
    lines = iter([json.dumps([asdict(config), str(root), str(out)]) for config, root, out in jobs])
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    children = [subprocess.Popen([sys.executable, "-c", _CHILD], env=environment, text=True, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                for _ in range(at_once)]  # fmt: skip

    def feed(child: subprocess.Popen) -> None:
        assert child.stdin and child.stdout
        with contextlib.suppress(OSError), child.stdin, child.stdout:  # it may have ended
            for line in lines:  # the same iterator for all
                print(line, file=child.stdin, flush=True)
                if not child.stdout.readline():
                    return
                bar.update()

    with tqdm(total=len(jobs), unit="run", desc="training") as bar, ThreadPoolExecutor(at_once) as pool:
        try:
            list(pool.map(feed, children))
        finally:
            for child in children:
                child.terminate()  # one that is training saves its state
            for child in children:
                child.wait()
