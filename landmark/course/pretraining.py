"""Train a backbone on a disjoint miniature world, and store it as the weights that stand in for ImageNet's."""

from __future__ import annotations

import itertools
import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from landmark.data.dataset import LandmarkDataset, eval_transform, train_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.loader import make_loader
from landmark.evaluation.prediction import predict
from landmark.models.net import LandmarkNet, create_model
from landmark.models.recipes import BACKBONES, data_config
from landmark.models.stand_in.packed import pack, stand_in_path
from landmark.models.weights import load_tensors, read_tensors
from landmark.training.checkpoints import Checkpoints
from landmark.training.config import TrainConfig
from landmark.training.splits import Split, dev_scores, split_dev
from landmark.training.step import Learning, learning_rate, train_step
from landmark.utils.device import describe, device, float32_by_default, own_random_numbers, reseed
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path, claimed, data_root, runs_root, sha256, write_json
from landmark.utils.process import asked_to_stop
from landmark.world.config import WorldConfig
from landmark.world.make import VERSION, make_world

TEACHER = "efficientnet_lite0"  # its ImageNet weights come with a package
WEIGHT = 8.0  # of the likeness to its features, beside the cross-entropy


@dataclass(frozen=True)
class Plan:
    """A pretraining: the settings of its steps, and the size of each pass.

    Most passes are made at half the size, four times as fast, then some at the whole size. The learning rate rises
    over 100 steps, without which hundreds of landmarks are hardly learnt at first, and falls to nothing.

    Source: Touvron et al. 2019, Fixing the train-test resolution discrepancy (sizes).
    """

    config: TrainConfig
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, backbone: str, world: WorldConfig, epochs: int, last_epochs: int) -> Plan:
        """Plan `epochs` passes at half the world's size and `last_epochs` at the whole.

        >>> Plan.of("xception", WorldConfig(landmarks=500, size=128, pretraining=True), 3, 1).sizes
        (64, 64, 64, 128)
        """
        config = TrainConfig(model=backbone, size=world.size, epochs=epochs + last_epochs, batch_size=32, lr=1e-3,
                             decay=True, warmup=100, freeze=0, weights="none", min_images=world.min_images,
                             seed=world.seed)  # fmt: skip
        return cls(config, (world.size // 2,) * epochs + (world.size,) * last_epochs)


class Student(nn.Module):
    """A network that names landmarks and, from the same embedding, foretells its teacher's features.

    Args:
        name: of the backbone.
        classes: K.
        features: D of the teacher.
        seed: of the weights.
    """

    def __init__(self, name: str, classes: int, features: int, seed: int):
        super().__init__()
        self.network = create_model(name, classes, seed=seed)
        with own_random_numbers(torch.device("cpu")):
            reseed(seed, torch.device("cpu"))
            self.project = nn.Linear(self.network.num_features, features)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) → logits (B, K) and features (B, D)."""
        embedding = self.network.forward_head(self.network.forward_features(images), pre_logits=True)
        return self.network.head(embedding), self.project(embedding)


class Distillation:
    """The loss of a student: -log p(class) + w·(1 - cos(features, teacher's)), summed over a batch.

    The labels of a batch are the rows of its images in the table, for each has features of its own.

    Args:
        classes: (N,) class index of each row.
        teacher: (N, D) its features of each row.
        weight: w.

    Source: Hinton et al. 2015, Distilling the knowledge in a neural network; of features, Romero et al. 2015, FitNets.

    >>> loss = Distillation(torch.tensor([1]), torch.tensor([[0.0, 2.0]]), weight=3.0)
    >>> loss((torch.tensor([[-40.0, 40.0]]), torch.tensor([[5.0, 0.0]])), torch.tensor([0])).item()
    3.0
    """

    def __init__(self, classes: Tensor, teacher: Tensor, weight: float = WEIGHT):
        self.classes, self.teacher, self.weight = classes, teacher, weight

    def __call__(self, answers: tuple[Tensor, Tensor], rows: Tensor) -> Tensor:
        """Compute it for logits (B, K) and features (B, D) of the images of some rows (B,)."""
        logits, features = answers
        likeness = F.cosine_similarity(features.float(), self.teacher[rows], dim=1)
        named = F.cross_entropy(logits.float(), self.classes[rows], reduction="sum")
        return named + self.weight * (1 - likeness).sum()


def teacher_features(table: pd.DataFrame, root: Path, size: int) -> tuple[pd.DataFrame, Tensor]:
    """Let the teacher look at each image once.

    Args:
        table: of the images.
        root: their folder.
        size: pixels.

    Returns:
        The rows that could be read, and their features (N, D), each of mean 0 and standard deviation 1 over them.
    """
    teacher = create_model(TEACHER, 0, weights="imagenet").to(device())
    loader = make_loader(LandmarkDataset(table, root, "train", None, *eval_transform(size, **teacher.data_config)), 32)
    answers = predict(teacher, loader, progress=True, keep=["embedding"])
    features = torch.from_numpy(answers.embedding)
    rows = table.set_index("id").loc[answers.ids].reset_index()
    return rows, (features - features.mean(0)) / features.std(0).clamp(min=1e-6)


@float32_by_default()
def pretrain(backbone: str, out: str | Path | None, world: WorldConfig, *, epochs: int, last_epochs: int) -> Path:
    """Train a backbone on a pretraining world and store it in 8-bit integers, with a card beside it.

    It learns to name the world's landmarks and to foretell what EfficientNet-Lite0's ImageNet features are: minutes of
    labels alone give poor features. World and states lie in the folders of data and runs; stopped, the same call goes
    on.

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
        KeyboardInterrupt: asked to stop; the state after the last step is saved.
    """
    if backbone not in BACKBONES:
        raise InputError(f"no backbone {backbone!r}: choose one of {', '.join(BACKBONES)}")
    if not world.pretraining:
        raise InputError("this world may hold landmarks of the course: give one with pretraining=True")
    out = Path(out) if out else stand_in_path(backbone)
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: choose a name that ends in .safetensors")
    plan = Plan.of(backbone, world, epochs, last_epochs)
    command = (f"landmark pretrain {backbone} --landmarks {world.landmarks} --images {world.images} "
               f"--size {world.size} --epochs {epochs} --last-epochs {last_epochs} --seed {world.seed}")  # fmt: skip
    card = {"backbone": backbone, "command": command, "teacher": f"{TEACHER}, ImageNet",
            "world": {"version": VERSION, **asdict(world)}, "training": asdict(plan.config)}  # fmt: skip
    if _made(out, card):
        return out
    name = f"pretraining-{world.landmarks}x{world.images}-{world.size}px-{world.seed}"
    root = make_world(data_root() / name, world)
    split = split_dev(GoogleLandmarks(root).labelled(world.min_images), root, seed=world.seed)
    folder = runs_root() / f"{name}-{backbone}"
    network, seconds = learn(plan, split, root, folder, card)
    store(network, plan.config, split, root, out, card | {
        "machine": f"{platform.machine()}, {describe()}", "hours": round(seconds / 3600, 2),
        "train_images": len(split.train), "dev_images": len(split.dev),
    })  # fmt: skip
    Checkpoints(folder).clear()
    return out


def _made(out: Path, card: dict) -> bool:
    """Whether a file is there that was made like this, whole."""
    try:
        before = json.loads(out.with_suffix(".json").read_text())
        return out.is_file() and all(before.get(key) == card[key] for key in card) and before["sha256"] == sha256(out)
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def learn(plan: Plan, split: Split, root: Path, folder: Path, basis: dict) -> tuple[LandmarkNet, float]:
    """Make all steps of a pretraining, or those that are left of one that was stopped.

    Args:
        plan: of `Plan.of`.
        split: of the world.
        root: its folder.
        folder: for the saved states.
        basis: what they depend on, as JSON gives it back.

    Returns:
        The network, and the seconds it took.

    Raises:
        InputError: the folder holds states of another pretraining.
        KeyboardInterrupt: asked to stop; the state after the last step is saved.
    """
    config, where, states = plan.config, device(), Checkpoints(folder)
    note = folder / "config.json"
    if not claimed(note, basis, "pretraining"):
        write_json(note, basis)
    states.sweep()
    saved = states.load()
    labels = LabelMap(split.train["landmark_id"])
    rows, teacher = teacher_features(split.train, root, config.size)
    classes = torch.tensor([labels.to_index(value) for value in rows["landmark_id"]])
    student = Student(config.model, len(labels), teacher.shape[1], config.seed).to(where)
    student.to(memory_format=torch.channels_last)
    loss = Distillation(classes.to(where), teacher.to(where))
    learning = replace(Learning.of(student, config, saved), loss=loss)
    step, seconds = (saved["step"], saved["seconds"]) if saved else (0, 0.0)
    per_epoch = len(_one_pass(plan, rows, root, 0))
    first, skip = divmod(step, per_epoch)
    steps, clock = per_epoch * len(plan.sizes), time.monotonic()

    def save(number: int) -> None:
        states.save(number, {"model": student.state_dict(), "adam": learning.adam.state_dict(), "step": number,
                             "scaler": learning.scaler.state_dict(),
                             "seconds": seconds + time.monotonic() - clock})  # fmt: skip

    with asked_to_stop() as asked, tqdm(total=steps, initial=step, unit="step", desc=folder.name) as bar:
        passes = (_one_pass(plan, rows, root, epoch, skip if epoch == first else 0)
                  for epoch in range(first, len(plan.sizes)))  # fmt: skip
        batches = itertools.chain.from_iterable(passes)
        for number, batch in enumerate(batches, start=step):
            value = train_step(learning, batch, number, learning_rate(config, number, steps))
            bar.set_postfix(loss=f"{value:.3f}", refresh=False)
            bar.update()
            if asked.is_set() or (number + 1) % per_epoch == 0:
                save(number + 1)
            if asked.is_set():
                raise KeyboardInterrupt
    return student.network, seconds + time.monotonic() - clock


def _one_pass(plan: Plan, rows: pd.DataFrame, root: Path, epoch: int, skip: int = 0) -> DataLoader:
    """The batches of a pass, `skip` of them left out; their labels are rows of the table."""
    numbered, each = rows.assign(landmark_id=range(len(rows))), LabelMap(range(len(rows)))
    transforms = train_transform(plan.sizes[epoch], **data_config(plan.config.model))
    dataset = LandmarkDataset(numbered, root, "train", each, *transforms, plan.config.seed)
    return make_loader(dataset, plan.config.batch_size, shuffle=True, seed=plan.config.seed,
                       epochs=range(epoch, epoch + 1), skip=skip)  # fmt: skip


def store(network: LandmarkNet, config: TrainConfig, split: Split, root: Path, out: Path, card: dict) -> None:
    """Store the backbone of a network in 8-bit integers, and add to its card what it scores before and after.

    Args:
        network: that has learnt.
        config: its settings.
        split: its train and dev rows.
        root: folder of their images.
        out: file to write; the card is written beside it.
        card: what is known of it so far.
    """
    labels = LabelMap(split.train["landmark_id"])
    dataset = LandmarkDataset(split.dev, root, "train", labels, *eval_transform(config.size, **network.data_config))
    loader = make_loader(dataset, config.batch_size)
    before = dev_scores(predict(network, loader), labels, split.dev)
    with atomic_path(out) as part:
        save_file(pack({key: value.cpu() for key, value in network.backbone.state_dict().items()}), part)
    load_tensors(network.backbone, read_tensors(out), out)
    after = dev_scores(predict(network, loader), labels, split.dev)
    scores = {"dev_gap": before["dev_gap"], "dev_top1": before["dev_top1"], "dev_top1_stored": after["dev_top1"]}
    rounded = {key: round(value, 4) for key, value in scores.items()}
    write_json(out.with_suffix(".json"), card | rounded | {"sha256": sha256(out), "bytes": out.stat().st_size})
