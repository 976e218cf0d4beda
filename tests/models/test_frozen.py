"""Frozen stages computed fast, against the network itself, in float32."""

import pytest
import torch

from landmark.models import int8
from landmark.models.folding import fast_model
from landmark.models.frozen import Prefix, fast_halves, fast_prefix, fast_rest, prefix_ranges, stages_of
from landmark.models.net import create_model
from landmark.utils.device import autocast
from tests.helpers import _awake

pytestmark = pytest.mark.arithmetic
CPU = torch.device("cpu")
NEAR = {"float32": 1e-5, "bfloat16": 0.03, "float16": 0.005}  # of the norm of a map, for a network of some 50 layers


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
    assert (maps - stages_of(model.backbone, "layer2")[0](x)).norm() < limit * maps.norm()
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


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("xception", "block11"),
        ("xception", "conv2"),
        ("resnet50", "layer3"),
        ("efficientnet_lite0", "blocks.2"),
        ("xception", "all"),
        ("resnet50_cbp_spatial_map", "layer3"),
    ],
)
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
    assert found.keys() == expected.keys() and any("running_var" in key for key in moved) == (stage != "all")
    own, shared = ({id(p) for p in network.parameters() if p.requires_grad} for network in (model, fast))
    assert own == shared
    for key, value in expected.items():  # a ReLU that flips on the last bit moves a gradient by some percent
        limit = (1e-3 if key == "logits" else 0.3) * value.float().norm() + 1e-5  # a bias before a norm has none
        assert (found[key] - value).float().norm() <= limit, key


@pytest.mark.parametrize(("name", "stage"), [("xception", "block7"), ("resnet50_gem", "layer3"), ("resnet50", "all"),
                                             ("efficientnet_lite0", "blocks.3"),
                                             ("resnet50_cbp_spatial_map", "layer3")])  # fmt: skip
def test_in_two_halves_it_answers_the_same(precision, name, stage):
    """Fails when a map depends on the images beside it, or what comes behind it is skipped, repeated or awake."""
    model = _awake(create_model(name, 5))
    prefix, x = Prefix(model, stage), torch.rand(37, 3, 48, 48)
    whole, rest = fast_halves(model, stage, prefix), fast_rest(model, stage, prefix)
    with torch.inference_mode(), autocast(CPU):
        maps = prefix.maps(x)
        assert torch.equal(maps, torch.cat([prefix.maps(part) for part in x.split(5)]))
        assert torch.equal(maps, prefix.maps(x.flip(0)).flip(0)) and len(prefix.maps(x[:0])) == 0
        logits, expected = rest(maps), model(x).float()
        assert torch.equal(logits, whole(x)) and fast_model(whole) is whole and fast_model(rest) is rest
    assert (logits.float() - expected).norm() < 10 * NEAR[precision] * expected.norm()
    assert not any(p.requires_grad for p in rest.parameters()) and any(p.requires_grad for p in model.parameters())


@pytest.mark.skipif(not int8.has_int8(torch.device("cpu")), reason="the chip has no products of bytes")
def test_a_prefix_in_integers_stays_close_and_wakes_no_statistics(precision):
    """Fails when the ranges are those of other stages, or a frozen BatchNorm moves."""
    model = _awake(create_model("xception", 5, freeze="block7"))
    x = torch.rand(4, 3, 72, 72)
    fast = fast_prefix(model, "block7", prefix_ranges(model, "block7", x))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.inference_mode():
        found = fast.prefix.forward_features(x)
        expected = stages_of(model.backbone, "block7")[0](x)
        assert (found - expected).norm() < 0.1 * expected.norm()
    fast.train()(x).sum().backward()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert "backbone.block8.rep.2.running_mean" in moved
    assert not any(
        key.startswith(("backbone.bn1", "backbone.bn2", "backbone.block1.", "backbone.block7")) for key in moved
    )
