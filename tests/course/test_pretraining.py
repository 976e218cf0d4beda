"""Pretraining end to end on the smallest world, and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from landmark.cli import command
from landmark.cli.command import main
from landmark.course import pretraining
from landmark.models.backbones import create_backbone
from landmark.models.weights import load_weights
from landmark.training.run import open_run
from landmark.utils.errors import InputError
from landmark.utils.files import sha256
from landmark.world.config import WorldConfig


def test_a_backbone_is_trained_and_stored(tmp_path, monkeypatch, capsys):
    """Fails when the second stage forgets the first, what is stored is not the run's, or the card is of another file."""
    for name in ("DATA", "RUNS"):
        monkeypatch.setenv(f"LANDMARK_{name}", str(tmp_path / name))
    out = tmp_path / "w.safetensors"
    words = ["pretrain", "resnet50", "--out", str(out), "--landmarks", "2", "--images", "5", "--size", "64",
               "--epochs", "2", "--last-epochs", "1", "--seed", "3"]  # fmt: skip
    assert main(words) == 0
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["sha256"] == sha256(out) and card["bytes"] == out.stat().st_size
    assert f"dev GAP {card['dev_gap']}" in capsys.readouterr().out
    assert card["world"]["pretraining"] and card["world"]["seed"] == 3 and card["world"]["landmarks"] == 2
    assert (
        "--out" not in card["command"]
        and command.build_parser().parse_args(card["command"].split()[1:]).last_epochs == 1
    )
    first, last = sorted((tmp_path / "RUNS").iterdir(), key=lambda path: open_run(path).config.size)
    assert open_run(last).config.weights == str(first / "last.safetensors") and open_run(first).config.epochs == 2
    backbone = create_backbone("resnet50")
    load_weights(backbone, "resnet50", out)
    state, trained = backbone.state_dict(), load_file(last / "last.safetensors")
    for name, tensor in state.items():
        reached = trained[f"backbone.{name}"]
        step = reached.flatten(1).abs().amax(1).max() / 127 if reached.dim() > 1 else 0
        assert (tensor - reached).abs().max() <= step, name
    again = sha256(out)
    monkeypatch.setattr(torch.optim, "Adam", None)
    assert main(words) == 0 and sha256(out) == again, "finished runs are loaded"


def test_what_cannot_be_meant(tmp_path):
    """Fails when a network is pretrained on what the course shows, or an hour goes by before a name is refused."""
    world = WorldConfig(landmarks=2, images=5, test=0, size=64, pretraining=True)
    for backbone, some, out, why in (
        ("resnet5", world, "w.safetensors", "no backbone"),
        ("resnet50", replace(world, pretraining=False), "w.safetensors", "pretraining=True"),
        ("resnet50", world, "w.pth", "ends in .safetensors"),
    ):
        with pytest.raises(InputError, match=why):
            pretraining.pretrain(backbone, tmp_path / out, some, epochs=1, last_epochs=1)
