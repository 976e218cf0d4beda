"""Training, start to finish; every step follows from the settings, so a stopped run goes on as if it had not."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from landmark.data.dataset import Batch, LandmarkDataset, eval_transform, train_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.loader import Quarantine, check_coverage, limit_of_bad, make_loader
from landmark.evaluation.metrics import global_average_precision, top1_accuracy
from landmark.evaluation.prediction import Predictions, merged, predict
from landmark.models.backbones import freeze_stage
from landmark.models.folding import SAMPLE, check_int8
from landmark.models.frozen import fast_prefix, prefix_ranges
from landmark.models.int8 import Ranges, arithmetic
from landmark.models.net import create_model
from landmark.training.checkpoints import Checkpoints
from landmark.training.config import SAVE_EVERY, TrainConfig
from landmark.training.frozen_maps import PIECE, Views
from landmark.training.run import LOG, Run, alone_in, board_of, check_tensorboard, is_finished, open_run
from landmark.training.splits import split_dev
from landmark.utils import distributed
from landmark.utils.device import autocast, device, fast_dtype, float32_by_default, own_random_numbers, reseed
from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import atomic_path, sha256, write_json
from landmark.utils.process import asked_to_stop

IN_MEMORY = 1 << 29  # bytes of resized images that are kept instead of read again in every epoch


@file_errors()
@float32_by_default()
def fit(
    config: TrainConfig,
    root: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    progress: bool = True,
    save_seconds: float = SAVE_EVERY,
    save_steps: int | None = None,
    tensorboard: bool = False,
    scratch: str | Path | None = None,
) -> Run:
    """Train a network on a GLDv2 folder; a finished run found in `out` is loaded, a stopped one goes on.

    Adam on the cross-entropy, mixed precision where it pays. After every epoch (or ten times in a run of steps) the
    whole dev set is scored; the best dev GAP decides which checkpoint is `best`. Weights, losses and order of a run
    that was killed and started again are those of one that was not, bit for bit on a CPU. In the processes of
    `torchrun` or `distributed.launch` each trains on its share of every batch, `batch_size` images of it.

    Args:
        config: what to train.
        root: folder in the GLDv2 layout: loose images, TARs or both.
        out: folder of the run: config.json, labels.json, metrics.csv, best.safetensors, last.safetensors,
            result.json (written last) and, until then, the last two states.
        workers: processes that decode images when they do not all fit in memory, see `make_loader`; the result does
            not depend on them.
        progress: show a bar with loss, dev GAP, images a second and the time left.
        save_seconds: time between states; more when `out` is so slow that saving would take a twentieth of the time.
        save_steps: steps between states, besides.
        tensorboard: also write the log for TensorBoard, into `out/tensorboard`.
        scratch: folder for the maps of `config.views` while the run lasts, where `out` is slow or small, such as a
            mounted drive; `out` itself when left out. Several processes must share it.

    Returns:
        The finished run.

    Raises:
        InputError: data or settings that cannot be used, another run in `out`, too many bad images, a full disk, or a
            loss that is not finite (before the step that would spread it).
        KeyboardInterrupt: asked to stop by Ctrl-C or SIGTERM: the step is finished and its state saved; asked twice,
            at once, and the last saved state stands.

    Source: the paper, section 5.2 (Adam 3e-4, cross-entropy).
    """
    root, out = Path(root), Path(out)
    if tensorboard:
        check_tensorboard()
    with distributed.group(), own_random_numbers(device()), torch.inference_mode(False), torch.enable_grad():
        table = GoogleLandmarks(root).labelled(config.min_images, config.clean)
        wanted = {"settings": asdict(config), "data": _fingerprint(table)}

        def finished() -> bool:
            return distributed.gather(is_finished(out, wanted))[0]

        if not finished():
            with alone_in(out):
                if not finished():  # looked at again: whoever was inside may have finished it meanwhile
                    trainer = _Trainer(config, table, root, out, workers, progress and distributed.rank() == 0)
                    trainer.save_seconds, trainer.save_steps = save_seconds, save_steps
                    if scratch is not None:
                        run = hashlib.sha256(bytes(out.resolve())).hexdigest()
                        trainer.views = Path(scratch) / f"{out.name}-{run[:12]}"  # another run's may have this name
                    return trainer.run(wanted, tensorboard)
        run = open_run(out)
        if sha256(out / "best.safetensors") != run.result["sha256"]:
            raise InputError(f"damaged checkpoint {out / 'best.safetensors'}: delete the folder and train again")
        return run


def _fingerprint(table: pd.DataFrame) -> dict:
    rows = table.sort_values("id")[["id", "landmark_id"]].to_csv(index=False)
    return {"images": len(table), "sha256": hashlib.sha256(rows.encode()).hexdigest()}


class _Trainer:
    """One run: what it reads, what it has learnt so far, where it writes. Of several ranks the first one writes."""

    def __init__(
        self, config: TrainConfig, table: pd.DataFrame, root: Path, out: Path, workers: int | None, progress: bool
    ):
        self.config, self.root, self.out, self.progress = config, root, out, progress
        self.views, self.labels = out / "views", LabelMap(table["landmark_id"])
        self.where, self.states = device(), Checkpoints(out)
        self.arithmetic = arithmetic(self.where, config.int8)
        self.state = self.states.load()
        if self.state is not None:
            self._check_state()
        self.model = self._network()  # before the images: a wrong setting is told at once
        limit = limit_of_bad(config.bad_limit, len(table))
        self.quarantine = Quarantine(limit)
        self.quarantine.add(check_coverage(table, root, "train", limit))
        self.split = split_dev(table, root, config.dev_fraction, config.seed)
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(learning, lr=config.lr, fused=True)
        self.scaler = torch.amp.GradScaler(self.where.type, enabled=fast_dtype(self.where) == torch.float16)
        facts = self.model.data_config
        augment, plain = train_transform(config.size, **facts), eval_transform(config.size, **facts)
        keep = len(table) * 3 * config.size**2 < IN_MEMORY
        self.workers = 0 if keep else workers  # augmenting what is in memory is not worth a process
        self.train = LandmarkDataset(self.split.train, root, "train", self.labels, augment, config.seed, keep)
        dev = LandmarkDataset(self.split.dev, root, "train", self.labels, plain, keep=keep)
        self.dev = make_loader(dev, config.batch_size, workers=self.workers, shared=True)
        self.per_epoch = len(make_loader(self.train, config.batch_size, shuffle=True, shared=True).batch_sampler)
        self.steps = config.steps or config.epochs * self.per_epoch
        self.every = self.per_epoch if config.steps is None else max(1, config.steps // 10)
        self.step, self.rows, self.seconds, self.losses, self.best = 0, [], 0.0, [], -1.0
        self.shape, self.save_cost = (3, config.size, config.size), 0.0
        self.ranges: Ranges | None = None

    def _network(self) -> nn.Module:
        config = self.config
        if config.int8:
            check_int8(self.where)
        weights = config.weights if self.state is None else None  # a state holds all weights: the file may be gone
        model = create_model(config.model, len(self.labels), weights=weights, freeze=config.freeze, seed=config.seed)
        model = distributed.synchronised(model)
        if isinstance(config.freeze, str):  # exchanged BatchNorms have forgotten that they are frozen
            freeze_stage(model.backbone, config.freeze)
        return model.to(self.where, memory_format=torch.channels_last)

    def run(self, wanted: dict, tensorboard: bool = False) -> Run:
        """Train what is left to train.

        Args:
            wanted: what `run.is_finished` tells this run from another by.
            tensorboard: write the log for TensorBoard, too.
        """
        first = distributed.rank() == 0
        if first:  # only now: a setting that failed must not claim the folder
            write_json(self.out / "config.json", wanted | {"precision": self.arithmetic})
            self.labels.save(self.out / "labels.json")
            self.states.sweep()
        with asked_to_stop() as self.asked, board_of(self.out, tensorboard and first) as self.board:
            self.clock = self.saved = time.monotonic()
            self.start()
            if self.config.views and self.step < self.steps:
                self._keep_views()
            self._tick()
            bar = tqdm(total=self.steps, initial=self.step, unit="step", desc=self.out.name, disable=not self.progress)
            with bar:
                for batch in self._batches():
                    self._learn(batch, bar)
                    if distributed.total(self.asked.is_set())[0]:  # every rank stops after the same step
                        self._save_state()
                        raise KeyboardInterrupt
            return self._finish()

    def start(self) -> None:
        """Take up the saved state, if there is one, and put together what learns: the frozen stages as fast as may be.

        The ranges of their 8-bit integers are part of the state: measured again, their last bits could differ.
        """
        self._restore()
        learner, stage = self.model, self.config.freeze
        if isinstance(stage, str):
            if self.config.int8 and self.ranges is None:
                prepare = eval_transform(self.config.size, **self.model.data_config)
                first = LandmarkDataset(self.split.train[:SAMPLE], self.root, "train", transform=prepare)
                (some,) = make_loader(first, SAMPLE, workers=0)
                self.ranges = distributed.gather(prefix_ranges(self.model, stage, some.images))[0]
            learner = fast_prefix(self.model, stage, self.ranges)
        self.learner, self.parallel = learner, distributed.parallel(learner)

    def _keep_views(self) -> None:
        """Let frozen stages look at every image once for all epochs."""
        if distributed.rank() == 0 and not self.states.paths():
            shutil.rmtree(self.views, ignore_errors=True)  # another start's, maybe with other weights or ranges
            self._save_state()  # from now on they are these
        views = Views(self.train, min(self.config.views, -(-self.steps // self.per_epoch)), self.views)
        if distributed.rank() == 0:
            views.bind(self._views_basis())
        bar = tqdm(total=len(views.missing()), unit="image", unit_scale=PIECE, desc="views", disable=not self.progress)
        with bar:
            for batch in views.fill(self.maps, self.workers):
                self.quarantine.add(batch.bad)
                bar.update(distributed.size())
                if self.asked.is_set():
                    break
        if distributed.total(self.asked.is_set())[0]:
            raise KeyboardInterrupt
        if views.missing():
            raise InputError(f"{self.views}: other processes' maps are not there: choose a --scratch that all share")
        self.train.release()
        self.train, self.shape, self.learner.kept = views, views.shape, True

    def _views_basis(self) -> dict:
        """All that the maps of the frozen stages depend on."""
        weights = hashlib.sha256(json.dumps(self.ranges, default=Tensor.tolist).encode())
        for p in self.model.backbone.parameters():
            if not p.requires_grad:
                weights.update(p.detach().cpu().numpy().tobytes())
        images = self.train.images.fingerprint(self.train.ids.astype(str).tolist())
        return {"weights": weights.hexdigest(), "images": images, "size": self.config.size, "seed": self.config.seed,
                "arithmetic": str(fast_dtype(self.where))}  # fmt: skip

    def maps(self, images: Tensor) -> Tensor:
        """What the frozen stages make of images (B, 3, S, S), on the CPU."""
        return self.learner.maps(images.to(self.where, memory_format=torch.channels_last)).cpu()

    def _batches(self) -> Iterator[Batch]:
        """This rank's share of the batches of the steps that are left."""
        first, skip = divmod(self.step, self.per_epoch)
        epochs = range(first, -(-self.steps // self.per_epoch))
        loader = make_loader(self.train, self.config.batch_size, shuffle=True, workers=self.workers,
                             seed=self.config.seed, epochs=epochs, skip=skip, shared=True)  # fmt: skip
        return itertools.islice(loader, self.steps - self.step)

    def _learn(self, batch: Batch, bar: tqdm) -> None:
        """One step; evaluation and a saved state where they are due."""
        self.quarantine.add(batch.bad)
        self.parallel.train()
        (count,) = distributed.total(len(batch.ids))
        if count > 1:  # BatchNorm cannot learn from one image
            self.losses.append((self._update(batch, count), count))
        self.step += 1
        now = time.monotonic()
        if self.losses and self.progress:
            speed = sum(n for _, n in self.losses) / max(now - self.clock, 1e-9)
            bar.set_postfix(loss=f"{self.losses[-1][0]:.3f}", gap=f"{self.best:.3f}" if self.rows else "-",
                            images_s=f"{speed:.1f}", refresh=False)  # fmt: skip
        bar.update()
        if self.step % self.every == 0 or self.step == self.steps:
            self._evaluate()
        waited = time.monotonic() - self.saved
        due = self.save_steps and self.step % self.save_steps == 0
        if due or waited > max(self.save_seconds, 20 * self.save_cost):
            self._save_state()

    def _update(self, batch: Batch, count: float) -> float:
        """One optimizer step on this rank's share of a batch of `count` images; returns the mean loss of all of it."""
        images = batch.images.to(self.where, memory_format=torch.channels_last, non_blocking=True)
        targets = batch.labels.to(self.where, non_blocking=True)
        blank = 2 - len(targets)
        if blank > 0:  # a rank that lacks its share takes part all the same, and BatchNorm wants two images
            images = torch.cat([images.reshape(-1, *self.shape), images.new_zeros(blank, *self.shape)])
            targets = torch.cat([targets, targets.new_full((blank,), -100)])  # -100: no loss, no gradient
        reseed(self.config.seed * 1_000_003 + self.step, self.where)  # dropout, too, follows from seed and step
        with autocast(self.where):
            logits = self.parallel(images)
        # Ranks average their gradients: shares of unequal size still add up to the mean over the whole batch
        loss = F.cross_entropy(logits.float(), targets, reduction="sum") / count * distributed.size()
        self.adam.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.adam)
        norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        value, length = torch.stack([loss.detach(), norm.float()]).tolist()  # one wait for the device, not two
        if not np.isfinite(value):
            self._refuse("loss", value, batch)
        if not np.isfinite(length) and not self.scaler.is_enabled():  # float16 skips such a step by itself
            self._refuse("gradient", length, batch)
        for group in self.adam.param_groups:
            group["lr"] = self._rate()
        self.scaler.step(self.adam)
        self.scaler.update()
        return distributed.total(value)[0] / distributed.size()

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
        predictions = merged(distributed.gather(predict(self.model, self.dev, quarantine=self.quarantine)))
        scores = dev_scores(predictions, self.labels, self.split.dev)
        self._tick()
        count = sum(n for _, n in self.losses)
        speed = count / max(self.seconds - (self.rows[-1]["seconds"] if self.rows else 0), 1e-9)
        mean = sum(loss * n for loss, n in self.losses) / count if count else float("nan")
        self.losses = []
        row = {"step": self.step, "epoch": round(self.step / self.per_epoch, 3), "seconds": round(self.seconds, 2),
               "train_loss": mean, **scores, "images_per_second": round(speed, 2), "lr": self._rate()}  # fmt: skip
        self.rows.append(row)
        better = scores["dev_gap"] > self.best
        self.best = max(self.best, scores["dev_gap"])
        if distributed.rank():
            return
        if better:
            self._write("best")
        with atomic_path(self.out / "metrics.csv") as part:
            pd.DataFrame(self.rows, columns=LOG).to_csv(part, index=False, lineterminator="\n")
        if self.board:
            for name in LOG[2:]:
                self.board.add_scalar(name, row[name], self.step)

    def _write(self, name: str) -> None:
        with atomic_path(self.out / f"{name}.safetensors") as part:
            save_file({key: value.contiguous() for key, value in self.model.state_dict().items()}, part)

    def _save_state(self) -> None:
        """All that the next step depends on, as plain tensors and text."""
        start = self._tick()
        kept = {"step": self.step, "rows": self.rows, "losses": self.losses, "seconds": self.seconds, "best": self.best,
                "bad": self.quarantine.reasons}  # fmt: skip
        state: dict[str, object] = {
            "model": self.model.state_dict(), "adam": self.adam.state_dict(), "scaler": self.scaler.state_dict(),
            "kept": json.dumps(kept), "ranks": distributed.size(), "ranges": self.ranges,
            "precision": self.arithmetic,
        }  # fmt: skip
        if distributed.rank() == 0:
            self.states.save(self.step, state)
        self.saved = time.monotonic()
        self.save_cost = self.saved - start

    def _tick(self) -> float:
        """Count the time since the last call as the run's; returns the clock."""
        now = time.monotonic()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        return now

    def _check_state(self) -> None:
        """Refuse to go on from a saved state with another number of processes or in another arithmetic."""
        if self.state["ranks"] != distributed.size():
            raise InputError(
                f"{self.out}: {self.state['ranks']} processes trained this run until it stopped, not "
                f"{distributed.size()}: go on with as many, or choose another folder"
            )
        before = self.state.get("precision", self.arithmetic)  # older states do not tell
        if before != self.arithmetic:
            raise InputError(
                f"{self.out}: this run computed in {before} until it stopped, here it would be {self.arithmetic}: go "
                f"on with LANDMARK_PRECISION={before.partition(',')[0]} on such a chip, or choose another folder"
            )

    def _restore(self) -> None:
        state, self.state = self.state, None
        if state is None:
            return
        kept, self.ranges = json.loads(state["kept"]), state.get("ranges")
        self.model.load_state_dict(state["model"])
        self.adam.load_state_dict(state["adam"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.rows, self.seconds, self.best = (kept[k] for k in ("step", "rows", "seconds", "best"))
        self.losses = [tuple(pair) for pair in kept["losses"]]
        self.quarantine.reasons.update(kept["bad"])

    def _finish(self) -> Run:
        bad = dict(pair for reasons in distributed.gather(self.quarantine.reasons) for pair in reasons.items())
        if distributed.rank() == 0:
            self._write("last")
            last = {key: self.rows[-1][key] for key in ("dev_loss", "dev_gap", "dev_top1")}
            best = max(self.rows, key=lambda row: row["dev_gap"])
            result = {
                **{key: best[key] for key in ("step", "dev_loss", "dev_gap", "dev_top1")}, "last": last,
                "seconds": self.seconds, "classes": len(self.labels), "train_images": len(self.split.train),
                "dev_images": len(self.split.dev), "duplicate_pairs": len(self.split.duplicates),
                "bad_images": bad, "precision": self.arithmetic, "settings": asdict(self.config),
                "sha256": sha256(self.out / "best.safetensors"),
            }  # fmt: skip
            write_json(self.out / "result.json", result)
            shutil.rmtree(self.views, ignore_errors=True)
            self.states.clear()
        distributed.gather(None)  # nobody opens the run before it is written
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
