"""Several processes that act as one: two real ones over gloo, on this machine."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

from landmark.models import int8
from landmark.training import run, step
from landmark.training.config import TrainConfig
from landmark.training.frozen.cache import shelves
from landmark.training.run import open_run
from landmark.utils import distributed
from landmark.utils.errors import InputError
from tests import ranks

CONFIG = {"model": "resnet50", "size": 32, "steps": 6, "min_images": 2, "dev_fraction": 0.3, "weights": "none", "lr": 0.01}  # fmt: skip


@pytest.fixture
def sound(world, tmp_path):
    """The tiny world without its unreadable files: where one is left out, the rows of dropout's mask move up."""
    planted = pd.read_csv(world / "planted.csv", dtype=str)
    train = pd.read_csv(world / "train.csv", dtype=str)
    train = train[~train["id"].isin(planted["id"][planted["fault"] == "unreadable"])]
    (tmp_path / "sound").mkdir()
    train.to_csv(tmp_path / "sound" / "train.csv", index=False)
    (tmp_path / "sound" / "train").symlink_to(world / "train")
    return tmp_path / "sound"


def test_two_ranks_learn_what_one_does(tmp_path, sound, monkeypatch):
    """Fails when gradients of unequal shares are averaged wrongly, masks differ, or an image is seen twice or never."""
    for module in (step, run):
        monkeypatch.setattr(module, "create_model", ranks.create)
    _same_with_two_ranks(tmp_path, sound, CONFIG, monkeypatch)


@pytest.mark.timeout(300)
def test_two_ranks_share_what_is_frozen(tmp_path, sound, monkeypatch):
    """Fails when frozen stages, in integers where the chip has them, differ from rank to rank or wait for gradients."""
    frozen = {"freeze": "layer4", "int8": int8.has_int8(torch.device("cpu"))}
    _same_with_two_ranks(tmp_path, sound, CONFIG | frozen, monkeypatch)


@pytest.mark.timeout(300)  # four trainings, two at a time
def test_two_ranks_share_the_views_of_what_is_frozen(tmp_path, sound, monkeypatch):
    """Fails when a rank reads maps before another has written them, or its share is not what it would be of images."""
    frozen = {"freeze": "layer4", "int8": int8.has_int8(torch.device("cpu")), "views": 1}
    _same_with_two_ranks(tmp_path, sound, CONFIG | frozen, monkeypatch)


def _same_with_two_ranks(tmp_path, sound, config, monkeypatch):
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")  # the tolerance below is that of another order of summing up
    ranks.fit(TrainConfig(**config, batch_size=8), sound, tmp_path / "one")
    for shelf in shelves():
        assert shelf.drop(), "the ranks are to make the maps themselves"
    distributed.launch(ranks.fit, TrainConfig(**config, batch_size=4), sound, tmp_path / "two", processes=2)
    one, two = (open_run(tmp_path / name) for name in ("one", "two"))
    columns = ["step", "epoch", "train_loss", "dev_loss", "dev_gap", "dev_top1"]
    assert np.allclose(one.metrics[columns], two.metrics[columns], rtol=1e-4, atol=1e-5)
    assert one.result["bad_images"] == two.result["bad_images"]
    assert not [p.name for p in two.path.iterdir() if p.name.startswith(("state", ".state", ".lock"))]


def test_sums_and_lists(tmp_path, untouched):
    """Fails when a rank is missing from a sum, or ranks disagree on an order."""
    distributed.launch(ranks.sums, tmp_path, processes=2)
    first, second = ((tmp_path / f"rank{i}").read_text() for i in range(2))
    assert first == second and first.startswith("2 [3.0, 1.0] [")


def test_a_rank_that_fails_ends_all(tmp_path):
    """Fails when the other rank waits for ever, or the error shown is not the failing rank's own."""
    start = time.monotonic()
    with pytest.raises(InputError, match="process 1 of 2 failed.*image 0123456789abcdef is on fire"):
        distributed.launch(ranks.fail_on_rank_one, tmp_path, processes=2)
    assert time.monotonic() - start < 60 and not (tmp_path / "went on").exists()


def test_embeddings_are_shared_out(tmp_path, world):
    """Fails when a rank embeds the others' images, or an image is lost, doubled or filed under another id."""
    alone_in = tmp_path / "alone"
    alone_in.mkdir()
    distributed.launch(ranks.embed, world, tmp_path, processes=2)
    ranks.embed(world, alone_in)  # as rank 0
    alone, both = np.load(alone_in / "rank0.npz"), [np.load(tmp_path / f"rank{i}.npz") for i in range(2)]
    order = np.argsort(alone["ids"])
    for part in both:
        assert part["ids"].tolist() == alone["ids"][order].tolist()
        assert np.allclose(part["rows"], alone["rows"][order], atol=0.05)
