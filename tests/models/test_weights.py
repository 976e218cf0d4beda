"""Weights: hashes by hashlib, hand-made broken files, other networks' checkpoints."""

import hashlib
import io
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landmark.models import recipes
from landmark.models.weights import load_weights
from landmark.utils import web
from landmark.utils.errors import CheckpointError, InputError


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
    monkeypatch.setattr(web, "WAIT", 0.0)  # attempts follow each other at once
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
