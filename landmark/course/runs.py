"""The course: its data, its runs and its tables, in three sizes (quick, miniature, the real data set).

Notebooks ask for a run by name. It is trained the first time and loaded ever after.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from landmark import distributed, metrics, tables
from landmark.archives import open_images
from landmark.backbones import miniature_path
from landmark.config import TrainConfig, WorldConfig
from landmark.data import Batch, GoogleLandmarks
from landmark.images import ImageError, read_image
from landmark.localserver import serve
from landmark.locks import lock_of
from landmark.mirror import make_mirror
from landmark.prediction import RULE, Predictions, predict
from landmark.recipes import backbone_of
from landmark.runs import Run, alone_in, first_alone, needs_weights
from landmark.runtime import atomic_path, data_root, quick, runs_root, stamp
from landmark.splits import Split, split_dev
from landmark.synthetic import VERSION, make_world
from landmark.training import fit

PAPER = pd.DataFrame(
    {"paper": [0.241, 0.674, 0.119, 0.812, 0.841], "paper_loss": [3.183, 1.301, 3.079, 0.908, 0.932]},
    index=["resnet50", "xception", "xception_spatial", "xception_cbp", "xception_cbp_attention"],
)
"""GAP and loss on the 2019 paper's own dev set, from its Figure 5."""

_servers = contextlib.ExitStack()
QUICK_WORLD = WorldConfig(landmarks=4, images=8, test=72, size=64)
FULL_WORLD = WorldConfig()
PRETRAINING = WorldConfig(landmarks=60, images=40, test=0, size=112, siblings=1, pretraining=True)


def mode() -> str:
    """What the course runs on: "gldv2" when `LANDMARK_GLDV2` names a folder, else "quick" or "miniature".

    >>> mode() in {"gldv2", "quick", "miniature"}
    True
    """
    return "gldv2" if os.environ.get("LANDMARK_GLDV2") else "quick" if quick() else "miniature"


def course_data() -> GoogleLandmarks:
    """The data set of the course, made on the spot when it is the miniature world; its first use tells which it is."""
    if mode() == "gldv2":
        root = Path(os.environ["LANDMARK_GLDV2"])
        return _opened(root, f"Google Landmarks v2 in {root.name}")
    config = QUICK_WORLD if quick() else FULL_WORLD
    told = f"the {mode()} world, {config.landmarks} invented landmarks at {config.size} px, seed {config.seed}"
    return _opened(make_world(data_root() / mode(), config), told)


def _opened(root: Path, told: str) -> GoogleLandmarks:
    """One object for a folder while its tables are the same, so that they are read once."""
    return _read_once(root, told, tuple((path, stamp(path.stat())) for path in sorted(root.glob("*.csv"))))


@lru_cache(4)
def _read_once(root: Path, told: str, tables: tuple) -> GoogleLandmarks:
    print(f"data: {told}")
    return GoogleLandmarks(root)


def min_images() -> int:
    """The filter of the course: the paper's 100 on the real data, the world's own on a miniature."""
    return 100 if mode() == "gldv2" else (QUICK_WORLD if quick() else FULL_WORLD).min_images


def course_config(model: str, **changes) -> TrainConfig:
    """Settings of the course's run of a model: one budget for all of them.

    >>> course_config("xception").model
    'xception'
    """
    settings = {
        "gldv2": {"size": 299, "batch_size": 64, "epochs": 6, "weights": "imagenet"},
        "miniature": {"size": 80, "batch_size": 32, "epochs": 5, "lr": 1e-3, "decay": True, "weights": "miniature"},
        "quick": {"size": 64, "batch_size": 8, "steps": 2, "weights": "miniature"},
    }[mode()]
    return replace(TrainConfig(model=model, min_images=min_images(), **settings), **changes)


def course_run(model: str, *, name: str | None = None, **changes) -> Run:
    """The course's run of a model: loaded when it is finished, continued when it was stopped, else trained now.

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
    """Weights that stand in for ImageNet's without a network: a backbone trained on a disjoint miniature world.

    Args:
        backbone: "xception" or "resnet50".

    Returns:
        The file that `weights="miniature"` loads; trained the first time, and when that world or its training is
        another one by now: some minutes on two cores.
    """
    path, prefix = miniature_path(backbone), "quick" if quick() else "miniature"
    world = replace(QUICK_WORLD, pretraining=True, test=0) if quick() else PRETRAINING
    budget = {"size": 64, "batch_size": 8, "steps": 2} if quick() else {"size": 80, "batch_size": 32, "epochs": 5}
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
    """Whether a file of weights is there and was made like this."""
    with contextlib.suppress(OSError, SafetensorError), safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("basis") == basis
    return False


def course_mirror(real: bool = False) -> str:
    """Where notebook 10 downloads from: "" is the public servers, else a server of this process, until it ends.

    That server offers the world of the course in the layout of the public ones; it says so.
    """
    if real:
        print("downloads: from the public servers")
        return ""
    folder = make_mirror(course_data().root, data_root() / f"{mode()}-mirror")
    print("downloads: from this machine, the world above in the layout of the public servers")
    return _servers.enter_context(serve(folder))


def scratch(name: str) -> Path:
    """A folder of this course's mode for what a notebook fetches and trains on the way, as seen from here."""
    return Path(os.path.relpath(data_root() / f"{mode()}-{name}"))


def real_config(model: str, real: bool = False) -> TrainConfig:
    """Settings of notebook 10's run: those of the real photographs, or half the course's epochs on the miniature."""
    if real:
        return TrainConfig(model=model, min_images=10, epochs=6, size=299, weights="imagenet")
    config = course_config(model, min_images=max(2, min_images() // 2))
    if config.weights == "miniature":
        miniature_weights(backbone_of(model))
    return replace(config, epochs=config.epochs // 2) if config.epochs else config


def truth_of(data: GoogleLandmarks, split: str = "all") -> dict[str, tuple[int, ...]]:
    """image_id → landmark ids of the test images that are scored, see `tables.scored`."""
    return tables.scored(data.solution, split, f"the solution of {data.root}")


def test_predictions(run: Run, data: GoogleLandmarks) -> Predictions:
    """Predictions of a run on the whole test set, kept beside it: made again when anything they rest on changes."""
    truth = truth_of(data)
    known = [next((x for x in truth.get(i, ()) if x in run.labels), -1) for i in data.test["id"]]
    table = data.test.assign(landmark_id=known)
    basis = run.basis(table, data.root) | {"rule": RULE}
    name = hashlib.sha256(json.dumps(basis).encode()).hexdigest()[:16]
    path = run.path / "predictions" / f"{name}.npz"
    found = Predictions.load(path, basis)
    if found is None:
        found = predict(run.model(), run.loader(table, data.root))
        with contextlib.suppress(OSError):  # no room or no right to keep them: they are as good
            found.save(path, basis)
    return found


def test_answers(run: Run, data: GoogleLandmarks) -> dict[str, tuple[int, float]]:
    """image_id → (landmark_id, score) of the test images that are scored, as `metrics` wants it beside `truth_of`."""
    truth, found = truth_of(data), test_predictions(run, data).mapping(run.labels)
    return {image_id: answer for image_id, answer in found.items() if image_id in truth}


def test_scores(run: Run, data: GoogleLandmarks, n: int = 1000) -> dict[str, float]:
    """Closed and open GAP with 95 % bootstrap intervals, top-1 accuracy and loss of one run.

    Closed: the landmark queries of the label set alone. Open: the whole test set, distractors and all.
    """
    predictions, everything = test_predictions(run, data), truth_of(data)
    found = metrics.restrict(predictions.mapping(run.labels), everything)
    closed = metrics.closed_set(everything, run.labels.landmark_ids)
    inside = metrics.restrict(found, closed)
    low, high = metrics.gap_bootstrap(inside, closed, n)
    open_low, open_high = metrics.gap_bootstrap(found, everything, n)
    return {
        "closed": metrics.global_average_precision(inside, closed), "closed_low": low, "closed_high": high,
        "open": metrics.global_average_precision(found, everything), "open_low": open_low, "open_high": open_high,
        "top1": metrics.top1_accuracy(inside, closed), "loss": float(np.nanmean(predictions.loss)),
    }  # fmt: skip


def score_table(models: Iterable[str], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """The paper's Figure 5, measured: a row of `test_scores` for each model, the paper's figures beside them."""
    rows = {}
    for model in models:
        run = course_run(model)
        rows[model] = {"dev": run.result["dev_gap"], **test_scores(run, data, n), "minutes": run.result["seconds"] / 60}
    return pd.DataFrame.from_dict(rows, orient="index").join(PAPER)


def pictures(table: pd.DataFrame, root: str | Path, split: str = "train", size: int = 160) -> list[np.ndarray]:
    """Images of a table's rows as arrays, the longer side at most `size` pixels; grey where one cannot be read."""
    images, out = open_images(root, split), []
    for image_id in table["id"]:
        try:
            image = read_image(images.read(image_id), at_least=size)
        except ImageError:
            image = Image.new("RGB", (size, size * 3 // 4), (150, 150, 150))
        image.thumbnail((size, size))
        out.append(np.asarray(image))
    return out


def sample_rows(table: pd.DataFrame, landmarks: Sequence[int], per_landmark: int, seed: int = 0) -> pd.DataFrame:
    """Rows of some landmarks, `per_landmark` of each in their order, drawn at random."""
    groups = (table[table["landmark_id"] == landmark_id] for landmark_id in landmarks)
    chosen = [g.sample(per_landmark, random_state=seed, replace=len(g) < per_landmark) for g in groups]
    return pd.concat(chosen, ignore_index=True)


def names_of(data: GoogleLandmarks) -> dict[int, str]:
    """landmark_id → readable name, where the tables of names are present."""
    names = tables.label_names(data.root)
    return names["name"].to_dict() if "name" in names else {}


def planted_faults(data: GoogleLandmarks) -> pd.DataFrame:
    """What a miniature world has planted: id, fault; no rows for real data, where nobody knows."""
    path = data.root / "planted.csv"
    return pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame({"id": [], "fault": []}, dtype=str)


def course_split(data: GoogleLandmarks, seed: int = 0) -> Split:
    """The split that the course's runs use."""
    return split_dev(data.labelled(min_images()), data.root, seed=seed)


def more_queries() -> GoogleLandmarks:
    """The course's landmarks with four times as many test images of them, to tell small differences apart.

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


def batch_of(run: Run, table: pd.DataFrame, root: str | Path, split: str = "test") -> Batch:
    """The rows of a table as one batch for a run's network."""
    return next(iter(run.loader(table, root, split, workers=0, batch_size=max(len(table), 2))))


def dev_table(models: Iterable[str]) -> pd.DataFrame:
    """What the runs of some models reached on the dev set, and what they cost."""
    rows = {}
    for model in models:
        result = course_run(model).result
        rows[model] = {"dev GAP": result["dev_gap"], "dev top-1": result["dev_top1"], "dev loss": result["dev_loss"],
                       "train images": result["train_images"], "minutes": result["seconds"] / 60}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def learning_tables(models: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The logs of some models' runs, by name."""
    return {model: course_run(model).metrics for model in models}


def paired_differences(pairs: Sequence[tuple[str, str]], data: GoogleLandmarks, n: int = 1000) -> pd.DataFrame:
    """Closed GAP of the first model of each pair minus that of the second, with the interval of the difference."""
    rows = {}
    for first, second in pairs:
        runs = [course_run(name) for name in (first, second)]
        closed = metrics.closed_set(truth_of(data), runs[0].labels.landmark_ids)
        found = [metrics.restrict(test_answers(run, data), closed) for run in runs]
        rows[f"{first} − {second}"] = metrics.paired_gap_bootstrap(*found, closed, n)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high"])


def squares(images: Tensor) -> list[np.ndarray]:
    """A normalised batch (B, 3, S, S) as pictures again, each stretched to its own range, for a figure."""
    x = images.detach().float().cpu().permute(0, 2, 3, 1).numpy()
    low, high = x.min((1, 2, 3), keepdims=True), x.max((1, 2, 3), keepdims=True)
    return list((x - low) / np.maximum(high - low, 1e-6))
