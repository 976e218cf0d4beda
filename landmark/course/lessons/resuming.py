"""Kill a run on the way, go on with it, and compare it with one that ran through."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from landmark.training.config import TrainConfig
from landmark.training.trainer import fit
from landmark.utils.files import sha256


def killed_and_resumed(root: str | Path, folder: str | Path, *, model: str = "resnet50", steps: int = 5) -> dict:
    """Train a short run twice, once in a process that is killed by SIGKILL on the way and then continued, and compare.

    Args:
        root: small data set in the GLDv2 layout; landmarks with 4 images or more are used.
        folder: of the two runs, emptied first.
        model: to train from scratch, at 64 pixels, 8 images a step.
        steps: of either run.

    Returns:
        killed_after: step of the last state when the process was killed; same_weights and same_log: whether the two
        runs agree in every bit.
    """
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    settings: dict[str, Any] = {
        "model": model,
        "size": 64,
        "batch_size": 8,
        "min_images": 4,
        "weights": "none",
        "steps": steps,
    }
    options = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "landmark", "train", str(root), *options, "--save-steps", "1", "--workers", "0"]
    command += ["--out", str(folder / "killed")]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as child, ThreadPoolExecutor(1) as thread:
        killing = thread.submit(_kill, child, folder / "killed")
        fit(TrainConfig(**settings), root, folder / "whole", workers=0, progress=False)  # while the child starts
        states = killing.result()
    fit(TrainConfig(**settings), root, folder / "killed", workers=0, progress=False)
    weights = [sha256(folder / name / "last.safetensors") for name in ("whole", "killed")]
    logs = [pd.read_csv(folder / name / "metrics.csv").drop(columns=["seconds", "images_per_second"])
            for name in ("whole", "killed")]  # fmt: skip
    killed = max((int(path.name.split("-")[1]) for path in states), default=steps)
    return {"killed_after": killed, "same_weights": weights[0] == weights[1], "same_log": logs[0].equals(logs[1])}


def _kill(child: subprocess.Popen, run: Path) -> list[Path]:
    """End a process as soon as its run has a state of two steps or more; return such states."""
    while not (states := list(run.glob("state-00000000[2-9]-*"))) and child.poll() is None:
        time.sleep(0.01)
    child.kill()
    return states
