"""Speed measured and foretold, against counts by hand; nothing here looks at a clock."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from landmark.course.lessons import speed


def test_hours_at_full_scale_by_hand():
    """Fails when devices divide the rate, epochs are left out, or days have another number of hours."""
    table = speed.full_scale_hours(10.0)
    assert table.loc[1, "hours"] == pytest.approx(1_200_000 * 6 / 10 / 3600) == pytest.approx(200)
    assert table.loc[8].tolist() == pytest.approx([80, 25, 25 / 24])


def test_mixing_by_hand():
    """Fails when a window of all archives is not a full shuffle, or a window of one mixes two: batches of 8 of 16."""
    one, all_of_them = speed.window_mixing([1, 16], shards=16, per_shard=64, batch=8)
    expected = 16 * (1 - math.comb(15 * 64, 8) / math.comb(16 * 64, 8))  # archives in a batch of a full shuffle
    assert one == pytest.approx(1 / expected, rel=0.02) and all_of_them == pytest.approx(1, rel=0.03)
    shares = speed.window_mixing([1, 2, 4, 8, 16], shards=16, per_shard=64, batch=8)
    assert shares == sorted(shares)


def test_a_benchmarks_rows():
    """Fails when seconds are not told in ms, the ratio is upside down, or plain seems to keep views of its own."""
    result = {
        side: {"images_per_second": {"end_to_end": {"median": 2.0 * k}, "network": {"median": 4.0 * k}},
               "seconds": {"host_to_device": 0.5 / k}, "peak_memory_mib": 100 * k, "share_of_peak": 0.25 * k}
        for side, k in (("plain", 1), ("ours", 2))
    }  # fmt: skip
    result["ours"]["images_per_second"]["views"] = {"median": 6.0}
    table = speed.benchmark_table(result)
    assert table.loc["images/s views kept"].tolist() == [2, 6, 3]
    assert table.loc["images/s end to end"].tolist() == [2, 4, 2]
    assert table.loc["ms host to device"].tolist() == [500, 250, 0.5]
    assert set(table.index) == {"images/s end to end", "images/s network", "images/s views kept", "ms host to device",
                                "peak memory MiB", "share of peak"}  # fmt: skip


def test_training_steps_are_those_that_are_counted(untouched, monkeypatch):
    """Fails when the warm-up is counted, or the rate is not images by seconds, of a clock that each step moves on."""
    now, seen = [0.0], []
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))

    def forward(module, given, result):
        now[0] += 100.0 if len(seen) % 4 == 0 else 2.0  # the first of four warms up
        seen.append(tuple(given[0].shape))

    model.register_forward_hook(forward)
    rates = speed.throughput(model, 8, batch=4, repeats=3)
    assert rates == {"float32": 4 * 3 / 6, "mixed precision": 4 * 3 / 6}
    assert seen == [(4, 3, 8, 8)] * 8 and model.training
    assert model[1].weight.grad is not None


def test_a_rate_is_that_of_the_course_recipe(monkeypatch):
    """Fails when the rate is told for another size, another number of frozen tensors, or in float32."""
    asked = []
    monkeypatch.setattr(speed, "create_model", lambda name, classes, freeze: asked.append((name, freeze)) or "net")
    monkeypatch.setattr(
        speed,
        "throughput",
        lambda model, size, batch, repeats: {"float32": 1.0, "mixed precision": float(size + batch)},
    )
    assert speed.training_rate("xception", 100, 7) == 107 and asked == [("xception", 85)]
