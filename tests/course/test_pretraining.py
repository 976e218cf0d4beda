"""Pretraining end to end on the smallest world, and what it refuses."""

import json
import math
import os
import signal
from dataclasses import replace

import pytest
import torch

from landmark.cli import command
from landmark.cli.command import main
from landmark.course import pretraining
from landmark.utils.errors import InputError
from landmark.utils.files import sha256
from landmark.world.config import WorldConfig


def test_a_backbone_is_trained_and_stored(tmp_path, monkeypatch, capsys):
    """Fails when what is stored is not what was learnt, or the card is of another file."""
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
    again = sha256(out)
    monkeypatch.setattr(torch.optim, "Adam", None)
    assert main(words) == 0 and sha256(out) == again, "what is made is loaded"


def test_a_stopped_pretraining_goes_on(tmp_path, monkeypatch):
    """Fails when a pretraining that was stopped makes steps twice, leaves some out, or begins again."""
    for name in ("DATA", "RUNS"):
        monkeypatch.setenv(f"LANDMARK_{name}", str(tmp_path / name))
    world = WorldConfig(landmarks=2, images=5, test=0, size=64, pretraining=True)
    whole = pretraining.pretrain("resnet50", tmp_path / "whole.safetensors", world, epochs=2, last_epochs=1)
    made, train_step = [], pretraining.train_step

    def kill_at_the_second(learning, batch, number, rate):
        made.append(number)
        if number == 1 and made == [0, 1]:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(learning, batch, number, rate)

    monkeypatch.setattr(pretraining, "train_step", kill_at_the_second)
    arguments = ("resnet50", tmp_path / "parts.safetensors", world)
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain(*arguments, epochs=2, last_epochs=1)
    parts = pretraining.pretrain(*arguments, epochs=2, last_epochs=1)
    assert made == [0, 1, 2] and sha256(parts) == sha256(whole)


def test_the_loss_of_a_student_by_hand():
    """Fails when a row gets another row's class or teacher, the likeness counts the wrong way, or its weight is lost."""
    classes, teacher = torch.tensor([1, 0, 1]), torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    logits, features = torch.tensor([[0.2, -0.4], [1.5, 0.5]]), torch.tensor([[1.0, 1.0], [0.0, -1.0]])
    expected = 0.0
    for row, (logit, feature) in zip((2, 1), zip(logits.tolist(), features.tolist(), strict=True), strict=True):
        wanted = teacher[row].tolist()
        cosine = sum(a * b for a, b in zip(feature, wanted, strict=True)) / math.hypot(*feature) / math.hypot(*wanted)
        named = math.log(sum(math.exp(x) for x in logit)) - logit[classes[row]]
        expected += named + 3.0 * (1 - cosine)
    loss = pretraining.Distillation(classes, teacher, weight=3.0)
    assert loss((logits, features), torch.tensor([2, 1])).item() == pytest.approx(expected)


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
