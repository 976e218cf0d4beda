"""Weights in 8-bit integers, against the rounding worked out element by element, and the files in the package."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from landmark.models.backbones import create_backbone
from landmark.models.recipes import BACKBONES
from landmark.models.stand_in.packed import pack, stand_in_path, unpack
from landmark.models.weights import load_weights, read_tensors
from landmark.utils.files import sha256


def test_each_output_channel_has_its_scale():
    """Fails when one scale serves the whole tensor, an input channel, or the largest weight is cut off."""
    weight = (
        torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1, 1e-3, 50])[:, None, None, None]
    )
    weight[1, 0] = 0
    packed = pack({"w": weight})
    assert packed["w"].dtype == torch.int8 and packed["w.scale"].shape == (3,)
    back = unpack(packed)["w"]
    for o in range(3):
        step = weight[o].abs().max().item() / 127
        for value, stored, found in zip(weight[o].flatten(), packed["w"][o].flatten(), back[o].flatten(), strict=True):
            assert stored.item() == round(value.item() / step) and found.item() == pytest.approx(stored.item() * step)
            assert abs(value.item() - found.item()) <= step / 2 * 1.001


def test_vectors_and_counters_stay(tmp_path):
    """Fails when BatchNorm is rounded, a channel of zeros becomes NaN, or a scale is taken for a tensor."""
    tensors = {"norm.weight": torch.rand(4), "norm.steps": torch.tensor(7), "fc.weight": torch.zeros(2, 3),
               "gain.scale": torch.rand(5), "codes": torch.ones(2, 2, dtype=torch.int64)}  # fmt: skip
    save_file(pack(tensors), tmp_path / "a.safetensors")
    back = read_tensors(tmp_path / "a.safetensors")
    assert back.keys() == tensors.keys() and all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert all(back[name].dtype == tensors[name].dtype for name in tensors)


@pytest.mark.parametrize("backbone", ["resnet50", "xception"])
def test_a_whole_network_fits(tmp_path, backbone):
    """Fails when a backbone cannot be filled from its packed file, or both together take more than 50 MB."""
    network, path = create_backbone(backbone), tmp_path / "b.safetensors"
    save_file(pack(network.state_dict()), path)
    assert path.stat().st_size < 25e6
    empty = create_backbone(backbone)
    load_weights(empty, backbone, path)
    for name, tensor in network.state_dict().items():
        largest = tensor.float().abs().max()
        assert (tensor - empty.state_dict()[name]).abs().max() <= largest / 127, name


@pytest.mark.parametrize("path", [p for p in map(stand_in_path, BACKBONES) if p.exists()], ids=lambda p: p.stem)
def test_the_files_of_the_package_are_those_of_their_cards(path):
    """Fails when a file is exchanged without its card, damaged in git, or not in 8-bit integers."""
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["sha256"] == sha256(path) and card["bytes"] == path.stat().st_size < 25e6
    assert (
        card["backbone"] == path.stem
        and card["world"]["pretraining"]
        and f"landmark pretrain {path.stem}" in card["command"]
    )
    assert abs(card["dev_top1"] - card["dev_top1_stored"]) < 0.02
    wide = [name for name, tensor in load_file(path).items() if tensor.dim() > 1 and tensor.dtype != torch.int8]
    assert not wide
