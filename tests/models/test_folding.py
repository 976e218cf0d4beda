"""Oracle: the network itself, in float32."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from landmark import inference, int8
from landmark.backbones import freeze_stage
from landmark.inference import fast_model, fast_prefix, fold_batch_norms, prefix_ranges
from landmark.models import create_model
from landmark.runtime import autocast

pytestmark = pytest.mark.arithmetic
CPU = torch.device("cpu")
NEAR = {"float32": 1e-5, "bfloat16": 0.03, "float16": 0.005}  # of the norm of a map, for a network of some 50 layers


def _awake(module):
    """Give every BatchNorm statistics and weights of its own: fresh ones would hide a fold that is left out."""
    noise = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1, generator=noise)
            norm.running_var.uniform_(0.5, 1.5, generator=noise)
            norm.weight.data.uniform_(0.5, 1.5, generator=noise)
            norm.bias.data.normal_(0, 0.1, generator=noise)
    return module.eval()


@pytest.mark.parametrize(
    ("name", "chips"), [("xception", inference.X86), ("resnet50", inference.X86), ("xception", {})]
)
def test_fast_model_gives_the_same_logits(monkeypatch, name, chips):
    """Fails when a norm is dropped, folded twice or into the wrong convolution, or the network itself is changed."""
    monkeypatch.setattr(inference, "X86", chips)
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")
    model = _awake(create_model(name, 5))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.rand(2, 3, 72, 72)
    with torch.inference_mode():
        fast = fast_model(model)
        torch.testing.assert_close(fast(x), model(x), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(fast.forward_head(fast.forward_features(x), pre_logits=True),
                                   model.forward_head(model.forward_features(x), pre_logits=True),
                                   rtol=1e-3, atol=1e-4)  # fmt: skip
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(p.requires_grad for p in fast.parameters()) and all(p.requires_grad for p in model.parameters())


def test_portions_of_a_batch_are_put_together_in_order(monkeypatch):
    """Fails when an image is lost or moved where a batch is worked on in portions, or the portions change a value."""
    model = _awake(create_model("resnet50", 3))
    x = torch.rand(5, 3, 64, 64)
    with torch.inference_mode():
        whole = fast_model(model)(x)
        monkeypatch.setattr(inference, "CACHE", 2 * 64**2)
        torch.testing.assert_close(fast_model(model)(x), whole)
        monkeypatch.setattr(inference, "CACHE", 1)
        torch.testing.assert_close(fast_model(model)(x), whole)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("form", ["float", "int8"])
def test_what_is_made_fast_works_with_and_without_autocast(precision, form, mixed):
    """Fails when maps of the frozen stages reach weights of another dtype, or features leave in half precision."""
    if form == "int8" and not int8.has_int8(CPU):
        pytest.skip("the chip has no products of bytes")
    model = _awake(create_model("resnet50", 5, freeze="layer2"))
    x = torch.rand(4, 3, 64, 64)
    expected = model.forward_features(x)
    images, ranges = (x, prefix_ranges(model, "layer2", x)) if form == "int8" else (None, None)
    with autocast(CPU) if mixed else torch.no_grad():
        fast, learner = fast_model(model, images), fast_prefix(model, "layer2", ranges).eval()
        features, logits = fast.forward_features(x), fast(x)
        learnt, maps = learner(x), learner.prefix.forward_features(x)
    limit = 0.15 if form == "int8" else NEAR[precision]
    assert features.dtype == maps.dtype == torch.float32
    assert (features - expected).norm() < limit * expected.norm()
    assert (maps - inference._stages(model.backbone, "layer2")[0](x)).norm() < limit * maps.norm()
    answers = model(x)
    for found in (logits, learnt):
        assert (found - answers).abs().max() < 10 * limit * answers.std()


def test_a_step_of_learning_works_without_autocast(precision):
    """Fails when the stages behind a fast prefix get numbers of the chip's dtype where nothing mixes precisions."""
    model = _awake(create_model("resnet50", 5, freeze="layer2"))
    learner, x = fast_prefix(model, "layer2").train(), torch.rand(4, 3, 64, 64)
    learner(x).square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert gradients and all(g is not None and g.dtype == torch.float32 and g.isfinite().all() for g in gradients)


OLDER_CHIP = """
import os, sys, torch
from landmark import create_model, int8, runtime
from landmark.inference import fast_model, fast_prefix, prefix_ranges
where = torch.device("cpu")
assert runtime.fast_dtype(where) == torch.float32 and "float32" in runtime.describe()
model, x = create_model("xception", 3, freeze="block2").eval(), torch.rand(2, 3, 64, 64)
with torch.no_grad():
    print((fast_model(model)(x) - model(x)).abs().max().item())
    if int8.has_int8(where):
        assert int8.sums_in_16_bits()
        fast_model(model, x)(x), fast_prefix(model, "block2", prefix_ranges(model, "block2", x))(x)
    os.environ["LANDMARK_PRECISION"] = "bfloat16"
    print((fast_model(model)(x) - model(x)).abs().max().item())
"""


def test_limits_of_onednn_are_limits_of_ours():
    """Fails when the chip is asked what it can and oneDNN, which is told to do less, is not."""
    limits = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "LANDMARK_PRECISION": ""}
    done = subprocess.run([sys.executable, "-c", OLDER_CHIP], env=os.environ | limits, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    exact, rounded = map(float, done.stdout.split())
    assert exact < 1e-4 and 1e-6 < rounded < 0.1


def test_fast_model_of_a_network_with_a_frozen_stage(monkeypatch):
    """Fails when a stage whose statistics are frozen cannot be copied, or the copy is in training mode."""
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")
    model = _awake(create_model("resnet50", 3))
    freeze_stage(model.backbone, "layer1")
    model.train()
    fast, x = fast_model(model), torch.rand(1, 3, 64, 64)
    assert model.training and not any(module.training for module in fast.modules())
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), model.eval()(x), rtol=1e-3, atol=1e-4)


def test_a_convolution_with_two_readers_keeps_its_norm():
    """Fails when a fold changes what another layer reads."""

    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            x = self.conv(x)
            return x + self.norm(x)

    model, x = _awake(Forked()), torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(fold_batch_norms(model)(x), model(x))


@pytest.mark.parametrize(("name", "stage"), [("xception", "block11"), ("xception", "conv2"), ("resnet50", "layer3")])
def test_with_a_fast_prefix_a_network_learns_the_same(monkeypatch, name, stage):
    """Fails when a stage is skipped, repeated or frozen by mistake, or what learns is a copy."""
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")
    model = _awake(create_model(name, 5, freeze=stage))
    model.train()
    x, fast, gradients = torch.rand(4, 3, 80, 80), fast_prefix(model, stage).train(), []
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for network in (model, fast):
        model.load_state_dict(before)
        model.zero_grad()
        torch.manual_seed(0)  # dropout
        logits = network(x)
        logits.square().sum().backward()
        learns = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        moved = {key: v.clone() for key, v in model.state_dict().items() if not torch.equal(v, before[key])}
        gradients.append({"logits": logits} | learns | moved)
    expected, found = gradients
    assert found.keys() == expected.keys() and any("running_var" in key for key in moved)
    own, shared = ({id(p) for p in network.parameters() if p.requires_grad} for network in (model, fast))
    assert own == shared
    for key, value in expected.items():  # a ReLU that flips on the last bit moves a gradient by some percent
        assert (found[key] - value).float().norm() <= (1e-3 if key == "logits" else 0.3) * value.float().norm(), key


@pytest.mark.skipif(not inference.has_int8(torch.device("cpu")), reason="the chip has no products of bytes")
def test_a_prefix_in_integers_stays_close_and_wakes_no_statistics(precision):
    """Fails when the ranges are those of other stages, or a frozen BatchNorm moves."""
    model = _awake(create_model("xception", 5, freeze="block7"))
    x = torch.rand(4, 3, 72, 72)
    fast = fast_prefix(model, "block7", prefix_ranges(model, "block7", x))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.inference_mode():
        found = fast.prefix.forward_features(x)
        expected = inference._stages(model.backbone, "block7")[0](x)
        assert (found - expected).norm() < 0.1 * expected.norm()
    fast.train()(x).sum().backward()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert "backbone.block8.rep.2.running_mean" in moved
    assert not any(
        key.startswith(("backbone.bn1", "backbone.bn2", "backbone.block1.", "backbone.block7")) for key in moved
    )
