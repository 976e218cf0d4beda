"""Small measurements the notebooks make: sketch errors, attention, speed, resumed runs, open-world curves."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from landmark import metrics
from landmark.config import TrainConfig
from landmark.data import LabelMap
from landmark.functional import count_sketch, spatial_softmax, tensor_sketch
from landmark.layers import SelfAttention2d
from landmark.models import LandmarkNet, create_model
from landmark.runtime import autocast, device, own_random_numbers, sha256
from landmark.sampling import mixing, shuffled
from landmark.training import fit


def stage_sizes(module: nn.Module) -> list[tuple[str, int]]:
    """Children of a module with their number of parameters, those without any left out."""
    sizes = [(name, sum(p.numel() for p in child.parameters())) for name, child in module.named_children()]
    return [(name, size) for name, size in sizes if size]


def frozen_stages(module: nn.Module) -> set[str]:
    """Children of a module none of whose parameters train."""
    return {
        name
        for name, child in module.named_children()
        if list(child.parameters()) and not any(p.requires_grad for p in child.parameters())
    }


def sketch_errors(dims: Sequence[int], repeats: int = 20, channels: int = 256, seed: int = 0) -> np.ndarray:
    """Relative error of ⟨TS(x), TS(y)⟩ against ⟨x, y⟩², (len(dims), repeats), for new vectors and hashes each time."""
    generator = torch.Generator().manual_seed(seed)
    errors = np.empty((len(dims), repeats))
    for i, dim in enumerate(dims):
        for j in range(repeats):
            x, y = torch.rand(2, channels, generator=generator)
            h = torch.randint(0, dim, (2, channels), generator=generator)
            s = torch.randint(0, 2, (2, channels), generator=generator) * 2.0 - 1
            a, b = (tensor_sketch(v, h[0], s[0], h[1], s[1], dim) for v in (x, y))
            exact = float(x @ y) ** 2
            errors[i, j] = abs(float(a @ b) - exact) / exact
    return errors


def sketch_by_hand(x: Sequence[float], h: Sequence[int], s: Sequence[int], dim: int) -> list[float]:
    """The count sketch of one short vector, as a list.

    >>> sketch_by_hand([1, 2, 3], [0, 1, 0], [1, 1, -1], 2)
    [-2.0, 2.0]
    """
    return count_sketch(torch.tensor(x, dtype=torch.float32), torch.tensor(h), torch.tensor(s), dim).tolist()


@torch.inference_mode()
def spatial_weights(model: LandmarkNet, images: Tensor) -> np.ndarray:
    """Weights (B, H, W) with which a `xception_spatial_map` network adds up the places of its map."""
    x = model.forward_features(images.to(next(model.parameters()).device)).float()
    return spatial_softmax(x / x.shape[1] ** 0.5)[:, 0].cpu().numpy()


def attention_layer(model: nn.Module) -> SelfAttention2d:
    """The self-attention layer of a network."""
    return next(module for module in model.modules() if isinstance(module, SelfAttention2d))


@torch.inference_mode()
def self_attention_from(model: LandmarkNet, images: Tensor, places: Sequence[tuple[int, int]]) -> np.ndarray:
    """Attention (B, H, W) that one place of each image's map pays to all places; `places` are B (row, column)."""
    x = model.forward_features(images.to(next(model.parameters()).device)).float()
    weights = attention_layer(model).attention(x)  # (B, N, N)
    height, width = x.shape[-2:]
    rows = [weights[i, r * width + c] for i, (r, c) in enumerate(places)]
    return torch.stack(rows).view(-1, height, width).cpu().numpy()


def throughput(model: LandmarkNet, size: int, batch: int = 16, repeats: int = 3) -> dict[str, float]:
    """Images a second of training steps in float32 and in the mixed precision of this machine."""
    where = device()
    model = model.to(where, memory_format=torch.channels_last).train()
    rates = {}
    with own_random_numbers(where):
        x = torch.randn(batch, 3, size, size, device=where).to(memory_format=torch.channels_last)
        for name, context in (("float32", contextlib.nullcontext), ("mixed precision", lambda: autocast(where))):
            for attempt in range(repeats + 1):
                if attempt == 1:  # the first one warms up
                    start = time.perf_counter()
                with context():
                    loss = model(x).float().square().mean()
                model.zero_grad(set_to_none=True)
                loss.backward()
                if where.type == "cuda":
                    torch.cuda.synchronize()
            rates[name] = batch * repeats / (time.perf_counter() - start)
    return rates


def training_rate(model: str, size: int = 299, batch: int = 8) -> float:
    """Images a second of training steps on ready tensors, in the mixed precision of this machine, 85 tensors frozen."""
    return throughput(create_model(model, 1000, freeze=85), size, batch, repeats=2)["mixed precision"]


def full_scale_hours(rate: float, images: int = 1_200_000, epochs: int = 6) -> pd.DataFrame:
    """Hours of training on 1, 2 and 8 devices at `rate` images a second each; sizes of the paper's filtered set.

    >>> full_scale_hours(100.0, images=360_000, epochs=2)["hours"].tolist()
    [2.0, 1.0, 0.25]
    """
    devices = np.array([1, 2, 8])
    hours = images * epochs / (3600 * rate * devices)
    return pd.DataFrame({"images/s": rate * devices, "hours": hours, "days": hours / 24},
                        index=pd.Index(devices, name="devices"))  # fmt: skip


def window_mixing(windows: Sequence[int], shards: int, per_shard: int, batch: int, seed: int = 0) -> list[float]:
    """Archives in a batch of each shuffling window, as a share of those in a batch of a full shuffle."""
    where = np.repeat(np.arange(1, shards + 1), per_shard)
    return [mixing(shuffled(where, seed, 0, window), where, batch)["distinct"] for window in windows]


def benchmark_table(result: Mapping) -> pd.DataFrame:
    """What `bench_train` or `bench_predict` found, as rows for plain and ours; plain keeps no views."""
    rows = {}
    for side in ("plain", "ours"):
        found = result[side]
        rates = {f"images/s {kind}": value["median"] for kind, value in found["images_per_second"].items()}
        parts = {f"ms {part}": seconds * 1000 for part, seconds in found["seconds"].items()}
        rows[side] = (
            rates | parts | {"peak memory MiB": found["peak_memory_mib"], "share of peak": found["share_of_peak"]}
        )
    table = pd.DataFrame(rows, index=list(rows["ours"]))
    if "images/s views" in table.index:
        table.loc["images/s views", "plain"] = table.loc["images/s end_to_end", "plain"]
    table.index = [{"images/s views": "images/s views kept"}.get(name, name).replace("_", " ") for name in table.index]
    return table.assign(ratio=table["ours"] / table["plain"])


def gradient_norms(model: LandmarkNet, images: Tensor, labels: Tensor) -> list[tuple[str, float]]:
    """Norm of the loss's gradient in each child of the backbone, and in the head, for one batch."""
    model.zero_grad(set_to_none=True)
    with own_random_numbers(images.device):  # dropout draws some
        nn.functional.cross_entropy(model(images).float(), labels).backward()
    parts = [*model.backbone.named_children(), ("head", model.head)]
    norms = [
        (
            name,
            float(
                nn.utils.get_total_norm([p.grad for p in part.parameters() if p.grad is not None] or [torch.zeros(1)])
            ),
        )
        for name, part in parts
        if list(part.parameters())
    ]
    model.zero_grad(set_to_none=True)
    return norms


def gap_against_distractors(predictions: Mapping, truth: Mapping, shares: Sequence[float]) -> list[float]:
    """GAP if distractors made up each of `shares` of the test set and scored as those at hand do.

    Each distractor counts `w = share / (1 - share) · queries / distractors` times in every rank below it:
    GAP(w) = (1/M) Σ_i rel(i) · (right ones so far) / (queries so far + w · distractors so far).

    Args:
        predictions: image id → (landmark_id, score).
        truth: image id → landmark ids, none for a distractor.
        shares: from 0 to below 1.

    >>> gap_against_distractors({"a": (1, 0.5), "d": (2, 0.9)}, {"a": [1], "d": []}, [0.0, 0.5, 0.75])
    [1.0, 0.5, 0.25]
    """
    steps = metrics.gap_steps(predictions, truth)
    right = np.array(steps["correct"], bool)
    empty = np.array([not truth[image_id] for image_id in steps["id"]], bool)
    queries = sum(bool(len(landmarks)) for landmarks in truth.values())
    distractors = len(truth) - queries
    gaps = []
    for share in shares:
        weight = share / (1 - share) * queries / max(distractors, 1)
        rank = np.cumsum(np.where(empty, weight, 1.0))
        gaps.append(float((np.cumsum(right)[right] / rank[right]).sum() / queries))
    return gaps


def answers_by_kind(predictions: Mapping, truth: Mapping, labels: LabelMap) -> dict[str, list[float]]:
    """Scores of right and wrong answers on the label set's queries, of those on unknown landmarks and distractors."""
    scores: dict[str, list[float]] = {"right": [], "wrong": [], "unknown": [], "distractor": []}
    for image_id, (landmark_id, score) in predictions.items():
        shown: Collection[int] = truth[image_id]
        kind = "distractor" if not shown else "unknown" if not any(x in labels for x in shown) else None
        scores[kind or ("right" if landmark_id in shown else "wrong")].append(score)
    return {kind: values for kind, values in scores.items() if values}


def killed_and_resumed(root: str | Path, folder: str | Path, *, model: str = "resnet50", steps: int = 5) -> dict:
    """Train a short run twice, once in a process that is killed by SIGKILL on the way and then continued, and compare.

    Args:
        root: small data set in the GLDv2 layout; landmarks with 4 images or more are used.
        folder: of the two runs, emptied first.
        model: to train from scratch, at 64 pixels, 8 images a step.
        steps: of either run.

    Returns:
        killed_after: step of the last state when the process was killed; same_weights and same_log: whether the two
        runs agree in every bit.
    """
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    settings = {"model": model, "size": 64, "batch_size": 8, "min_images": 4, "weights": "none", "steps": steps}
    options = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "landmark", "train", str(root), *options, "--save-steps", "1", "--workers", "0"]
    command += ["--out", str(folder / "killed")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as child, ThreadPoolExecutor(1) as thread:
        killing = thread.submit(_kill, child, folder / "killed")
        fit(TrainConfig(**settings), root, folder / "whole", workers=0, progress=False)  # while the child starts
        states = killing.result()
    fit(TrainConfig(**settings), root, folder / "killed", workers=0, progress=False)
    weights = [sha256(folder / name / "last.safetensors") for name in ("whole", "killed")]
    logs = [pd.read_csv(folder / name / "metrics.csv").drop(columns=["seconds", "images_per_second"])
            for name in ("whole", "killed")]  # fmt: skip
    killed = max((int(path.name.split("-")[1]) for path in states), default=steps)
    return {"killed_after": killed, "same_weights": weights[0] == weights[1], "same_log": logs[0].equals(logs[1])}


def _kill(child: subprocess.Popen, run: Path) -> list[Path]:
    """End a process as soon as its run has a state of two steps or more; returns such states."""
    while not (states := list(run.glob("state-00000000[2-9]-*"))) and child.poll() is None:
        time.sleep(0.01)
    child.kill()
    return states
