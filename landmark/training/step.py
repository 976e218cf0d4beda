"""One step of learning: a batch goes in, weights move; the same on one processor and on many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from landmark.data.dataset import Batch, LandmarkDataset, eval_transform
from landmark.data.loader import make_loader
from landmark.models.backbones import freeze_stage
from landmark.models.folding import SAMPLE
from landmark.models.frozen import fast_prefix, prefix_ranges
from landmark.models.heads.losses import NOTHING, create_loss, cross_entropy
from landmark.models.int8 import Ranges
from landmark.models.net import LandmarkNet, create_model
from landmark.training.config import TrainConfig
from landmark.utils import distributed
from landmark.utils.device import autocast, device, fast_dtype, reseed
from landmark.utils.errors import InputError


def network_of(config: TrainConfig, classes: int, weights: str | None = None) -> LandmarkNet:
    """Build the network of a run on the best device, frozen as its settings say.

    Args:
        config: the settings.
        classes: K.
        weights: of the backbone, in place of random ones.
    """
    model = create_model(config.model, classes, weights=weights, freeze=config.freeze, seed=config.seed,
                         **config.network)  # fmt: skip
    model = cast(LandmarkNet, distributed.synchronised(model))
    if isinstance(config.freeze, str):  # exchanged BatchNorms have forgotten that they are frozen
        freeze_stage(model.backbone, config.freeze)
    return model.to(device()).to(memory_format=torch.channels_last)


def ranges_of(config: TrainConfig, model: LandmarkNet, table: pd.DataFrame, root: str | Path) -> Ranges:
    """Measure what frozen stages in 8-bit integers must know of their maps, on some images; the same for all ranks.

    Args:
        config: the settings.
        model: of `network_of`.
        table: the train images; the first ones are looked at.
        root: their folder.

    Raises:
        InputError: as `frozen.prefix_ranges`.
    """
    transforms = eval_transform(config.size, **model.data_config)
    (some,) = make_loader(LandmarkDataset(table[:SAMPLE], root, "train", None, *transforms), SAMPLE, workers=0)
    return distributed.gather(prefix_ranges(model, str(config.freeze), some.images))[0]


def learner_of(config: TrainConfig, model: LandmarkNet, ranges: Ranges | None = None) -> nn.Module:
    """Give what learns of a network: itself, or a `frozen.Learner` whose frozen stages are as fast as may be.

    Args:
        config: the settings.
        model: of `network_of`.
        ranges: of `ranges_of`, if the stages are to compute in 8-bit integers.
    """
    return fast_prefix(model, config.freeze, ranges) if isinstance(config.freeze, str) else model


@dataclass(frozen=True)
class Learning:
    """What `train_step` needs from one step to the next.

    Args:
        network: images → logits, or what comes behind frozen stages: their maps → logits; on `where`.
        adam: moves the parameters that learn.
        scaler: of the loss, for float16.
        where: the device.
        shape: of one input of the network, (3, S, S) for images.
        seed: of dropout.
        loss: what the network gives for a batch and the labels (B,) of it → their losses, summed.
    """

    network: nn.Module
    adam: torch.optim.Adam
    scaler: torch.amp.GradScaler
    where: torch.device
    shape: tuple[int, ...]
    seed: int = 0
    loss: Callable[..., Tensor] = cross_entropy

    @classmethod
    def of(
        cls, model: nn.Module, config: TrainConfig, saved: dict | None = None, sizes: Sequence[int] = ()
    ) -> Learning:
        """Let a network learn from images as a run of these settings does, or go on from a saved state of it.

        Args:
            model: of `network_of`.
            config: the settings.
            saved: a state.
            sizes: (K,) train images of each class; a loss with margins by class size asks for them.
        """
        where, learns = device(), [p for p in model.parameters() if p.requires_grad]
        adam = torch.optim.Adam(learns, lr=config.lr, fused=True)
        scaler = torch.amp.GradScaler(where.type, enabled=fast_dtype(where) == torch.float16)
        if saved is not None:
            model.load_state_dict(saved["model"])
            adam.load_state_dict(saved["adam"])
            scaler.load_state_dict(saved["scaler"])
        loss = create_loss(config.loss, smoothing=config.label_smoothing, sizes=sizes, where=where)
        return cls(model, adam, scaler, where, (3, config.size, config.size), config.seed, loss)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Give the learning rate of a step, from 0, of `steps` in all: constant or along half a cosine, after a warm-up.

    >>> round(learning_rate(TrainConfig(lr=1.0, decay=True), 5, 10), 6)
    0.5
    """
    fall = 0.5 * (1 + np.cos(np.pi * step / steps)) if config.decay else 1.0
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    return config.lr * rise * float(fall)


def train_step(learning: Learning, batch: Batch, number: int, lr: float, count: float | None = None) -> float:
    """Let a network learn from one batch: forward, loss, backward, one step of Adam.

    Args:
        learning: the network and its optimizer.
        batch: this rank's share of the images, or of their maps.
        number: of the step, from 0.
        lr: learning rate.
        count: images in the shares of all ranks; those of `batch` when left out. At least 2 for a BatchNorm.

    Returns:
        Mean loss of all `count` images, in nats.

    Raises:
        InputError: the loss is not finite, or its gradient (in float16 the scaler leaves out such a step); no weight
            has moved.

    Source: the paper, section 5.2; Micikevicius et al., "Mixed precision training", section 3.
    """
    count = count or len(batch.ids)
    learning.network.train()
    images = batch.images.to(learning.where, memory_format=torch.channels_last, non_blocking=True)  # (B, 3, S, S)
    targets = batch.labels.to(learning.where, non_blocking=True)  # (B,)
    blank = 2 - len(targets)
    if blank > 0:  # a rank that lacks its share takes part all the same, and BatchNorm wants two images
        images = torch.cat([images.reshape(-1, *learning.shape), images.new_zeros(blank, *learning.shape)])
        targets = torch.cat([targets, targets.new_full((blank,), NOTHING)])
    reseed(learning.seed * 1_000_003 + number, learning.where)  # dropout, too, follows from seed and step
    with autocast(learning.where):
        answers = learning.network(images)  # logits (B, K), or what the loss wants
    # Ranks average their gradients: shares of unequal size still add up to the mean over the whole batch
    loss = learning.loss(answers, targets) / count * distributed.size()
    learning.adam.zero_grad(set_to_none=True)
    learning.scaler.scale(loss).backward()
    learning.scaler.unscale_(learning.adam)
    gradients = [p.grad for group in learning.adam.param_groups for p in group["params"] if p.grad is not None]
    length = nn.utils.get_total_norm(gradients)
    numbers = torch.stack([loss.detach(), length.float()]).tolist()  # one wait for the device, not two
    for what, value in zip(("loss", "gradient"), numbers, strict=True):
        if not np.isfinite(value) and not (what == "gradient" and learning.scaler.is_enabled()):  # float16 skips such
            images_of_it = f"{', '.join(batch.ids[:4])}{' …' if len(batch.ids) > 4 else ''}"
            raise InputError(
                f"the {what} of step {number + 1} is {value}, so the step was not made; its images: {images_of_it}: "
                "check them or lower --lr"
            )
    for group in learning.adam.param_groups:
        group["lr"] = lr
    learning.scaler.step(learning.adam)
    learning.scaler.update()
    return distributed.total(numbers[0])[0] / distributed.size()
