"""The course: its data, its runs and its tables, in three sizes (quick, miniature, the real data set).

Notebooks ask for a run by name. It is trained the first time and loaded ever after.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from landmark.course.together import fit_all
from landmark.data.folder import GoogleLandmarks
from landmark.models.recipes import backbone_of
from landmark.prepare.mirror import make_mirror, serve
from landmark.training.config import TrainConfig
from landmark.training.run import Run
from landmark.training.splits import Split, split_dev
from landmark.utils.errors import InputError
from landmark.utils.files import data_root, quick, runs_root, stamp
from landmark.utils.log import show_log
from landmark.world.config import WorldConfig
from landmark.world.make import make_world

show_log()  # notebooks read what the library says, as users of the command do
_servers = contextlib.ExitStack()
QUICK_WORLD = WorldConfig(landmarks=4, images=8, test=72, size=64)
FULL_WORLD = WorldConfig(
    landmarks=48, images=20, test=2400, size=224, known=0.26, unknown=0.13, siblings=3, nonlandmarks=400
)
NETWORKS = ("resnet50", "xception", "xception_spatial", "xception_cbp", "xception_cbp_attention")
"""The paper's five models: the track of the paper's networks."""
FEATURES = ("efficientnet_lite0", "efficientnet_lite0_spatial", "efficientnet_lite0_cbp",
            "efficientnet_lite0_cbp_attention")  # fmt: skip
"""The paper's ideas on ImageNet features that come with a package: the track of real features."""
_FROZEN = {"resnet50": "layer3", "xception": "block11"}  # the stages behind it learn; of other backbones none


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
    world = f"the {mode()} world, {config.landmarks} invented landmarks at {config.size} px, seed {config.seed}"
    known, unknown = (round(share * config.test) for share in (config.known, config.unknown))
    rest = config.test - known - unknown
    asked = f"{known} of known landmarks, {unknown} of unknown ones, {rest:,} distractors ({rest / config.test:.0%})"
    return _opened(make_world(data_root() / mode(), config), f"{world}\n      {config.test:,} test images: {asked}")


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
    """Settings of the course's run of a model: one budget for all models of a track.

    >>> course_config("xception").model
    'xception'
    """
    backbone = backbone_of(model)
    budgets: dict[str, dict[str, Any]] = {
        "gldv2": {"size": 299, "batch_size": 64, "epochs": 6},
        "miniature": {"size": 128, "batch_size": 32, "epochs": 6, "lr": 1e-3, "decay": True, "views": 2},
        "quick": {"size": 64, "batch_size": 8, "steps": 2, "views": 1},
    }
    settings = budgets[mode()]
    settings["weights"] = _paper_weights() if backbone in _FROZEN else "imagenet"
    if mode() != "gldv2":
        settings["freeze"] = _FROZEN.get(backbone, "all")
    if backbone not in _FROZEN and mode() != "quick":
        settings |= {"size": 224, "freeze": "all"}
    return replace(TrainConfig(model=model, min_images=min_images(), **settings), **changes)


def _paper_weights() -> str:
    """Choose what the paper's networks start from: `LANDMARK_WEIGHTS`, else the stand-in weights on the miniature."""
    asked = os.environ.get("LANDMARK_WEIGHTS") or _usual_weights()
    if asked not in {"imagenet", "miniature"}:
        raise InputError(f"LANDMARK_WEIGHTS={asked}: the paper's networks start from imagenet or from miniature")
    return asked


def _usual_weights() -> str:
    return "imagenet" if mode() == "gldv2" else "miniature"


def _beside() -> str:
    """End the name of what is kept beside the course's own, because the paper's networks start from other weights."""
    weights = _paper_weights()
    return "" if weights == _usual_weights() else f"-{weights}"


def seeds() -> tuple[int, ...]:
    """List the seeds that the course trains each model with: three on the miniature, else one.

    >>> len(seeds()) in (1, 3)
    True
    """
    return (0, 1, 2) if mode() == "miniature" else (0,)


def course_run(model: str, *, name: str | None = None, **changes: Any) -> Run:
    """Load the course's run of a model when it is finished, continue it when it was stopped, else train it now.

    Args:
        model: one of `list_models()`.
        name: of the run's folder; the model's, and its seed's unless that is 0, when left out.
        changes: settings that differ from `course_config`.
    """
    return fit_all([_job(course_config(model, **changes), name)])[0]


def course_runs(model: str) -> list[Run]:
    """Load or train the course's runs of a model, one for each of `seeds()`."""
    return trained([model])[model]


def trained(models: Iterable[str]) -> dict[str, list[Run]]:
    """Load or train the course's runs of some models, all seeds of each; those that are missing side by side."""
    keys = [(model, seed) for model in models for seed in seeds()]
    runs = fit_all([_job(course_config(model, seed=seed)) for model, seed in keys])
    found: dict[str, list[Run]] = {model: [] for model, _ in keys}
    for (model, _), run in zip(keys, runs, strict=True):
        found[model].append(run)
    return found


def _job(config: TrainConfig, name: str | None = None) -> tuple[TrainConfig, Path, Path]:
    """Settings, data and folder of a run."""
    folder = name or config.model + (f"-seed{config.seed}" if config.seed else "")
    folder += _beside() if backbone_of(config.model) in _FROZEN else ""
    return config, course_data().root, runs_root() / f"{mode()}-{folder}"


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
    return Path(os.path.relpath(data_root() / f"{mode()}-{name}{_beside()}"))


def real_config(model: str, real: bool = False) -> TrainConfig:
    """Make notebook 10's settings: those of the real photographs, or half the course's epochs on the miniature."""
    if real:
        return TrainConfig(model=model, min_images=10, epochs=6, size=299, weights="imagenet")
    config = course_config(model, min_images=max(2, min_images() // 2))
    return replace(config, epochs=config.epochs // 2) if config.epochs else config


def course_split(data: GoogleLandmarks, seed: int = 0) -> Split:
    """Make the split that the course's runs use."""
    return split_dev(data.labelled(min_images()), data.root, seed=seed)
