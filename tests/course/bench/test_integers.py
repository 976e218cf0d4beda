"""The benchmark of 8-bit integers at the smallest size: what it reports, and that every way computes the network."""

import importlib.metadata
import json

import pytest
import torch

from landmark.course.bench import integers
from landmark.course.bench.integers import WAYS, Converted, bench_integers, in_portions, missing
from landmark.models import int8
from landmark.models.frozen import stages_of
from landmark.models.int8 import has_int8
from landmark.models.net import create_model
from landmark.utils.errors import InputError
from tests.course.bench.conftest import Here
from tests.helpers import _awake

needs_int8 = pytest.mark.skipif(not has_int8(torch.device("cpu")), reason="the chip has no products of bytes")
COMPILED = {"torchao"}  # takes half a minute


@pytest.fixture
def absent(monkeypatch):
    """No library that is not part of the project."""
    version = importlib.metadata.version
    foreign = {package for packages, _ in WAYS.values() for package in packages}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version("no-" + name if name in foreign else name))


@needs_int8
def test_ways_without_their_library_are_named(absent, monkeypatch):
    """Fails when a missing library ends the benchmark, a way is lost in silence, or a ratio is upside down."""
    monkeypatch.setattr(integers, "Apart", Here)
    monkeypatch.setattr(integers, "CLASSES", 5)
    monkeypatch.setattr(integers, "SAMPLE", 4)
    monkeypatch.setattr(integers, "SECONDS", 0.0)
    told = json.loads(json.dumps(bench_integers(size=64, batch_size=2, repeats=1)))
    assert told["left_out"].keys() == {"openvino", "onnxruntime", "torchao"}
    assert "nncf" in told["left_out"]["openvino"] and "landmark[integers]" in told["left_out"]["openvino"]
    for use in integers.USES:
        assert told[use].keys() == {"ratio", "ours", "floats"}
        assert told[use]["ratio"].keys() == {"floats"}
        assert told[use]["floats"]["error"] < told[use]["ours"]["error"] < 1
        ours, other = (told[use][name]["images_per_second"]["median"] for name in ("ours", "floats"))
        ratio = told[use]["ratio"]["floats"]["images_per_second"]["median"]
        assert ratio == pytest.approx(ours / other, rel=1e-2)


@needs_int8
@pytest.mark.parametrize("name", sorted(WAYS.keys() - COMPILED))
def test_every_way_stays_close_to_floats(name):
    """Fails when a library is called wrongly: other images, a lost portion, no gradient behind the frozen stages."""
    if name in missing():
        pytest.skip(missing()[name])
    model, x = _awake(create_model("resnet50", 5)), torch.rand(7, 3, 64, 64)
    first, last = stages_of(model.backbone, "layer1")
    with torch.no_grad():
        answers = model(x)
        assert (Converted(model, name, x[:4])(x) - answers).abs().max() < answers.std()
        compute = WAYS[name][1](first.eval(), x[:4])
        maps, expected = in_portions(compute, x), first(x)
    assert maps.dtype == torch.float32 and (maps - expected).norm() < 0.1 * expected.norm()
    last(maps).sum().backward()
    assert next(last.parameters()).grad is not None


def test_settings_are_checked(monkeypatch):
    """Fails when a benchmark of nothing divides by zero, or a chip without products of bytes shows a traceback."""
    with pytest.raises(InputError, match="repeats=0"):
        bench_integers(repeats=0)
    monkeypatch.setattr(int8, "ENGINE", "another")
    with pytest.raises(InputError, match="AVX2"):
        bench_integers()
