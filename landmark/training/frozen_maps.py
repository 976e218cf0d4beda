"""What frozen stages make of images, computed once for some views of each and kept on disk for all epochs."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from landmark.data.dataset import Bad, Batch, LandmarkDataset, Sample, Samples
from landmark.data.loader import Quarantine, load_batches
from landmark.models.frozen import Learner
from landmark.models.int8 import Ranges
from landmark.models.net import LandmarkNet
from landmark.utils import distributed
from landmark.utils.device import device, fast_dtype
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path, check_space, claimed, write_json

PIECE = 32  # images in a file, which is there whole or not at all: a stopped pass goes on in the same batches


class Views(Samples):
    """A dataset of maps (C, H, W) in place of images: epoch e sees each as it was in epoch e mod `count`.

    With as many views as epochs it gives what the images would; with fewer, flips and shifts are seen again.

    Args:
        dataset: of the images.
        count: views of each image.
        folder: of the files with the maps; `fill` makes those that are missing.

    Source: features of a frozen network computed once, as in Donahue et al., "DeCAF: a deep convolutional activation
    feature for generic visual recognition", section 3.
    """

    def __init__(self, dataset: LandmarkDataset, count: int, folder: str | Path):
        self.dataset, self.count, self.folder = dataset, count, Path(folder)
        self.root, self.split = dataset.root, dataset.split
        self.shape: tuple[int, ...] = ()  # of a map, once `fill` knows it

    @property
    def shards(self) -> np.ndarray:
        """Which TAR, or folder, each image is read from."""
        return self.dataset.shards

    def __len__(self) -> int:
        return len(self.dataset)

    def _path(self, view: int, piece: int) -> Path:
        return self.folder / f"{view:03}-{piece:07}.safetensors"

    def bind(self, basis: dict) -> None:
        """Drop the files that are there unless they rest on the same `basis`, as those to come will."""
        note = self.folder / "basis.json"
        if not claimed(note, basis):
            shutil.rmtree(self.folder, ignore_errors=True)
            write_json(note, basis)

    def missing(self) -> list[tuple[int, int]]:
        """View and number of each file that is still to be made."""
        pieces = math.ceil(len(self) / PIECE)
        keys = [(view, piece) for view in range(self.count) for piece in range(pieces)]
        return [key for key in keys if not self._path(*key).exists()]

    def fill(self, maps: Callable[[Tensor], Tensor], workers: int | None = None) -> Iterator[Batch]:
        """Make the files that are missing, this rank's share of them; yields each batch once it is written.

        Args:
            maps: images (B, 3, S, S) → maps (B, C, H, W), on the CPU, see `frozen.Learner.maps`.
            workers: as for `make_loader`.

        Raises:
            InputError: the disk has no room for them, or a file cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if distributed.rank() == 0:
            for left in self.folder.glob(".*.part"):  # by a killed process
                left.unlink()
        # One list for all ranks: another may write already while this one looks at the folder
        missing = distributed.gather(self.missing())[0]
        one = maps(torch.zeros(1, 3, self.dataset.at_least, self.dataset.at_least, dtype=torch.float32))[0]
        self.shape = tuple(one.shape)
        advice = f"ask for fewer views than {self.count}, freeze more stages or choose another folder"
        check_space(self.folder, len(missing) * PIECE * one.nbytes, advice)
        mine = missing[distributed.rank() :: distributed.size()]
        keys = [[(view, index) for index in self._indices(piece)] for view, piece in mine]
        for (view, piece), batch in zip(mine, load_batches(self.dataset, keys, workers), strict=True):
            bad = {item.image_id: item.reason for item in batch.bad}
            rows = [i for i, index in enumerate(self._indices(piece)) if self._id(index) not in bad]
            whole = torch.zeros(len(self._indices(piece)), *self.shape, dtype=one.dtype)
            if rows:
                whole[rows] = maps(batch.images)
            with atomic_path(self._path(view, piece)) as part:
                save_file({"maps": whole}, part, {"bad": json.dumps(bad)})
            yield batch

    def complete(
        self, learner: Learner, basis: dict, asked: Event, quarantine: Quarantine, *, workers: int | None = None,
        progress: bool = False,
    ) -> None:  # fmt: skip
        """Let frozen stages make all that is missing.

        Args:
            learner: the network with these stages.
            basis: what their maps depend on, see `bind`.
            asked: set when it is to stop; files that are whole stay.
            quarantine: takes in the bad images.
            workers: as for `make_loader`.
            progress: show a bar.

        Raises:
            InputError: as `fill`, or other ranks' files are not to be seen here.
            KeyboardInterrupt: it was to stop.
        """

        def maps(images: Tensor) -> Tensor:
            return learner.maps(images.to(device(), memory_format=torch.channels_last)).cpu()

        if distributed.rank() == 0:
            self.bind(basis)
        total = len(self.missing())
        with tqdm(total=total, unit="image", unit_scale=PIECE, desc="views", disable=not progress) as bar:
            for batch in self.fill(maps, workers):
                quarantine.add(batch.bad)
                bar.update(distributed.size())
                if asked.is_set():
                    break
        if distributed.total(asked.is_set())[0]:
            raise KeyboardInterrupt
        if self.missing():
            raise InputError(f"{self.folder}: other processes' maps are not there: choose a --scratch that all share")

    def _indices(self, piece: int) -> range:
        return range(piece * PIECE, min(len(self), (piece + 1) * PIECE))

    def _id(self, index: int) -> str:
        return self.dataset.ids[index].decode()

    def __getitem__(self, key: tuple[int, int]) -> Sample | Bad:
        epoch, index = key
        piece, row = divmod(index, PIECE)
        path, image_id = self._path(epoch % self.count, piece), self._id(index)
        try:
            with safe_open(path, framework="pt") as file:
                bad = json.loads(file.metadata()["bad"])
                if image_id in bad:
                    return Bad(image_id, bad[image_id])
                return Sample(file.get_slice("maps")[row], int(self.dataset.labels[index]), image_id)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            why = str(error).splitlines()[0][:120]
            raise InputError(f"{path}: damaged ({why}): delete it, then the same command makes it again") from None


def basis_of(model: LandmarkNet, dataset: LandmarkDataset, ranges: Ranges | None) -> dict:
    """List all that the maps of frozen stages depend on.

    Args:
        model: the network; what does not learn of its backbone is frozen.
        dataset: of the images.
        ranges: of the stages' 8-bit integers.
    """
    weights = hashlib.sha256(json.dumps(ranges, default=Tensor.tolist).encode())
    for p in model.backbone.parameters():
        if not p.requires_grad:
            weights.update(p.detach().cpu().numpy().tobytes())
    return {"weights": weights.hexdigest(), "images": dataset.images.fingerprint(dataset.ids.astype(str).tolist()),
            "size": dataset.at_least, "seed": dataset.seed, "arithmetic": str(fast_dtype(device()))}  # fmt: skip
