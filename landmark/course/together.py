"""Train several runs, on a CPU as many at a time as it has cores: small networks leave a second core idle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm.auto import tqdm

from landmark.training.config import TrainConfig
from landmark.training.run import Run
from landmark.training.trainer import fit
from landmark.utils import distributed
from landmark.utils.device import device
from landmark.utils.process import usable_cpus

Job = tuple[TrainConfig, Path, Path]  # settings, folder of the data, folder of the run
_CHILD = "import sys; from landmark.course.together import train; train(sys.argv[1])"


def fit_all(jobs: Sequence[Job]) -> list[Run]:
    """Train runs, or load those that are finished; stopped ones go on.

    On a CPU with several cores each run that is left has a process and one thread of its own. Beside a GPU, and in the
    processes of `torchrun`, they are trained one after the other.

    Args:
        jobs: arguments of `fit` for each.

    Returns:
        The finished runs, in the order of the jobs.

    Raises:
        InputError: as `fit`, for the first run that cannot be trained.
        KeyboardInterrupt: asked to stop; every run has saved its state.
    """
    waiting = [job for job in jobs if not (job[2] / "result.json").exists()]
    cores = usable_cpus() if device().type == "cpu" and distributed.size() == 1 else 1
    if cores > 1 and len(waiting) > 1:
        _train_beside(waiting, min(cores, len(waiting)))
    return [fit(*job) for job in jobs]  # what failed above fails here as well, with its error


def train(job: str) -> None:
    """Train the run of a job that `fit_all` wrote down as JSON."""
    settings, root, out = json.loads(job)
    fit(TrainConfig(**settings), root, out, progress=False)


def _train_beside(jobs: Sequence[Job], at_once: int) -> None:
    """Train runs in processes of their own, some at a time."""
    waiting, running = list(jobs), list[subprocess.Popen]()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tqdm(total=len(jobs), unit="run", desc="training") as bar:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    config, root, out = waiting.pop(0)
                    words = json.dumps([asdict(config), str(root), str(out)])
                    running.append(subprocess.Popen([sys.executable, "-c", _CHILD, words], env=environment,
                                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))  # fmt: skip
                time.sleep(0.05)
                bar.update(sum(child.poll() is not None for child in running))
                running = [child for child in running if child.returncode is None]
        finally:
            for child in running:
                child.terminate()  # it saves its state
            for child in running:
                child.wait()
