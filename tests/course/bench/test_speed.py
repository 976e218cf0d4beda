"""The benchmarks at the smallest size: what they report, not how fast anything is."""

import json

import pytest
import torch

from landmark.course.bench import layers, measure, speed
from landmark.utils.errors import InputError


@pytest.mark.parametrize(("bench", "parts"), [
    (speed.bench_train, {"decode", "transform", "host_to_device", "forward", "backward", "step"}),
    (speed.bench_predict, {"decode", "transform", "host_to_device", "forward"}),
])  # fmt: skip
def test_both_sides_and_every_part_are_reported(small, bench, parts, monkeypatch):
    """Fails when a side or a part is not timed, a ratio is upside down, or the result is not plain JSON."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)  # it takes a minute
    monkeypatch.setattr(speed.shutil, "which", lambda name: name)
    told = bench(size=64, batch_size=3, images=4, repeats=1, compiled=True)
    json.dumps(told)
    assert len(compiled) == 1 and set(told["compiled"]["images_per_second"]) == {"network"}
    best, ours = (told[side]["images_per_second"]["network"]["median"] for side in ("compiled", "ours"))
    assert told["share_of_compiled"] == pytest.approx(ours / best, rel=1e-2)
    for side in measure.SIDES:
        assert set(told[side]["seconds"]) == parts and min(told[side]["seconds"].values()) >= 0
        views = {"views"} if bench is speed.bench_train and side == "ours" else set()
        assert set(told[side]["images_per_second"]) == {"end_to_end", "network"} | views
    for kind, ratio in told["ratio_spread"].items():
        ours = told["ours"]["images_per_second"][kind]["median"]
        plain = told["plain"]["images_per_second"]["end_to_end" if kind == "views" else kind]["median"]
        assert (
            ratio["median"] == pytest.approx(ours / plain, rel=1e-2) == pytest.approx(told[f"ratio_{kind}"], rel=1e-2)
        )
    if bench is speed.bench_train:
        seconds = (2 / told["ratio_end_to_end"] + 4 / told["ratio_views"]) / 6  # two epochs of six compute their views
        assert told["ratio_run"] == pytest.approx(1 / seconds, rel=1e-2)
    rates = told["ours"]["images_per_second"]
    assert told["loader_share"] == pytest.approx(
        1 - rates["end_to_end"]["median"] / rates["network"]["median"], abs=2e-3
    )


def test_compiling_needs_a_compiler(small, monkeypatch):
    """Fails when a machine without one gets pages of a compiler's words."""
    monkeypatch.setattr(speed.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="leave it out"):
        speed.bench_predict(size=64, batch_size=3, compiled=True)


def test_data_benchmark_reads_sound_files_only(small):
    """Fails when a broken file of the world reaches the plain loader, which cannot skip it."""
    told = speed.bench_data(size=32, images=10, repeats=2)
    assert told["plain"]["seconds"].keys() == told["ours"]["seconds"].keys() == {"decode", "transform"}
    assert told["ratio_end_to_end"] > 0


def test_settings_are_checked():
    """Fails when a benchmark of nothing divides by zero."""
    for bench in (
        speed.bench_train,
        speed.bench_predict,
        speed.bench_data,
        layers.bench_layers,
    ):
        with pytest.raises(InputError, match="repeats=0"):
            bench(repeats=0)
