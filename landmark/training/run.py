"""A training run as a folder: its labels, log, checkpoints and result."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from safetensors.torch import save_file
from torch import nn

from landmark.data.archives import open_images
from landmark.data.dataset import LandmarkDataset, eval_transform
from landmark.data.folder import LabelMap
from landmark.data.loader import make_loader
from landmark.models.net import LandmarkNet, create_model
from landmark.models.recipes import data_config
from landmark.models.weights import load_tensors, read_tensors
from landmark.training.config import TrainConfig, place_of_weights
from landmark.training.splits import SIDES, read_sides
from landmark.utils.device import device, fast_dtype
from landmark.utils.distributed import first_alone
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path, check_same, sha256
from landmark.utils.locks import LOCK

if TYPE_CHECKING:
    from torch.utils.data import DataLoader
    from torch.utils.tensorboard import SummaryWriter

# The columns of a log; behind them come the network's `learnt_numbers`, where it has some
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


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a checkpoint of a run, whole or not at all."""
    with atomic_path(path) as part:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, part)


def write_log(path: Path, rows: list[dict[str, float]], board: SummaryWriter | None = None) -> None:
    """Write the log of a run, and its last row for TensorBoard."""
    columns = [*LOG, *(name for row in rows[-1:] for name in row if name not in LOG)]
    with atomic_path(path / "metrics.csv") as part:
        pd.DataFrame(rows, columns=columns).to_csv(part, index=False, lineterminator="\n")
    if board:
        for name in columns[2:]:
            board.add_scalar(name, rows[-1][name], rows[-1]["step"])


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

    @cached_property
    def sides(self) -> pd.DataFrame | None:
        """Which images the run learnt from and which it was scored on: id, landmark_id, side ("train" or "dev").

        None for an older run, which has not kept them.

        Raises:
            InputError: the file is damaged.
        """
        if not (self.path / SIDES).exists():
            return None
        return read_sides(self.path, {"train": self.result["train_images"], "dev": self.result["dev_images"]})

    def model(self, which: str = "best") -> LandmarkNet:
        """The network of a checkpoint ("best" or "last"), in evaluation mode on the best device.

        Raises:
            InputError: no such checkpoint, or one that is damaged.
        """
        path = self.path / f"{which}.safetensors"
        tensors = read_tensors(path, self.result["sha256"] if which == "best" else "")
        model = create_model(self.config.model, len(self.labels), **self.config.network)
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
        } | ({"in parts": self.config.stage} if self.config.stage else {})  # fmt: skip

    def loader(self, table: pd.DataFrame, root: str | Path, split: str = "test", *, workers: int | None = None,
               batch_size: int | None = None) -> DataLoader:  # fmt: skip
        """Batches of a table's images, prepared as this run's network wants them, in the table's order."""
        return make_loader(self.dataset(table, root, split), batch_size or self.config.batch_size, workers=workers)

    def dataset(self, table: pd.DataFrame, root: str | Path, split: str = "test") -> LandmarkDataset:
        """A table's images, prepared as this run's network wants them."""
        transforms = eval_transform(self.config.size, **data_config(self.config.model))
        labels = self.labels if "landmark_id" in table else None
        return LandmarkDataset(table, root, split, labels, *transforms)


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


def fingerprint(table: pd.DataFrame, without: Sequence[str] = ()) -> dict:
    """Give what tells the images and labels of a run from those of another.

    Args:
        table: id and landmark_id.
        without: ids of images without a landmark that are learnt from as well.
    """
    rows = table.sort_values("id")[["id", "landmark_id"]].to_csv(index=False)
    more = {"nonlandmarks": _sha256("\n".join(without))} if without else {}
    return {"images": len(table), "sha256": _sha256(rows), **more}


def is_finished(path: Path, wanted: dict) -> bool:
    """Whether a folder holds this very run, finished; False where it can begin or go on.

    Args:
        path: folder of a run.
        wanted: `settings` of the run and `data`, what tells its data set from another; `bad_limit` may differ, as it
            does not decide what is learnt.

    Raises:
        InputError: the folder holds another run, or other things; lists what differs. Or it holds this one, not
            finished, and the file of its first weights has changed.
    """
    if (path / "config.json").exists():
        recorded = read_json(path / "config.json")
        if isinstance(recorded.get("settings"), dict):  # a setting that an older run did not record had its default
            recorded["settings"] = asdict(TrainConfig()) | recorded["settings"]
            recorded["settings"]["weights"] = place_of_weights(recorded["settings"]["weights"])  # nor where it lay
        names = [(part, name) for part, values in wanted.items() for name in values if name != "bad_limit"]
        before = {name: recorded.get(part, {}).get(name) for part, name in names}
        check_same(path, before, {name: wanted[part][name] for part, name in names}, "run")
        if (path / "result.json").exists():
            return True
        _check_weights(path, recorded)
        return False
    # What is hidden are locks and files half-written, by another process or a killed one
    if path.exists() and (not path.is_dir() or any(not entry.name.startswith(".") for entry in path.iterdir())):
        raise InputError(f"{path}: exists and is not a training run: choose a new folder")
    return False


def weights_sha256(weights: str) -> str | None:
    """SHA-256 of a file of first weights, None where it is gone or where they have a name, as "imagenet" does."""
    return sha256(weights) if os.path.isabs(weights) and os.path.isfile(weights) else None


def _check_weights(path: Path, recorded: dict) -> None:
    """InputError when the file that a run began with is another one by now; it may be gone, once there are states."""
    before = recorded.get("weights_sha256")  # older runs and weights with a name have none
    now = weights_sha256(recorded["settings"]["weights"])
    if before and now and now != before:
        raise InputError(
            f"{path}: this run began with other weights in {recorded['settings']['weights']}, whose sha256 was "
            f"{before[:8]}… and is {now[:8]}… now: choose another folder for the new ones, or put the old ones back"
        )


def alone_in(path: Path) -> contextlib.AbstractContextManager:
    """One training at a time in a run's folder; the second one is refused."""
    return first_alone(path / LOCK, f"{path}: another process is training this run: wait for it")


@contextlib.contextmanager
def open_board(path: Path, wanted: bool) -> Iterator[SummaryWriter | None]:
    """Open a TensorBoard writer into a run's folder when one is wanted."""
    if not wanted:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(path / "tensorboard") as writer:
        yield writer


def check_tensorboard() -> None:
    """Raise an InputError where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave it out")
