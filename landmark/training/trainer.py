"""Training, start to finish; every step follows from the settings, so a stopped run goes on as if it had not."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from landmark.data.dataset import Batch, LandmarkDataset, Samples, eval_transform, train_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.loader import Quarantine, check_coverage, choose_bad_limit, make_loader
from landmark.evaluation.prediction import merged, predict
from landmark.models.frozen import Learner
from landmark.models.int8 import arithmetic, check_int8
from landmark.models.net import LandmarkNet
from landmark.training.checkpoints import Checkpoints
from landmark.training.config import SAVE_EVERY, TrainConfig
from landmark.training.frozen.uses import answering, learning
from landmark.training.run import (
    Run,
    alone_in,
    check_tensorboard,
    fingerprint,
    is_finished,
    open_board,
    open_run,
    save_weights,
    weights_sha256,
    write_log,
)
from landmark.training.splits import Split, dev_scores, learnt_images, nonlandmark_ids, split_dev
from landmark.training.state import State, open_state
from landmark.training.step import Learning, learner_of, learning_rate, network_of, ranges_of, train_step
from landmark.utils import distributed
from landmark.utils.device import device, float32_by_default, own_random_numbers
from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import sha256, write_json
from landmark.utils.process import asked_to_stop

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

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
) -> Run:
    """Train a network on a GLDv2 folder; a finished run found in `out` is loaded, a stopped one goes on.

    Adam on the cross-entropy, mixed precision where it pays. After every epoch (or ten times in a run of steps) the
    whole dev set is scored; the best dev GAP decides which checkpoint is `best`. Weights, losses and order of a run
    that was killed and started again are those of one that was not, bit for bit on a CPU. In the processes of
    `torchrun` or `distributed.launch` each trains on its share of every batch, `batch_size` images of it.

    Args:
        config: what to train.
        root: folder in the GLDv2 layout: loose images, TARs or both.
        out: folder of the run: config.json, labels.json, metrics.csv, best.safetensors, last.safetensors, split.csv,
            result.json (written last) and, until then, the last two states.
        workers: processes that decode images when they do not all fit in memory, see `make_loader`; the result does
            not depend on them.
        progress: show a bar with loss, dev GAP, images a second and the time left.
        save_seconds: time between states; more when `out` is so slow that saving would take a twentieth of the time.
        save_steps: steps between states, besides.
        tensorboard: also write the log for TensorBoard, into `out/tensorboard`.

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
        wanted = {"settings": asdict(config), "data": fingerprint(table, nonlandmark_ids(config, root))}

        def finished() -> bool:
            return distributed.gather(is_finished(out, wanted))[0]

        if not finished():
            with alone_in(out):
                if not finished():  # looked at again: whoever was inside may have finished it meanwhile
                    trainer = Trainer(config, table, root, out, workers=workers, progress=progress,
                                      save_seconds=save_seconds, save_steps=save_steps)  # fmt: skip
                    return trainer.run(wanted, tensorboard)
        run = open_run(out)
        if sha256(out / "best.safetensors") != run.result["sha256"]:
            raise InputError(f"damaged checkpoint {out / 'best.safetensors'}: delete the folder and train again")
        return run


class Trainer:
    """The loop of one run: what it reads, where it writes, how far it has come. Of several ranks the first one writes.

    Args:
        table: the images, id and landmark_id; the others are as for `fit`.
    """

    def __init__(
        self, config: TrainConfig, table: pd.DataFrame, root: Path, out: Path, *, workers: int | None, progress: bool,
        save_seconds: float, save_steps: int | None,
    ):  # fmt: skip
        self.config, self.out = config, out
        self.progress = progress and distributed.rank() == 0
        self.save_seconds, self.save_steps, self.save_cost = save_seconds, save_steps, 0.0
        self.labels, self.states = LabelMap(table["landmark_id"]), Checkpoints(out)
        self.arithmetic = arithmetic(device(), config.int8)
        if config.int8:
            check_int8(device())
        saved = open_state(out, self.arithmetic)
        # A state holds all weights: the file may be gone. Before the images, for a wrong setting is told at once
        self.model = network_of(config, len(self.labels), config.weights if saved is None else None)
        limit = choose_bad_limit(config.bad_limit, len(table))
        self.quarantine = Quarantine(limit)
        self.quarantine.add(check_coverage(table, root, "train", limit))
        before = saved and saved.get("split")  # older states do not hold it
        split = Split.of(table, before) if before else split_dev(table, root, config.dev_fraction, config.seed)
        self.state = State.of(saved, split) if saved else State(split, weights=weights_sha256(config.weights))
        self.learning = Learning.of(self.model, config, saved, split.sizes)
        if config.int8 and self.state.ranges is None:
            self.state.ranges = ranges_of(config, self.model, table.sort_values("id"), root)
        self.quarantine.reasons.update(self.state.bad)
        self.state.bad = self.quarantine.reasons
        keep = len(table) * 3 * config.size**2 < IN_MEMORY
        self.workers = 0 if keep else workers  # augmenting what is in memory is not worth a process
        norm = self.model.data_config
        rows, images = learnt_images(config, split.train, root)
        self.train = LandmarkDataset(rows, root, "train", self.labels, *train_transform(config.size, **norm), keep=keep,
                                     images=images)  # fmt: skip
        self.dev = LandmarkDataset(split.dev, root, "train", self.labels, *eval_transform(config.size, **norm),
                                   keep=keep)  # fmt: skip
        self.per_epoch = len(make_loader(self.train, config.batch_size, shuffle=True, shared=True))
        self.steps = config.steps or (config.epochs or 0) * self.per_epoch
        self.every = self.per_epoch if config.steps is None else max(1, config.steps // 10)
        self.train.views = min(config.views, -(-self.steps // self.per_epoch))
        self.data: Samples = self.train
        self.judged: Samples = self.dev
        self.judge: Callable[[], LandmarkNet] = lambda: self.model
        self.clock = self.saved_at = time.monotonic()

    def run(self, wanted: dict, tensorboard: bool = False) -> Run:
        """Train what is left to train.

        Args:
            wanted: what `run.is_finished` tells this run from another by.
            tensorboard: write the log for TensorBoard, too.
        """
        self.clock = self.saved_at = time.monotonic()
        first = distributed.rank() == 0
        learner = learner_of(self.config, self.model, self.state.ranges)
        if first:  # only now: a setting that failed must not claim the folder
            made = {"precision": self.arithmetic, "weights_sha256": self.state.weights}
            write_json(self.out / "config.json", wanted | made)
            self.labels.save(self.out / "labels.json")
            self.states.sweep()
        with asked_to_stop() as asked, contextlib.ExitStack() as own:
            board = own.enter_context(open_board(self.out, tensorboard and first))
            self._prepare(learner, own, asked)
            self._tick()
            self.learn(self.learning, self._batches(), asked, board)
        return self._finish()

    def _prepare(self, learner: nn.Module, own: contextlib.ExitStack, asked: Event) -> None:
        """Settle what learns and what answers, from images or from what `own` holds open: maps of frozen stages."""
        shape, stage = self.learning.shape, self.config.stage
        if isinstance(learner, Learner) and stage and self.state.step < self.steps:
            more: dict[str, Any] = {"keep": self.config.views > 0, "asked": asked, "quarantine": self.quarantine,
                                    "workers": self.workers, "progress": self.progress}  # fmt: skip
            self.judged, self.judge = own.enter_context(answering(self.model, stage, self.dev, **more))
            learns = learning(self.model, stage, learner, self.train, self.state.ranges, **more)
            self.data, learner, shape = own.enter_context(learns)
        self.learning = replace(self.learning, network=distributed.parallel(learner), shape=shape)

    def learn(self, learning: Learning, batches: Iterable[Batch], asked: Event, board: SummaryWriter | None) -> None:
        """Make a step with each batch, score the dev set and save the state where they are due.

        Args:
            learning: the network and its optimizer.
            batches: this rank's share of those of the steps that are left.
            asked: set when the run is to stop.
            board: log for TensorBoard.

        Raises:
            KeyboardInterrupt: it was to stop; the state after the last step is saved.
        """
        state = self.state
        bar = tqdm(total=self.steps, initial=state.step, unit="step", desc=self.out.name, disable=not self.progress)
        with bar:
            for batch in batches:
                self.quarantine.add(batch.bad)
                (count,) = distributed.total(len(batch.ids))
                if count > 1:  # BatchNorm cannot learn from one image
                    rate = learning_rate(self.config, state.step, self.steps)
                    state.losses.append((train_step(learning, batch, state.step, rate, count), count))
                state.step += 1
                self._show(bar)
                if state.step % self.every == 0 or state.step == self.steps:
                    self._evaluate(board)
                stop = distributed.total(asked.is_set())[0]  # every rank stops after the same step
                if stop or self._save_is_due():
                    self._save()
                if stop:
                    raise KeyboardInterrupt

    def _batches(self) -> Iterator[Batch]:
        """This rank's share of the batches of the steps that are left."""
        first, skip = divmod(self.state.step, self.per_epoch)
        epochs = range(first, -(-self.steps // self.per_epoch))
        loader = make_loader(self.data, self.config.batch_size, shuffle=True, workers=self.workers, epochs=epochs,
                             seed=self.config.seed, skip=skip, shared=True)  # fmt: skip
        return itertools.islice(loader, self.steps - self.state.step)

    def _show(self, bar: tqdm) -> None:
        """Move the bar by one step."""
        if (state := self.state).losses and self.progress:
            speed = sum(n for _, n in state.losses) / max(time.monotonic() - self.clock, 1e-9)
            bar.set_postfix(loss=f"{state.losses[-1][0]:.3f}", gap=f"{state.best:.3f}" if state.rows else "-",
                            images_s=f"{speed:.1f}", refresh=False)  # fmt: skip
        bar.update()

    def _evaluate(self, board: SummaryWriter | None) -> None:
        """Score the whole dev set, log a row, keep the checkpoints."""
        loader = make_loader(self.judged, self.config.batch_size, workers=self.workers, shared=True)
        predictions = merged(distributed.gather(predict(self.judge(), loader, quarantine=self.quarantine)))
        self._tick()
        rate = learning_rate(self.config, self.state.step, self.steps)
        scores = dev_scores(predictions, self.labels, self.state.split.dev)
        better = self.state.log(scores, self.per_epoch, rate, self.model.learnt_numbers())
        if distributed.rank():
            return
        if better:
            save_weights(self.model, self.out / "best.safetensors")
        write_log(self.out, self.state.rows, board)

    def _save_is_due(self) -> bool:
        waited = time.monotonic() - self.saved_at
        by_steps = self.save_steps and self.state.step % self.save_steps == 0
        return bool(by_steps) or waited > max(self.save_seconds, 20 * self.save_cost)

    def _save(self) -> None:
        """Write all that the next step depends on."""
        start = self._tick()
        if distributed.rank() == 0:
            packed = self.state.pack(self.model.state_dict(), self.learning, self.arithmetic)
            self.states.save(self.state.step, packed)
        self.saved_at = time.monotonic()
        self.save_cost = self.saved_at - start

    def _tick(self) -> float:
        """Count the time since the last call as the run's; returns the clock."""
        now = time.monotonic()
        self.state.seconds, self.clock = self.state.seconds + now - self.clock, now
        return now

    def _finish(self) -> Run:
        bad = dict(pair for reasons in distributed.gather(self.quarantine.reasons) for pair in reasons.items())
        if distributed.rank() == 0:
            save_weights(self.model, self.out / "last.safetensors")
            self.state.split.save(self.out)
            result = self.state.result() | {
                "classes": len(self.labels), "bad_images": bad, "precision": self.arithmetic,
                "settings": asdict(self.config), "sha256": sha256(self.out / "best.safetensors"),
            }  # fmt: skip
            write_json(self.out / "result.json", result)
            self.states.clear()
        distributed.gather(None)  # nobody opens the run before it is written
        return open_run(self.out)
