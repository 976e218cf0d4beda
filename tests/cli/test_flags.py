"""Flags made of settings: every setting has one, and what was not given can be told from what was."""

import argparse
from dataclasses import fields

import pytest

from landmark.cli.flags import add_settings, given
from landmark.training.config import TrainConfig


def parser(**options):
    made = argparse.ArgumentParser()
    add_settings(made, TrainConfig(), **options)
    return made


def test_every_setting_has_a_flag_of_its_kind():
    """Fails when a new setting cannot be given, or a number arrives as a text."""
    args = vars(parser().parse_args([]))
    assert args == {field.name: getattr(TrainConfig(), field.name) for field in fields(TrainConfig)}
    words = "--lr 1e-3 --freeze 7 --int8 --bad-limit 3 --model resnet50 --dev-fraction 0.2".split()
    args = vars(parser(silent=True).parse_args(words))
    assert args == {"lr": 1e-3, "freeze": 7, "int8": True, "bad_limit": 3, "model": "resnet50", "dev_fraction": 0.2}
    assert vars(parser(silent=True).parse_args(["--freeze", "block7"])) == {"freeze": "block7"}
    assert vars(parser(silent=True).parse_args(["--no-root", "--l2"])) == {"root": False, "l2": True}


def test_of_some_settings_only_one(capsys):
    """Fails when epochs and steps may both be given, or a needed setting shows a default that is not taken."""
    made = parser(silent=True, one_of=("epochs", "steps"), needed=("model",))
    with pytest.raises(SystemExit):
        made.parse_args(["--epochs", "1", "--steps", "2"])
    text = " ".join(made.format_help().split())
    assert "default: xception" not in text and "(default: 64)" in text and "or 1 %, whichever" in text


def test_only_what_is_given():
    """Fails when a number of 0, or a flag that was switched off, counts as left out."""
    args = argparse.Namespace(size=0, int8=False, repeats=None)
    assert given(args, "size", "int8", "repeats") == {"size": 0, "int8": False}
