"""The course: its data, its runs and its tables, in three sizes (quick, miniature, the real data set).

Notebooks ask for a run by name. It is trained the first time and loaded ever after.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from landmark.data.folder import GoogleLandmarks
from landmark.models.recipes import backbone_of
from landmark.models.weights import miniature_path
from landmark.prepare.mirror import make_mirror, serve
from landmark.training.config import TrainConfig
from landmark.training.run import Run, alone_in, first_alone, needs_weights
from landmark.training.splits import Split, split_dev
from landmark.training.trainer import fit
from landmark.utils import distributed
from landmark.utils.files import atomic_path, data_root, quick, runs_root, stamp
from landmark.utils.locks import lock_of
from landmark.utils.log import show_log
from landmark.world.config import WorldConfig
from landmark.world.make import VERSION, make_world

show_log()  # notebooks read what the library says, as users of the command do
_servers = contextlib.ExitStack()
QUICK_WORLD = WorldConfig(landmarks=4, images=8, test=72, size=64)
FULL_WORLD = WorldConfig()
PRETRAINING = WorldConfig(landmarks=60, images=40, test=0, size=112, siblings=1, pretraining=True)


def mode() -> str:
    """Say what the course runs on: "gldv2" when `LANDMARK_GLDV2` names a folder, else "quick" or "miniature".

    >>> mode() in {"gldv2", "quick", "miniature"}
    True
    """
    return "gldv2" if os.environ.get("LANDMARK_GLDV2") else "quick" if quick() else "miniature"


def course_data() -> GoogleLandmarks:
    """Open the data set of the course, made on the spot when it is the miniature world; the first call prints which."""
    if mode() == "gldv2":
        root = Path(os.environ["LANDMARK_GLDV2"])
        return _opened(root, f"Google Landmarks v2 in {root.name}")
    config = QUICK_WORLD if quick() else FULL_WORLD
    description = f"the {mode()} world, {config.landmarks} invented landmarks at {config.size} px, seed {config.seed}"
    return _opened(make_world(data_root() / mode(), config), description)


def _opened(root: Path, description: str) -> GoogleLandmarks:
    """Open a folder, once while its tables are the same, so that they are read once."""
    return _read_once(root, description, tuple((path, stamp(path.stat())) for path in sorted(root.glob("*.csv"))))


@lru_cache(4)
def _read_once(root: Path, description: str, tables: tuple) -> GoogleLandmarks:
    print(f"data: {description}")
    return GoogleLandmarks(root)


def min_images() -> int:
    """Give the filter of the course: the paper's 100 on the real data, the world's own on a miniature."""
    return 100 if mode() == "gldv2" else (QUICK_WORLD if quick() else FULL_WORLD).min_images


def course_config(model: str, **changes: Any) -> TrainConfig:
    """Settings of the course's run of a model: one budget for all of them.

    >>> course_config("xception").model
    'xception'
    """
    settings: dict[str, Any] = {
        "gldv2": {"size": 299, "batch_size": 64, "epochs": 6, "weights": "imagenet"},
        "miniature": {"size": 80, "batch_size": 32, "epochs": 5, "lr": 1e-3, "decay": True, "weights": "miniature"},
        "quick": {"size": 64, "batch_size": 8, "steps": 2, "weights": "miniature"},
    }[mode()]
    return replace(TrainConfig(model=model, min_images=min_images(), **settings), **changes)


def course_run(model: str, *, name: str | None = None, **changes: Any) -> Run:
    """Load the course's run of a model when it is finished, continue it when it was stopped, else train it now.

    Args:
        model: one of `list_models()`.
        name: of the run's folder; the model's when left out.
        changes: settings that differ from `course_config`.
    """
    config, out = course_config(model, **changes), runs_root() / f"{mode()}-{name or model}"
    make_weights(config, out)
    return fit(config, course_data().root, out)


def make_weights(config: TrainConfig, out: str | Path) -> None:
    """Make the miniature weights where a run that is to begin in `out` starts from them; one that goes on has its own.

    Raises:
        InputError: another process is training this run, or `out` cannot be written.
    """
    if config.weights == "miniature" and needs_weights(Path(out)):
        with distributed.group(), alone_in(Path(out)):
            miniature_weights(backbone_of(config.model))


def miniature_weights(backbone: str) -> Path:
    """Make weights that stand in for ImageNet's without a network: a backbone trained on a disjoint miniature world.

    Args:
        backbone: "xception" or "resnet50".

    Returns:
        The file that `weights="miniature"` loads; trained the first time, and when that world or its training is
        another one by now: some minutes on two cores.
    """
    path, prefix = miniature_path(backbone), "quick" if quick() else "miniature"
    world = replace(QUICK_WORLD, pretraining=True, test=0) if quick() else PRETRAINING
    budget: dict[str, Any] = (
        {"size": 64, "batch_size": 8, "steps": 2} if quick() else {"size": 80, "batch_size": 32, "epochs": 5}
    )
    budget |= {"lr": 2e-3, "decay": True, "freeze": 0, "weights": "none", "min_images": world.min_images}
    config = TrainConfig(model=backbone, **budget)
    basis = json.dumps({"version": VERSION, "world": asdict(world), "training": asdict(config)})

    def made() -> bool:
        return distributed.gather(_rest_on(path, basis))[0]

    with distributed.group():
        if not made():
            with first_alone(lock_of(path), waiting=f"{path}: another process makes these weights: waiting for it"):
                if not made():  # looked at again: whoever was inside may have made them meanwhile
                    root = make_world(data_root() / f"{prefix}-pretraining", world)
                    run = fit(config, root, runs_root() / f"{prefix}-pretraining-{backbone}")
                    state = run.model("last").cpu().backbone.state_dict()
                    with atomic_path(path) as part:
                        save_file({key: value.contiguous() for key, value in state.items()}, part, {"basis": basis})
    return path


def _rest_on(path: Path, basis: str) -> bool:
    """Check whether a file of weights is there and was made like this."""
    with contextlib.suppress(OSError, SafetensorError), safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("basis") == basis
    return False


def course_mirror(real: bool = False) -> str:
    """Choose where notebook 10 downloads from: "" is the public servers, else a server of this process, until it ends.

    That server offers the world of the course in the layout of the public ones; it says so.
    """
    if real:
        print("downloads: from the public servers")
        return ""
    folder = make_mirror(course_data().root, data_root() / f"{mode()}-mirror")
    print("downloads: from this machine, the world above in the layout of the public servers")
    return _servers.enter_context(serve(folder))


def scratch(name: str) -> Path:
    """Name a folder of this course's mode for what a notebook fetches and trains; the path is a relative one."""
    return Path(os.path.relpath(data_root() / f"{mode()}-{name}"))


def real_config(model: str, real: bool = False) -> TrainConfig:
    """Make notebook 10's settings: those of the real photographs, or half the course's epochs on the miniature."""
    if real:
        return TrainConfig(model=model, min_images=10, epochs=6, size=299, weights="imagenet")
    config = course_config(model, min_images=max(2, min_images() // 2))
    if config.weights == "miniature":
        miniature_weights(backbone_of(model))
    return replace(config, epochs=config.epochs // 2) if config.epochs else config


def course_split(data: GoogleLandmarks, seed: int = 0) -> Split:
    """Make the split that the course's runs use."""
    return split_dev(data.labelled(min_images()), data.root, seed=seed)


def more_queries() -> GoogleLandmarks:
    """Make the course's landmarks with four times as many test images of them, to tell small differences apart.

    The real data set has enough as it is.
    """
    if mode() == "gldv2":
        return course_data()
    config = (
        replace(QUICK_WORLD, images=4, known=0.9)
        if quick()
        else replace(FULL_WORLD, images=4, test=1300, known=0.9, unknown=0.02)
    )
    return GoogleLandmarks(make_world(data_root() / f"{mode()}-queries", config))
