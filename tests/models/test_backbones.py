"""Oracles: pretrainedmodels' Xception, statistics that must not move."""

import copy
import pickle

import pretrainedmodels
import pytest
import timm
import torch
from torch import nn

from landmark.models.backbones import (
    create_backbone,
    freeze_prefix,
    freeze_stage,
    middle_stage,
    split_stages,
    stage_names,
)
from landmark.models.recipes import BACKBONES
from landmark.utils import distributed
from landmark.utils.errors import InputError


@pytest.fixture(scope="module")
def xception():
    torch.manual_seed(0)
    return create_backbone("xception").eval()


def test_xception_has_the_tensors_relus_and_features_of_pretrainedmodels(xception):
    """Fails when the wrapper loses a ReLU (as the 2019 code did) or another Xception is built."""
    other = pretrainedmodels.xception(num_classes=1000, pretrained=None).eval()
    own = xception.state_dict()
    theirs = {k: v for k, v in other.state_dict().items() if not k.startswith("last_linear")}
    assert len(other.state_dict()) == 276 and own.keys() == theirs.keys()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in theirs.items()}
    other.load_state_dict(own, strict=False)
    x = torch.randn(1, 3, 71, 71)
    with torch.no_grad():
        torch.testing.assert_close(xception.forward_features(x), other.features(x).relu(), rtol=0, atol=0)
    assert sum(p.numel() for p in xception.parameters()) == 20_806_952


def test_frozen_prefix_cuts_inside_block_7_and_statistics_move():
    """Fails when layers are counted instead of parameter tensors."""
    net = create_backbone("xception")
    assert freeze_prefix(net, 85) == sum(p.numel() for p in list(net.parameters())[:85])
    assert [n for n, p in net.named_parameters() if p.requires_grad][0].startswith("block7")


def _moved(net):
    """Children of a network whose BatchNorm statistics move in a step of training."""
    net.train()
    before = {key: value.clone() for key, value in net.state_dict().items() if "running" in key}
    net.forward_features(torch.randn(2, 3, 64, 64))
    after = net.state_dict()
    return {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}


def _unfrozen_state(net):
    """The network with a state as of an older version: that of one whose stages all learn, counters and all."""
    net.load_state_dict(create_backbone("resnet50").state_dict())
    return net


def test_frozen_stage_keeps_its_statistics_in_training():
    """Fails when BatchNorm statistics of the frozen part still move, or the rest is frozen too."""
    net = create_backbone("xception")
    freeze_stage(net, "block7")
    assert _moved(net) == {"block8", "block9", "block10", "block11", "block12", "bn3", "bn4"}
    with pytest.raises(InputError, match="block99.*block7"):
        freeze_stage(net, "block99")


@pytest.mark.parametrize("name", BACKBONES)
def test_stages_one_after_the_other_are_the_backbone(name):
    """Fails when a stage is left out, counted twice or out of order, so that a cut between two would change the map."""
    net, x = create_backbone(name).eval(), torch.rand(1, 3, 65, 65)
    stages = nn.Sequential(*map(net.get_submodule, stage_names(net)))
    with torch.no_grad():
        torch.testing.assert_close(stages(x), net.forward_features(x), rtol=0, atol=0)
    assert split_stages(net, "all") == split_stages(net, stage_names(net)[-1]) == (stage_names(net), [])


def test_blocks_freeze_one_by_one_and_all_together():
    """Fails when a block cannot be named, the ones behind it rest as well, or a wholly frozen backbone still moves."""
    net = create_backbone("efficientnet_lite0")
    freeze_stage(net, "blocks.4")
    learns = {name for name, p in net.named_parameters() if p.requires_grad}
    assert {name[: len("blocks.n")] for name in learns} == {"blocks.5", "blocks.6", "conv_hea", "bn2.weig", "bn2.bias"}
    net.train()
    awake = {name for name, module in net.named_modules() if module.training and isinstance(module, nn.BatchNorm2d)}
    assert {name[: len("blocks.n")] for name in awake} == {"blocks.5", "blocks.6", "bn2"}
    assert freeze_stage(net, "all") == sum(p.numel() for p in net.parameters())
    assert _moved(net) == set() and not any(p.requires_grad for p in net.parameters())


COPIES = {
    "deep copy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),  # noqa: S301  (our own bytes)
    "state": _unfrozen_state,
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_frozen_network_is_frozen_and_its_own(how):
    """Fails when a frozen network cannot be pickled, a copy's stage is the original's, or statistics wake in a copy."""
    net = create_backbone("resnet50")
    freeze_stage(net, "layer2")
    keys, frozen = list(net.state_dict()), [n for n, p in net.named_parameters() if not p.requires_grad]
    twin = COPIES[how](net)
    assert list(twin.state_dict()) == keys
    assert [n for n, p in twin.named_parameters() if not p.requires_grad] == frozen
    assert _moved(twin) == {"layer3", "layer4"}
    for stage in ("conv1", "bn1", "layer1", "layer2"):
        child = twin.get_submodule(stage)
        assert child.train() is child and not any(module.training for module in child.modules())
    assert all(module.training for stage in (twin.layer3, twin.layer4) for module in stage.modules())


@pytest.mark.parametrize(("name", "stage"), [("legacy_xception", "block7"), ("efficientnet_lite0", "bn1")])
def test_frozen_stages_rest_when_norms_are_synchronised(monkeypatch, name, stage):
    """Fails when exchanged BatchNorms wake up, freezing twice wakes them, or a norm loses the activation inside it."""
    net, x = timm.create_model(name, num_classes=0), torch.rand(2, 3, 64, 64)
    freeze_stage(net, stage)
    expected = net.eval().forward_features(x)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "device", lambda: torch.device("cuda"))
    net = distributed.synchronised(net)
    freeze_stage(net, stage)
    assert not any(type(module) is nn.BatchNorm2d for module in net.modules())
    torch.testing.assert_close(net.eval().forward_features(x), expected, rtol=0, atol=0)
    net.train()
    children = [child for _, child in net.named_children()]
    rest = children.index(net.get_submodule(stage)) + 1
    assert not any(module.training for child in children[:rest] for module in child.modules())
    assert any(isinstance(m, nn.SyncBatchNorm) and m.training for child in children[rest:] for m in child.modules())


@pytest.mark.parametrize(("name", "stage"), [("resnet50", "layer3"), ("xception", "block11"), ("vgg16", "features.42"),
                                             ("efficientnet_lite0", "blocks.4")])  # fmt: skip
def test_the_middle_has_a_sixteenth_of_the_sides(name, stage):
    """Fails when a stage before the last of that size is taken, or looking moves statistics of the norms."""
    net = create_backbone(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert middle_stage(net) == stage and net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    with pytest.raises(InputError, match="a sixteenth of the image"):
        middle_stage(nn.Sequential(nn.Conv2d(3, 4, 3)))
