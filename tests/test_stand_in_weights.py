"""The weights that are published with the package, and their cards."""

import json

import pytest
import torch

from landmark.course.runs import FULL_WORLD, QUICK_WORLD
from landmark.models.backbones import create_backbone
from landmark.models.stand_in.packed import stand_in_path
from landmark.models.weights import load_weights, read_tensors
from landmark.utils.errors import CheckpointError, InputError
from landmark.utils.files import sha256
from landmark.world.config import WorldConfig
from landmark.world.plan import plan

BACKBONES = ("resnet50", "xception")
PUBLISHED = {
    "resnet50": "83c30252644314ad726062ea5af8e63a04e84a33f9b7f0f543f9b915afa1c3fb",
    "xception": "ac9312cd5e10a1354334a83e239047d0f4263f6eb5475aae8f23e07124ab7766",
}  # what git holds for good: new ones are no small change


def card(backbone):
    """Read the card beside the weights."""
    return json.loads(stand_in_path(backbone).with_suffix(".json").read_text())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_weights_are_those_of_their_card(backbone):
    """Fails when a file was exchanged without its card, or either differs from what was published."""
    path = stand_in_path(backbone)
    assert sha256(path) == card(backbone)["sha256"] == PUBLISHED[backbone]
    assert card(backbone)["bytes"] == path.stat().st_size and card(backbone)["command"].startswith(
        f"landmark pretrain {backbone} --"
    )
    network = create_backbone(backbone)
    load_weights(network, backbone, "miniature")
    tensors = read_tensors(path)
    assert all(torch.equal(value, tensors[key]) for key, value in network.state_dict().items())


def test_they_are_small():
    """Fails when a clone grows by more than 50 MB for weights."""
    assert sum(stand_in_path(backbone).stat().st_size for backbone in BACKBONES) < 50_000_000


@pytest.mark.parametrize("backbone", BACKBONES)
def test_storing_costs_little(backbone):
    """Fails when eight bits lose what was learnt, by the card's own numbers."""
    assert card(backbone)["dev_top1_stored"] > card(backbone)["dev_top1"] - 0.01


@pytest.mark.parametrize("world", [FULL_WORLD, QUICK_WORLD], ids=["miniature", "quick"])
def test_nothing_of_the_course_was_seen(world):
    """Fails when the weights have learnt a landmark, a family or a name that the course asks for."""
    settings = card("xception")["world"]
    assert settings == card("resnet50")["world"] and settings["pretraining"]
    learnt = plan(WorldConfig(**{key: value for key, value in settings.items() if key != "version"}))
    course = plan(world)
    for column in ("name", "family"):
        assert not set(learnt[1][column]) & set(course[1][column])
    subjects = [{shot.subject for shot in shots if not isinstance(shot.subject, str)} for shots, _ in (learnt, course)]
    assert not subjects[0] & subjects[1]
    assert not {shot.image_id for shot in learnt[0]} & {shot.image_id for shot in course[0]}


def test_other_backbones_have_none():
    """Fails when a backbone without stand-in weights begins at random without a word."""
    with pytest.raises(InputError, match="no stand-in weights of efficientnet_lite0, only of resnet50, xception"):
        load_weights(create_backbone("efficientnet_lite0"), "efficientnet_lite0", "miniature")


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    """Fails when a byte that changed on the way is learnt from."""
    path = tmp_path / "xception.safetensors"
    content = bytearray(stand_in_path("xception").read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(card("xception")))
    monkeypatch.setattr("landmark.models.weights.stand_in_path", lambda name: tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match="install landmark again"):
        load_weights(create_backbone("xception"), "xception", "miniature")
