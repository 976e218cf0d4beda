"""Oracles: pretrainedmodels' Xception, hashes by hashlib, hand-made broken files."""

import copy
import hashlib
import io
import os
import pickle

import pretrainedmodels
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from landmark import distributed, recipes
from landmark.backbones import CheckpointError, create_backbone, freeze_prefix, freeze_stage, load_weights
from landmark.runtime import InputError


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


class _Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb-went-off",)


@pytest.mark.parametrize("kind", ["empty", "html", "truncated", "pickle", "object", "giant header"])
def test_damaged_files_are_one_clear_error_and_run_nothing(kind, tmp_path, monkeypatch):
    """Fails when a bad file raises another type, or a pickle inside it is executed (also by the environment)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / ("w.safetensors" if kind in {"truncated", "giant header"} else "w.pth")
    save_file({"a": torch.ones(100)}, tmp_path / "good.safetensors")
    buffer = io.BytesIO()
    torch.save({"a": _Bomb()}, buffer)
    path.write_bytes(
        {
            "empty": b"",
            "html": b"<!DOCTYPE html>",
            "truncated": (tmp_path / "good.safetensors").read_bytes()[:-40],
            "pickle": pickle.dumps(_Bomb()),
            "object": buffer.getvalue(),
            "giant header": b"\xff" * 7 + b"\x7f" + b"{}",
        }[kind]
    )
    with pytest.raises(CheckpointError, match=rf"damaged checkpoint .*{path.name} \({path.stat().st_size} bytes\)"):
        load_weights(nn.Linear(1, 1), "xception", path)
    assert not (tmp_path / "bomb-went-off").exists()


def test_cached_weights_are_hashed_before_every_load(tmp_path, monkeypatch):
    """Fails when a poisoned file in the cache is loaded because an earlier load was right."""
    monkeypatch.setenv("LANDMARK_DATA", str(tmp_path))
    net = nn.Linear(2, 2)
    path = tmp_path / "weights" / "tiny.pth"
    path.parent.mkdir()
    torch.save(net.state_dict(), path)
    facts = {"url": "https://localhost/tiny.pth", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:8]}
    monkeypatch.setitem(recipes.BACKBONES, "xception", facts)
    load_weights(net, "xception", "imagenet")
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(CheckpointError, match=f"expected {facts['sha256']}"):
        load_weights(net, "xception", "imagenet")


def test_without_a_network_the_error_says_what_to_do(tmp_path, monkeypatch):
    """Fails when an unreachable host is a traceback, or leaves a part of a file behind."""
    monkeypatch.setenv("LANDMARK_DATA", str(tmp_path))
    facts = {"url": "https://127.0.0.1:9/tiny.pth", "sha256": "00"}
    monkeypatch.setitem(recipes.BACKBONES, "xception", facts)
    with pytest.raises(InputError, match='weights="miniature" or "none"'):
        load_weights(nn.Linear(1, 1), "xception", "imagenet")
    assert not list((tmp_path / "weights").iterdir())


def test_weights_of_another_network_are_named_and_nothing_is_copied(tmp_path):
    """Fails when loading is half done, or the message hides which tensors differ."""
    save_file({"weight": torch.ones(3, 3), "extra": torch.ones(1)}, tmp_path / "w.safetensors")
    net = nn.Linear(2, 2)
    before = net.weight.clone()
    with pytest.raises(CheckpointError, match=r"1 missing \(bias\).*extra.*\(3, 3\) for \(2, 2\)"):
        load_weights(net, "xception", tmp_path / "w.safetensors")
    assert torch.equal(net.weight, before)


def test_a_whole_run_checkpoint_serves_as_a_backbone(tmp_path):
    """Fails when the `backbone.` prefix or the classifier of a checkpoint is not dropped."""
    net = nn.Linear(2, 2)
    tensors = {"backbone.weight": torch.ones(2, 2), "backbone.bias": torch.zeros(2), "head.weight": torch.ones(1)}
    save_file(tensors, tmp_path / "best.safetensors")
    load_weights(net, "xception", tmp_path / "best.safetensors")
    assert net.weight.sum() == 4
