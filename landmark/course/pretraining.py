"""Train a backbone on a disjoint miniature world, and store it as the weights that stand in for ImageNet's."""

from __future__ import annotations

import platform
from dataclasses import asdict, replace
from pathlib import Path

from safetensors.torch import save_file

from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.prediction import predict
from landmark.models.recipes import BACKBONES
from landmark.models.stand_in.packed import pack, stand_in_path
from landmark.models.weights import load_tensors, read_tensors
from landmark.training.config import TrainConfig
from landmark.training.run import Run
from landmark.training.splits import dev_scores, split_dev
from landmark.training.trainer import fit
from landmark.utils.device import describe
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path, data_root, runs_root, sha256, write_json
from landmark.world.config import WorldConfig
from landmark.world.make import VERSION, make_world


def stages(backbone: str, world: WorldConfig, epochs: int, last_epochs: int) -> list[TrainConfig]:
    """Settings of a pretraining: most passes at half the size, four times as fast, then some at the whole size.

    Both train the whole network; the learning rate rises over 100 steps, without which 500 landmarks are hardly learnt
    at first, and falls to nothing. Labels are not smoothed: features learnt from smoothed labels serve other landmarks
    less well.

    Args:
        backbone: its name, a line of `recipes.BACKBONES`.
        world: it is trained on.
        epochs: passes at half the size.
        last_epochs: passes at the whole size.

    Source: Touvron et al. 2019, Fixing the train-test resolution discrepancy (sizes); Kornblith et al. 2021, Why do
    better loss functions lead to less transferable features? (labels).

    >>> world = WorldConfig(landmarks=500, size=128, pretraining=True)
    >>> [(x.size, x.epochs) for x in stages("xception", world, 4, 2)]
    [(64, 4), (128, 2)]
    """
    first = TrainConfig(model=backbone, size=world.size // 2, epochs=epochs, batch_size=32, lr=1e-3, decay=True,
                        warmup=100, freeze=0, weights="none", min_images=world.min_images, seed=world.seed)  # fmt: skip
    return [first, replace(first, size=world.size, epochs=last_epochs)]


def pretrain(backbone: str, out: str | Path | None, world: WorldConfig, *, epochs: int, last_epochs: int) -> Path:
    """Train a backbone on a pretraining world and store it in 8-bit integers, with a card beside it.

    World and runs lie in the folders of data and runs; stopped, the same call goes on.

    Args:
        backbone: its name, a line of `recipes.BACKBONES`.
        out: `.safetensors` file to write; that of the package when left out.
        world: to train on; its seed is that of the training as well.
        epochs: passes at half the world's size.
        last_epochs: passes at the whole size.

    Returns:
        The file; its card has the same name and ends in `.json`.

    Raises:
        InputError: no such backbone, a world that is none to pretrain on, or a file that cannot be written.
    """
    if backbone not in BACKBONES:
        raise InputError(f"no backbone {backbone!r}: choose one of {', '.join(BACKBONES)}")
    if not world.pretraining:
        raise InputError("this world may hold landmarks of the course: give one with pretraining=True")
    out = Path(out) if out else stand_in_path(backbone)
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: choose a name that ends in .safetensors")
    name = f"pretraining-{world.landmarks}x{world.images}-{world.size}px-{world.seed}"
    root = make_world(data_root() / name, world)
    runs: list[Run] = []
    seconds = 0.0
    for config in stages(backbone, world, epochs, last_epochs):
        weights = str(runs[-1].path / "last.safetensors") if runs else "none"
        place = runs_root() / f"{name}-{backbone}-{config.size}px-{config.epochs}"
        runs.append(fit(replace(config, weights=weights), root, place))
        seconds += runs[-1].result["seconds"]
    return store(runs[-1], root, out, {
        "backbone": backbone,
        "command": f"landmark pretrain {backbone} --landmarks {world.landmarks} --images {world.images} --size "
                   f"{world.size} --epochs {epochs} --last-epochs {last_epochs} --seed {world.seed}",
        "world": {"version": VERSION, **asdict(world)},
        "machine": f"{platform.machine()}, {describe()}", "hours": round(seconds / 3600, 2),
        "train_images": runs[-1].result["train_images"], "dev_images": runs[-1].result["dev_images"],
    })  # fmt: skip


def store(run: Run, root: Path, out: Path, card: dict) -> Path:
    """Store the backbone of a run in 8-bit integers, and add to its card what it scores before and after.

    Args:
        run: whose last weights they are.
        root: folder of the data that it was trained on.
        out: file to write; the card is written beside it.
        card: what is known of it so far.
    """
    dev = split_dev(GoogleLandmarks(root).labelled(run.config.min_images), root, run.config.dev_fraction,
                    run.config.seed).dev  # fmt: skip
    model, loader = run.model("last"), run.loader(dev, root, "train")
    before = dev_scores(predict(model, loader), run.labels, dev)
    with atomic_path(out) as part:
        save_file(pack({key: value.cpu() for key, value in model.backbone.state_dict().items()}), part)
    load_tensors(model.backbone, read_tensors(out), out)
    after = dev_scores(predict(model, loader), run.labels, dev)
    scores = {"dev_gap": before["dev_gap"], "dev_top1": before["dev_top1"], "dev_top1_stored": after["dev_top1"]}
    rounded = {key: round(value, 4) for key, value in scores.items()}
    write_json(out.with_suffix(".json"), card | rounded | {"sha256": sha256(out), "bytes": out.stat().st_size})
    return out
