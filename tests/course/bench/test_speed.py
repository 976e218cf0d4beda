"""The benchmarks at the smallest size: what they report, not how fast anything is."""

import contextlib
import functools
import json
import platform

import pytest
import torch

from landmark import benchmarks, gauges, layer_benchmark, sides
from landmark.layers import CompactBilinearPooling
from landmark.runtime import InputError


class Here(contextlib.AbstractContextManager):
    """A thing in this process, where tests have made everything small."""

    def __init__(self, make, *args):
        self.thing = make(*args)

    def ask(self, function, *args):
        return function(self.thing, *args)

    def __exit__(self, *error):
        pass


@pytest.fixture
def small(monkeypatch):
    """A few small files, a small network, no child process."""
    monkeypatch.setattr(sides, "FILES", 8)
    monkeypatch.setattr(sides, "WORKERS", 0)
    monkeypatch.setattr(sides, "CLASSES", 20)
    monkeypatch.setattr(benchmarks, "Apart", Here)


@pytest.mark.parametrize(("bench", "parts"), [
    (benchmarks.bench_train, {"decode", "transform", "host_to_device", "forward", "backward", "step"}),
    (benchmarks.bench_predict, {"decode", "transform", "host_to_device", "forward"}),
])  # fmt: skip
def test_both_sides_and_every_part_are_reported(small, bench, parts, monkeypatch):
    """Fails when a side or a part is not timed, a ratio is upside down, or the result is not plain JSON."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)  # it takes a minute
    monkeypatch.setattr(benchmarks.shutil, "which", lambda name: name)
    told = bench(size=64, batch_size=3, images=4, repeats=1, compiled=True)
    json.dumps(told)
    assert len(compiled) == 1 and set(told["compiled"]["images_per_second"]) == {"network"}
    best, ours = (told[side]["images_per_second"]["network"]["median"] for side in ("compiled", "ours"))
    assert told["share_of_compiled"] == pytest.approx(ours / best, rel=1e-2)
    for side in gauges.SIDES:
        assert set(told[side]["seconds"]) == parts and min(told[side]["seconds"].values()) >= 0
        views = {"views"} if bench is benchmarks.bench_train and side == "ours" else set()
        assert set(told[side]["images_per_second"]) == {"end_to_end", "network"} | views
    for kind, ratio in told["ratio_spread"].items():
        ours = told["ours"]["images_per_second"][kind]["median"]
        plain = told["plain"]["images_per_second"]["end_to_end" if kind == "views" else kind]["median"]
        assert (
            ratio["median"] == pytest.approx(ours / plain, rel=1e-2) == pytest.approx(told[f"ratio_{kind}"], rel=1e-2)
        )
    if bench is benchmarks.bench_train:
        seconds = (2 / told["ratio_end_to_end"] + 4 / told["ratio_views"]) / 6  # two epochs of six compute their views
        assert told["ratio_run"] == pytest.approx(1 / seconds, rel=1e-2)
    rates = told["ours"]["images_per_second"]
    assert told["loader_share"] == pytest.approx(
        1 - rates["end_to_end"]["median"] / rates["network"]["median"], abs=2e-3
    )


def test_compiling_needs_a_compiler(small, monkeypatch):
    """Fails when a machine without one gets pages of a compiler's words."""
    monkeypatch.setattr(benchmarks.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="leave it out"):
        benchmarks.bench_predict(size=64, batch_size=3, compiled=True)


def test_sides_train_the_same_frozen_network(small, tmp_path):
    """Fails when one side learns more tensors than the other or starts from other weights."""
    root, table = sides.files(tmp_path, 3, 64)
    made = {name: sides.train_side(name, root, table, 64, 3, False) for name in gauges.SIDES}
    plain = made["plain"].model
    frozen = [p for p in plain.parameters() if not p.requires_grad]
    assert len(frozen) == sides.FROZEN
    last = {id(p) for p in plain.backbone.block7.parameters()}
    learning = [p for p in plain.parameters() if p.requires_grad and id(p) not in last]
    ours = [p for p in made["ours"].model.parameters() if p.requires_grad]
    assert sum(map(len, (frozen, learning))) == len(list(plain.parameters())) - 2, "all but one BatchNorm"
    assert all(torch.equal(a, b) for a, b in zip(learning, ours, strict=True))
    batch = next(made["ours"].views())
    assert batch.images.shape[1:] == (728, 4, 4), "maps of block 7, not images"
    seen = []
    made["ours"].model.stages[0].register_forward_hook(lambda stage, given, result: seen.append(result))
    list(made["ours"].run(iter([batch, made["ours"].ready])))
    assert seen[0].shape == seen[1].shape, "it learns from either"


def test_data_benchmark_reads_sound_files_only(small):
    """Fails when a broken file of the world reaches the plain loader, which cannot skip it."""
    told = benchmarks.bench_data(size=32, images=10, repeats=2)
    assert told["plain"]["seconds"].keys() == told["ours"]["seconds"].keys() == {"decode", "transform"}
    assert told["ratio_end_to_end"] > 0


def test_layer_benchmark_compares_equal_values(monkeypatch):
    """Fails when the textbook form and the layer differ, in values or in gradients."""
    monkeypatch.setattr(layer_benchmark, "peak_memory", lambda *work: 1)
    told = layer_benchmark.bench_layers(batch_size=1, map_size=2, repeats=1)
    assert told["difference"] < 1e-4 and told["ratio_network"] > 0
    layer, x = CompactBilinearPooling(6, dim=16), torch.randn(2, 6, 2, 2)
    torch.testing.assert_close(layer_benchmark.textbook_pooling(x, layer), layer(x), rtol=1e-4, atol=1e-4)


def test_peak_memory_is_that_of_the_work_alone():
    """Fails when what the process held before counts, or a freed peak is missed."""
    held = torch.ones(128, 1 << 18)
    assert 60 <= gauges.peak_memory(functools.partial, torch.ones, 64, held.shape[1]) <= 90


def _freed():
    """Work like what this process has done before, and has freed."""
    for mebibytes in (31, 24):
        torch.ones(mebibytes, 1 << 18)
    return functools.partial(torch.ones, 24, 1 << 18)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_peak_memory_counts_what_fills_freed_memory():
    """Fails when work that finds its memory already at hand seems to take none."""
    assert 22 <= gauges.peak_memory(_freed) <= 40


def test_settings_are_checked():
    """Fails when a benchmark of nothing divides by zero."""
    for bench in (
        benchmarks.bench_train,
        benchmarks.bench_predict,
        benchmarks.bench_data,
        layer_benchmark.bench_layers,
    ):
        with pytest.raises(InputError, match="repeats=0"):
            bench(repeats=0)
