"""Training, start to finish; every step follows from the settings, so a stopped run goes on as if it had not."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from tqdm.auto import tqdm

from landmark.data import (
    Batch,
    GoogleLandmarks,
    LabelMap,
    LandmarkDataset,
    Quarantine,
    check_coverage,
    eval_transform,
    make_loader,
    split_dev,
    train_transform,
)  # fmt: skip
from landmark.metrics import global_average_precision, top1_accuracy
from landmark.models import create_model
from landmark.prediction import Predictions, predict
from landmark.runs import LOG, Run, TrainConfig, open_run, refuse_other, sha256, write_json
from landmark.runtime import InputError, atomic_path, autocast, device, fast_dtype
from landmark.tables import filter_min_images

SAVE_EVERY = 120  # seconds between saved states
IN_MEMORY = 1 << 29  # bytes of resized images that are kept instead of read again in every epoch


def fit(config: TrainConfig, root: str | Path, out: str | Path, *, workers: int = 2, progress: bool = True) -> Run:
    """Train a network on a GLDv2 folder; a finished run found in `out` is loaded, a stopped one goes on.

    Adam on the cross-entropy, mixed precision where it pays. After every epoch (or ten times in a run of steps) the
    whole dev set is scored; the best dev GAP decides which checkpoint is `best`.

    Args:
        config: what to train.
        root: folder in the GLDv2 layout.
        out: folder of the run: config.json, labels.json, metrics.csv, best.safetensors, last.safetensors,
            result.json (written last) and, until then, state.pt.
        workers: processes that decode images when they do not all fit in memory; the result does not depend on them.
        progress: show a bar with loss, images a second and the time left.

    Returns:
        The finished run.

    Raises:
        InputError: data or settings that cannot be used, another run in `out`, too many bad images, or a loss that is
            not finite (before the step that would spread it).

    Source: the paper, section 5 (Adam 3e-4, cross-entropy).
    """
    return _Trainer(config, Path(root), Path(out), workers, progress).run()


def _fingerprint(table: pd.DataFrame) -> dict:
    rows = table.sort_values("id")[["id", "landmark_id"]].to_csv(index=False)
    return {"images": len(table), "sha256": hashlib.sha256(rows.encode()).hexdigest()}


class _Trainer:
    """One run: what it reads, what it has learnt so far, where it writes."""

    def __init__(self, config: TrainConfig, root: Path, out: Path, workers: int, progress: bool):
        self.config, self.root, self.out, self.progress = config, root, out, progress
        table = filter_min_images(GoogleLandmarks(root).train, config.min_images)
        wanted = {"settings": asdict(config), "data": _fingerprint(table)}
        refuse_other(out, wanted)
        self.finished = (out / "result.json").exists()
        if self.finished:
            return
        limit = config.bad_limit if config.bad_limit is not None else max(10, len(table) // 100)
        check_coverage(table, root, "train", limit)
        self.quarantine = Quarantine(limit)
        self.split = split_dev(table, root, config.dev_fraction, config.seed)
        self.labels = LabelMap(table["landmark_id"])
        self.where = device()
        model = create_model(
            config.model, len(self.labels), weights=config.weights, freeze=config.freeze, seed=config.seed
        )
        self.model = model.to(self.where, memory_format=torch.channels_last)
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(learning, lr=config.lr, fused=True)
        self.scaler = torch.amp.GradScaler(self.where.type, enabled=fast_dtype(self.where) == torch.float16)
        facts = self.model.data_config
        augment, plain = train_transform(config.size, **facts), eval_transform(config.size, **facts)
        keep = len(table) * 3 * config.size**2 < IN_MEMORY
        self.workers = 0 if keep else workers  # augmenting what is in memory is not worth a process
        self.train = LandmarkDataset(self.split.train, root, "train", self.labels, augment, config.seed, keep)
        dev = LandmarkDataset(self.split.dev, root, "train", self.labels, plain, keep=keep)
        self.dev = make_loader(dev, config.batch_size, workers=self.workers)
        self.per_epoch = len(make_loader(self.train, config.batch_size, shuffle=True).batch_sampler)
        self.steps = config.steps or config.epochs * self.per_epoch
        self.every = self.per_epoch if config.steps is None else max(1, config.steps // 10)
        self.step, self.rows, self.seconds, self.losses, self.best = 0, [], 0.0, [], -1.0
        write_json(out / "config.json", wanted)  # only now: a setting that failed above must not claim the folder
        self.labels.save(out / "labels.json")

    def run(self) -> Run:
        """Train what is left to train."""
        if self.finished:
            run = open_run(self.out)
            if sha256(self.out / "best.safetensors") != run.result["sha256"]:
                raise InputError(
                    f"damaged checkpoint {self.out / 'best.safetensors'}: delete the folder and train again"
                )
            return run
        with self._locked():
            self._restore()
            bar = tqdm(total=self.steps * self.config.batch_size, initial=self.step * self.config.batch_size,
                       unit="image", desc=self.out.name, disable=not self.progress)  # fmt: skip
            self.clock = self.saved = time.monotonic()
            try:
                with bar:
                    for batch in self._batches():
                        self._learn(batch, bar)
                return self._finish()
            except (KeyboardInterrupt, InputError):
                self._save_state()
                raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time in a folder; the system frees the lock however the process ends."""
        try:
            import fcntl
        except ImportError:  # not on this system: no lock
            yield
            return
        with (self.out / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{self.out}: another process is training this run: wait for it") from None
            yield
        (self.out / ".lock").unlink(missing_ok=True)

    def _batches(self) -> Iterator[Batch]:
        """The batches of the steps that are left."""
        first, skip = divmod(self.step, self.per_epoch)
        epochs = range(first, -(-self.steps // self.per_epoch))
        loader = make_loader(self.train, self.config.batch_size, shuffle=True, workers=self.workers,
                             seed=self.config.seed, epochs=epochs, skip=skip)  # fmt: skip
        return itertools.islice(loader, self.steps - self.step)

    def _learn(self, batch: Batch, bar: tqdm) -> None:
        """One step; evaluation and a saved state where they are due."""
        self.quarantine.add(batch.bad)
        self.model.train()
        if len(batch.ids) > 1:  # BatchNorm cannot learn from one image
            self.losses.append((self._update(batch), len(batch.ids)))
            bar.set_postfix(loss=f"{self.losses[-1][0]:.3f}", refresh=False)
        self.step += 1
        bar.update(self.config.batch_size)
        if self.step % self.every == 0 or self.step == self.steps:
            self._evaluate()
        if time.monotonic() - self.saved > SAVE_EVERY:
            self._save_state()

    def _update(self, batch: Batch) -> float:
        images = batch.images.to(self.where, memory_format=torch.channels_last, non_blocking=True)
        targets = batch.labels.to(self.where, non_blocking=True)
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout, too, follows from seed and step
        with autocast(self.where):
            loss = F.cross_entropy(self.model(images).float(), targets)
        value = loss.item()
        if not np.isfinite(value):
            self._refuse("loss", value, batch)
        self.adam.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.adam)
        norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None]).item()
        if not np.isfinite(norm) and not self.scaler.is_enabled():  # float16 skips such a step by itself
            self._refuse("gradient", norm, batch)
        for group in self.adam.param_groups:
            group["lr"] = self._rate()
        self.scaler.step(self.adam)
        self.scaler.update()
        return value

    def _rate(self) -> float:
        """Learning rate of the next step."""
        fall = 0.5 * (1 + np.cos(np.pi * self.step / self.steps)) if self.config.decay else 1.0
        return self.config.lr * float(fall)

    def _refuse(self, what: str, value: float, batch: Batch) -> None:
        raise InputError(
            f"{self.out}: the {what} of step {self.step + 1} is {value}, so the step was not made; its images: "
            f"{', '.join(batch.ids[:4])}{' …' if len(batch.ids) > 4 else ''}: check them or lower --lr"
        )

    def _evaluate(self) -> None:
        """Score the whole dev set, log a row, keep the checkpoints."""
        predictions = predict(self.model, self.dev, quarantine=self.quarantine)
        scores = dev_scores(predictions, self.labels, self.split.dev)
        now = time.monotonic()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        count = sum(n for _, n in self.losses)
        speed = count / max(self.seconds - (self.rows[-1]["seconds"] if self.rows else 0), 1e-9)
        mean = sum(loss * n for loss, n in self.losses) / count if count else float("nan")
        self.losses = []
        row = {"step": self.step, "epoch": round(self.step / self.per_epoch, 3), "seconds": round(self.seconds, 2),
               "train_loss": mean, **scores, "images_per_second": round(speed, 2), "lr": self._rate()}  # fmt: skip
        self.rows.append(row)
        if scores["dev_gap"] > self.best:
            self.best = scores["dev_gap"]
            self._write("best")
        with atomic_path(self.out / "metrics.csv") as part:
            pd.DataFrame(self.rows, columns=LOG).to_csv(part, index=False, lineterminator="\n")

    def _write(self, name: str) -> None:
        with atomic_path(self.out / f"{name}.safetensors") as part:
            save_file({key: value.contiguous() for key, value in self.model.state_dict().items()}, part)

    def _save_state(self) -> None:
        """All that the next step depends on, as plain tensors and text."""
        now = time.monotonic()
        self.seconds, self.clock, self.saved = self.seconds + now - self.clock, now, now
        kept = {"step": self.step, "rows": self.rows, "losses": self.losses, "seconds": self.seconds, "best": self.best,
                "bad": self.quarantine.reasons}  # fmt: skip
        state: dict[str, object] = {
            "model": self.model.state_dict(), "adam": self.adam.state_dict(), "scaler": self.scaler.state_dict(),
            "kept": json.dumps(kept),
        }  # fmt: skip
        with atomic_path(self.out / "state.pt") as part:
            torch.save(state, part)

    def _restore(self) -> None:
        path = self.out / "state.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            kept = json.loads(state["kept"])
            self.model.load_state_dict(state["model"])
            self.adam.load_state_dict(state["adam"])
            self.scaler.load_state_dict(state["scaler"])
        except Exception as error:  # torch.load raises a dozen types on bad bytes; each means the same to the user
            reason = str(error).split("\n")[0][:120]
            raise InputError(
                f"damaged checkpoint {path} ({type(error).__name__}: {reason}): delete it to start anew"
            ) from None
        self.step, self.rows, self.seconds, self.best = (kept[k] for k in ("step", "rows", "seconds", "best"))
        self.losses = [tuple(pair) for pair in kept["losses"]]
        self.quarantine.reasons.update(kept["bad"])

    def _finish(self) -> Run:
        self._write("last")
        last = {key: self.rows[-1][key] for key in ("dev_loss", "dev_gap", "dev_top1")}
        best = max(self.rows, key=lambda row: row["dev_gap"])
        result = {
            **{key: best[key] for key in ("step", "dev_loss", "dev_gap", "dev_top1")}, "last": last,
            "seconds": self.seconds, "classes": len(self.labels), "train_images": len(self.split.train),
            "dev_images": len(self.split.dev), "duplicate_pairs": len(self.split.duplicates),
            "bad_images": self.quarantine.reasons, "sha256": sha256(self.out / "best.safetensors"),
            "settings": asdict(self.config),
        }  # fmt: skip
        write_json(self.out / "result.json", result)
        (self.out / "state.pt").unlink(missing_ok=True)
        return open_run(self.out)


def dev_scores(predictions: Predictions, labels: LabelMap, table: pd.DataFrame) -> dict[str, float]:
    """Loss, GAP and top-1 accuracy over a whole set of labelled images.

    Args:
        predictions: of every image of `table` that could be read.
        labels: the run's label set.
        table: id and landmark_id of the set; an unreadable image counts as one without a prediction.
    """
    truth = {i: [int(landmark)] for i, landmark in zip(table["id"], table["landmark_id"], strict=True)}
    found = predictions.mapping(labels)
    return {
        "dev_loss": float(np.mean(predictions.loss)) if len(predictions.ids) else float("nan"),
        "dev_gap": global_average_precision(found, truth),
        "dev_top1": top1_accuracy(found, truth),
    }
