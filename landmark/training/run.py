"""A training run as a folder: its labels, log, checkpoints and result."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from landmark.data.archives import open_images
from landmark.data.dataset import LandmarkDataset, eval_transform
from landmark.data.folder import LabelMap
from landmark.data.loader import make_loader
from landmark.models.net import LandmarkNet, create_model
from landmark.models.recipes import data_config
from landmark.models.weights import load_tensors, read_tensors
from landmark.training.checkpoints import Checkpoints
from landmark.training.config import TrainConfig, place_of_weights
from landmark.utils import distributed
from landmark.utils.device import device, fast_dtype
from landmark.utils.errors import InputError
from landmark.utils.files import check_same
from landmark.utils.locks import LOCK, alone

LOG = ("step", "epoch", "seconds", "train_loss", "dev_loss", "dev_gap", "dev_top1", "images_per_second", "lr")


def read_json(path: Path) -> dict:
    """Read a file of a run; InputError when it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: {path.parent} is not a training run") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}): delete the run's folder and train again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged (not a JSON object): delete the run's folder and train again")
    return content


@dataclass(frozen=True)
class Run:
    """A finished run. `result` holds the best dev scores, the counts, the time and the checkpoint's hash."""

    path: Path
    config: TrainConfig
    labels: LabelMap
    result: dict

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The log: one row for each evaluation of the whole dev set, see `LOG`."""
        return pd.read_csv(self.path / "metrics.csv")

    def model(self, which: str = "best") -> LandmarkNet:
        """The network of a checkpoint ("best" or "last"), in evaluation mode on the best device.

        Raises:
            InputError: no such checkpoint, or one that is damaged.
        """
        path = self.path / f"{which}.safetensors"
        tensors = read_tensors(path, self.result["sha256"] if which == "best" else "")
        model = create_model(self.config.model, len(self.labels))
        load_tensors(model, tensors, path)
        return model.to(device()).eval()

    def basis(self, table: pd.DataFrame, root: str | Path, split: str = "test") -> dict:
        """All that the network's answers to the images of a table depend on: what is kept of them is bound to it."""
        rows = table[[name for name in ("id", "landmark_id") if name in table]].to_csv(index=False)
        return {
            "weights": self.result["sha256"], "model": self.config.model, "size": self.config.size,
            "labels": _sha256(json.dumps(self.labels.landmark_ids)), "rows": _sha256(rows),
            "images": open_images(root, split).fingerprint(table["id"].tolist()),
            "arithmetic": str(fast_dtype(device())),
        }  # fmt: skip

    def loader(self, table: pd.DataFrame, root: str | Path, split: str = "test", *, workers: int | None = None,
               batch_size: int | None = None):  # fmt: skip
        """Batches of a table's images, prepared as this run's network wants them, in the table's order."""
        transform = eval_transform(self.config.size, **data_config(self.config.model))
        labels = self.labels if "landmark_id" in table else None
        dataset = LandmarkDataset(table, root, split, labels, transform)
        return make_loader(dataset, batch_size or self.config.batch_size, workers=workers)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def open_run(path: str | Path) -> Run:
    """Open a finished run.

    Raises:
        InputError: not a run, not finished, or damaged.
    """
    path = Path(path)
    config = saved_config(path)
    if not (path / "result.json").exists():
        raise InputError(f"{path}: this run is not finished: train with the same settings again to go on with it")
    result = read_json(path / "result.json")
    if "sha256" not in result:
        raise InputError(f"{path / 'result.json'}: damaged: delete the folder and train again")
    return Run(path, config, LabelMap.load(path / "labels.json"), result)


def saved_config(path: str | Path) -> TrainConfig:
    """Settings of a run, finished or not; InputError when its config.json is missing or damaged."""
    settings = read_json(Path(path) / "config.json").get("settings")
    if not isinstance(settings, dict):
        raise InputError(f"{path}/config.json: damaged (no settings): delete the folder and train again")
    return TrainConfig.of(settings)


def is_finished(path: Path, wanted: dict) -> bool:
    """Whether a folder holds this very run, finished; False where it can begin or go on.

    Args:
        path: folder of a run.
        wanted: `settings` of the run and `data`, what tells its data set from another; `bad_limit` may differ, as it
            does not decide what is learnt.

    Raises:
        InputError: the folder holds another run, or other things; lists what differs.
    """
    if (path / "config.json").exists():
        found = read_json(path / "config.json")
        if isinstance(found.get("settings"), dict):  # what an older run could not be told was as by default
            found["settings"] = asdict(TrainConfig()) | found["settings"]
            found["settings"]["weights"] = place_of_weights(found["settings"]["weights"])  # nor where it lay
        names = [(part, name) for part, values in wanted.items() for name in values if name != "bad_limit"]
        before = {name: found.get(part, {}).get(name) for part, name in names}
        check_same(path, before, {name: wanted[part][name] for part, name in names}, "run")
        return (path / "result.json").exists()
    # What is hidden are locks and files half-written, by another process or a killed one
    if path.exists() and (not path.is_dir() or any(not entry.name.startswith(".") for entry in path.iterdir())):
        raise InputError(f"{path}: exists and is not a training run: choose a new folder")
    return False


def needs_weights(path: Path) -> bool:
    """Whether a run has yet to load its first weights: it is not finished, and no state holds all of them."""
    return not (path / "result.json").exists() and not Checkpoints(path).paths()


@contextlib.contextmanager
def first_alone(lock: Path, busy: str = "", waiting: str = "") -> Iterator[None]:
    """Hold a lock in the first of several ranks, for all of them; none goes on before that. See `locks.alone`."""
    with alone(lock, busy, waiting=waiting) if distributed.rank() == 0 else contextlib.nullcontext():
        distributed.gather(None)
        yield


def alone_in(path: Path) -> contextlib.AbstractContextManager:
    """One training at a time in a run's folder; the second one is refused."""
    return first_alone(path / LOCK, f"{path}: another process is training this run: wait for it")


@contextlib.contextmanager
def board_of(path: Path, wanted: bool) -> Iterator[object | None]:
    """A TensorBoard writer into a run's folder when one is wanted."""
    if not wanted:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(path / "tensorboard") as writer:
        yield writer


def check_tensorboard() -> None:
    """InputError where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave it out")
