"""Oracle: the network itself, in float32."""

import os
import subprocess
import sys

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from landmark.models import folding, int8
from landmark.models.backbones import freeze_stage
from landmark.models.folding import fast_model, fold_batch_norms
from landmark.models.net import create_model
from landmark.utils.errors import InputError
from tests.helpers import _awake

pytestmark = pytest.mark.arithmetic


@pytest.mark.parametrize(
    ("name", "chips"),
    [
        ("xception", folding.X86),
        ("resnet50", folding.X86),
        ("xception", {}),
        ("efficientnet_lite0", folding.X86),
        ("vgg16_cbp_spatial_map", folding.X86),
    ],
)
def test_fast_model_gives_the_same_logits(monkeypatch, name, chips):
    """Fails when a norm is dropped, folded twice or into the wrong convolution, or the network itself is changed."""
    monkeypatch.setattr(folding, "X86", chips)
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


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_lite0"])  # in oneDNN's layout, and in channels last
def test_portions_of_a_batch_are_put_together_in_order(monkeypatch, name):
    """Fails when an image is lost or moved where a batch is worked on in portions, or the portions change a value."""
    model = _awake(create_model(name, 3))
    x = torch.rand(5, 3, 64, 64)
    with torch.inference_mode():
        whole = fast_model(model)(x)
        monkeypatch.setattr(folding, "CACHE", 2 * 64**2)
        torch.testing.assert_close(fast_model(model)(x), whole)
        monkeypatch.setattr(folding, "CACHE", 1)
        torch.testing.assert_close(fast_model(model)(x), whole)


OLDER_CHIP = """
import os, sys, torch
from landmark.models.net import create_model; from landmark.models import int8; from landmark.utils import device
from landmark.models.folding import fast_model; from landmark.models.frozen import fast_prefix; from landmark.models.frozen import prefix_ranges
where = torch.device("cpu")
assert device.fast_dtype(where) == torch.float32 and "float32" in device.describe()
model, x = create_model("xception", 3, freeze="block2").eval(), torch.rand(2, 3, 64, 64)
with torch.no_grad():
    print((fast_model(model)(x) - model(x)).abs().max().item())
    if int8.has_int8(where):
        fast_model(model, x)(x), fast_prefix(model, "block2", prefix_ranges(model, "block2", x))(x)
    os.environ["LANDMARK_PRECISION"] = "bfloat16"
    print((fast_model(model)(x) - model(x)).abs().max().item())
"""


def test_limits_of_onednn_are_limits_of_ours():
    """Fails when the chip is asked what it can and oneDNN, which is told to do less, is not."""
    limits = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "LANDMARK_PRECISION": "",
              "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2"}  # fmt: skip
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


@pytest.mark.skipif(not int8.has_int8(torch.device("cpu")), reason="the chip has no products of bytes")
@pytest.mark.parametrize("layers", [
    [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6()],
    [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)],
    [nn.Conv2d(3, 4, 3), BatchNormAct2d(4, act_layer="hard_swish")],
], ids=["ReLU6", "BatchNorm2d", "Hardswish"])  # fmt: skip
def test_what_has_no_form_in_integers_is_named(request, layers):
    """Fails when a network with an operation that integers lack ends in an AttributeError while it is measured."""
    name = request.node.callspec.id
    with pytest.raises(InputError, match=rf"no 8-bit integers for this network: .*\b{name}\b.* do without them$"):
        int8.measure(fold_batch_norms(nn.Sequential(*layers).eval()), torch.rand(2, 3, 8, 8))
