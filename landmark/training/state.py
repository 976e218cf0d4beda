"""What is saved of a run while it lasts: with it the next step is the one that would have come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from landmark.models.int8 import Ranges
from landmark.training.checkpoints import Checkpoints
from landmark.training.splits import Split
from landmark.training.step import Learning
from landmark.utils import distributed
from landmark.utils.errors import InputError


@dataclass
class State:
    """How far a run has come, beside its weights and those of its optimizer.

    Args:
        split: its train and dev rows.
        step: steps made.
        rows: of its log.
        losses: mean loss and number of images of each step since the last row.
        seconds: that it took.
        best: the highest dev GAP; below 0 before the first one.
        bad: image id → reason.
        weights: SHA-256 of the file with its first weights, if there is one.
        ranges: of the frozen stages' 8-bit integers: measured again, their last bits could differ.
    """

    split: Split
    step: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0
    best: float = -1.0
    bad: dict[str, str] = field(default_factory=dict)
    weights: str | None = None
    ranges: Ranges | None = None

    @classmethod
    def of(cls, saved: dict, split: Split) -> State:
        """Take up what `pack` made."""
        progress = json.loads(saved["kept"])
        progress["losses"] = [(loss, count) for loss, count in progress["losses"]]
        return cls(split, weights=saved.get("weights_sha256"), ranges=saved.get("ranges"), **progress)

    def log(self, scores: dict[str, float], per_epoch: int, rate: float, learnt: Mapping[str, float] = {}) -> bool:
        """Add a row of the log for the steps since the last one; returns whether the dev GAP is the best so far.

        Args:
            scores: of the dev set now.
            per_epoch: steps in an epoch.
            rate: learning rate of the next step.
            learnt: single numbers of the network, by name.
        """
        count = sum(n for _, n in self.losses)
        speed = count / max(self.seconds - (self.rows[-1]["seconds"] if self.rows else 0), 1e-9)
        mean = sum(loss * n for loss, n in self.losses) / count if count else float("nan")
        self.rows.append({
            "step": self.step, "epoch": round(self.step / per_epoch, 3), "seconds": round(self.seconds, 2),
            "train_loss": mean, **scores, "images_per_second": round(speed, 2), "lr": rate, **learnt,
        })  # fmt: skip
        better = scores["dev_gap"] > self.best
        self.losses, self.best = [], max(self.best, scores["dev_gap"])
        return better

    def result(self) -> dict:
        """Sum up the run: its best and its last dev scores, what it took and what it learnt from."""
        best, scores = max(self.rows, key=lambda row: row["dev_gap"]), ("dev_loss", "dev_gap", "dev_top1")
        torn, at_random = self.split.torn()
        return {
            **{key: best[key] for key in ("step", *scores)}, "last": {key: self.rows[-1][key] for key in scores},
            "seconds": self.seconds, "train_images": len(self.split.train), "dev_images": len(self.split.dev),
            "duplicate_pairs": len(self.split.duplicates), "torn_pairs": torn, "torn_pairs_at_random": at_random,
        }  # fmt: skip

    def pack(self, model: dict, learning: Learning, arithmetic: str) -> dict:
        """Put all that the next step depends on into plain tensors and text.

        Args:
            model: its weights and statistics, a `state_dict`.
            learning: its optimizer.
            arithmetic: that it computes in, in words.
        """
        progress = {name: getattr(self, name) for name in ("step", "rows", "losses", "seconds", "best", "bad")}
        return {
            "model": model, "adam": learning.adam.state_dict(), "scaler": learning.scaler.state_dict(),
            "kept": json.dumps(progress), "ranks": distributed.size(), "ranges": self.ranges,
            "precision": arithmetic, "weights_sha256": self.weights, "split": self.split.packed,
        }  # fmt: skip


def open_state(folder: Path, arithmetic: str) -> dict | None:
    """Load the newest saved state of a run; None when there is none.

    Args:
        folder: of the run.
        arithmetic: that this machine computes in, in words.

    Raises:
        InputError: it was made by another number of processes or in another arithmetic, or every state is damaged.
    """
    saved = Checkpoints(folder).load()
    if saved is None:
        return None
    if saved["ranks"] != distributed.size():
        raise InputError(
            f"{folder}: {saved['ranks']} processes trained this run until it stopped, not {distributed.size()}: go on "
            "with as many, or choose another folder"
        )
    before = saved.get("precision", arithmetic)  # older states do not tell
    if before != arithmetic:
        first = before.partition(",")[0]
        way = f"LANDMARK_PRECISION={first} on such a chip"
        if first == arithmetic.partition(",")[0]:
            way = "the version that began it"  # its integers were others
        raise InputError(
            f"{folder}: this run computed in {before} until it stopped, here it would be {arithmetic}: go on with "
            f"{way}, or choose another folder"
        )
    return saved
