"""Measure and predict speed: images a second, hours at full scale, how well an order mixes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from landmark.data.loader import mixing, shuffled
from landmark.models.net import LandmarkNet, create_model
from landmark.utils.device import autocast, device, own_random_numbers


def throughput(model: LandmarkNet, size: int, batch: int = 16, repeats: int = 3) -> dict[str, float]:
    """Measure images a second of training steps in float32 and in the mixed precision of this machine."""
    where = device()
    model = model.to(where).to(memory_format=torch.channels_last).train()
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
    """Measure images a second of training steps on ready tensors, in mixed precision, with 85 tensors frozen."""
    return throughput(create_model(model, 1000, freeze=85), size, batch, repeats=2)["mixed precision"]


def full_scale_hours(rate: float, images: int = 1_200_000, epochs: int = 6) -> pd.DataFrame:
    """Compute hours of training on 1, 2 and 8 devices at `rate` images a second each, by default as in the paper.

    >>> full_scale_hours(100.0, images=360_000, epochs=2)["hours"].tolist()
    [2.0, 1.0, 0.25]
    """
    devices = np.array([1, 2, 8])
    hours = images * epochs / (3600 * rate * devices)
    return pd.DataFrame({"images/s": rate * devices, "hours": hours, "days": hours / 24},
                        index=pd.Index(devices, name="devices"))  # fmt: skip


def window_mixing(windows: Sequence[int], shards: int, per_shard: int, batch: int, seed: int = 0) -> list[float]:
    """Compute how many TARs a batch of each shuffling window holds, as a share of those of a full shuffle."""
    where = np.repeat(np.arange(1, shards + 1), per_shard)
    return [mixing(shuffled(where, seed, 0, window), where, batch)["distinct"] for window in windows]


def benchmark_table(result: Mapping) -> pd.DataFrame:
    """Lay out the result of `bench_train` or `bench_predict` as columns for plain and ours; plain keeps no views."""
    rows = {}
    for side in ("plain", "ours"):
        rates = {f"images/s {kind}": value["median"] for kind, value in result[side]["images_per_second"].items()}
        parts = {f"ms {part}": seconds * 1000 for part, seconds in result[side]["seconds"].items()}
        peaks = {"peak memory MiB": result[side]["peak_memory_mib"], "share of peak": result[side]["share_of_peak"]}
        rows[side] = rates | parts | peaks
    table = pd.DataFrame(rows, index=list(rows["ours"]))
    if "images/s views" in table.index:
        table.loc["images/s views", "plain"] = table.loc["images/s end_to_end", "plain"]
    table.index = [{"images/s views": "images/s views kept"}.get(name, name).replace("_", " ") for name in table.index]
    return table.assign(ratio=table["ours"] / table["plain"])
