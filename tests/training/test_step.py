"""One step of learning, against torch used by hand."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from landmark.data.dataset import Batch
from landmark.data.folder import GoogleLandmarks
from landmark.models.int8 import has_int8
from landmark.models.recipes import COSINES, FOR_NONE, LOSSES
from landmark.training import trainer
from landmark.training.config import TrainConfig
from landmark.training.run import is_finished, open_run
from landmark.training.step import Learning, learner_of, learning_rate, network_of, ranges_of, train_step
from landmark.training.trainer import fit
from landmark.utils.errors import InputError
from tests.helpers import CONFIG as RUN
from tests.helpers import LOGGED, Killed, Small, same

CONFIG = TrainConfig(model="resnet50", size=32, batch_size=4, steps=5, weights="none", lr=0.01, seed=3)
pytestmark = pytest.mark.usefixtures("untouched_after")


@pytest.fixture
def untouched_after():
    """The step seeds torch's random numbers: what comes after the test must not depend on it."""
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")


@pytest.fixture
def batch():
    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 1])
    return Batch(images, labels, [f"{i:016x}" for i in range(4)], [])


def weights(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def test_steps_are_those_of_a_plain_loop(batch):
    """Fails when the loss is not the mean, gradients pile up, the rate comes late, or dropout ignores seed or step."""
    network = Small(3)
    plain, learning = copy.deepcopy(network).train(), Learning.of(network.eval(), CONFIG)
    adam = torch.optim.Adam(plain.parameters(), lr=0.01, fused=True)
    for number, rate in enumerate((0.01, 0.002, 0.03)):
        torch.manual_seed(3 * 1_000_003 + number)
        loss = F.cross_entropy(plain(batch.images.contiguous(memory_format=torch.channels_last)), batch.labels)
        adam.zero_grad()
        loss.backward()
        adam.param_groups[0]["lr"] = rate
        adam.step()
        assert train_step(learning, batch, number, rate) == pytest.approx(loss.item(), rel=1e-6)
    for key, value in weights(plain).items():
        torch.testing.assert_close(network.state_dict()[key], value, rtol=1e-5, atol=1e-6)


def test_a_share_counts_as_part_of_the_whole_batch(batch):
    """Fails when ranks with unequal shares weigh the same, so that some images move the weights more than others."""
    moved = []
    for count in (4, 8):
        network = Small(3)
        network.load_state_dict(moved[0][1] if moved else network.state_dict())
        before, learning = weights(network), Learning.of(network, CONFIG)
        moved.append((train_step(learning, batch, 0, 0.01, count), before))
    assert moved[1][0] == pytest.approx(moved[0][0] / 2, rel=1e-5), (
        "half of eight images, of which the rest add nothing"
    )


@pytest.mark.parametrize("images", [0, 1])
def test_a_rank_without_its_share_takes_part(batch, images):
    """Fails when a rank with no image or a single one ends in an error of BatchNorm, or learns from blank images."""
    network = Small(3)
    before, learning = weights(network), Learning.of(network, CONFIG)
    share = Batch(batch.images[:images] if images else torch.empty(0, 3, 1, 1), batch.labels[:images], [], [])
    loss = train_step(learning, share, 0, 0.01, 4.0)
    assert np.isfinite(loss) and (loss > 0) == bool(images)
    same = all(torch.equal(before[key], value) for key, value in network.named_parameters())
    assert same == (images == 0), "blank images have no gradient"


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_moves_nothing(batch, what):
    """Fails when a NaN reaches the weights or Adam's moments, or the message lacks step and images."""
    network = Small(3)
    learning, before = Learning.of(network, CONFIG), weights(network)
    if what == "loss":
        batch.images[1, 0, 5, 5] = torch.inf
    else:
        network.head[1].weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(InputError, match=rf"the {what} of step 8 is (nan|inf).*not made; its images: 0{{16}}, .*--lr"):
        train_step(learning, batch, 7, 0.01)
    assert not learning.adam.state
    assert all(torch.equal(before[key], value) for key, value in network.named_parameters())


def test_the_rate_along_half_a_cosine_by_hand():
    """Fails when the rate does not fall to nothing over the run, or falls where it should stay."""
    assert [learning_rate(CONFIG, k, 4) for k in range(4)] == [0.01] * 4
    falling = [learning_rate(replace(CONFIG, decay=True), k, 4) for k in (0, 1, 2, 3, 4)]
    assert falling == pytest.approx([0.01, 0.01 * 0.853553, 0.005, 0.01 * 0.146447, 0], abs=1e-8)
    rising = [learning_rate(replace(CONFIG, warmup=4), k, 9) for k in range(6)]
    assert rising == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    both = learning_rate(replace(CONFIG, warmup=4, decay=True), 2, 4)
    assert both == pytest.approx(0.75 * 0.005), "the first step counts already, and the fall goes on beneath"


@pytest.mark.parametrize("int8", [False, True])
def test_maps_and_images_teach_the_same(batch, world, int8):
    """Fails when the network behind frozen stages, fed with their maps, learns other than the one fed with images."""
    if int8 and not has_int8(torch.device("cpu")):
        pytest.skip("the chip has no products of bytes")
    config, ends = replace(CONFIG, freeze="layer3", int8=int8), []
    for fed in ("images", "maps"):
        network = network_of(config, 3)
        ranges = ranges_of(config, network, GoogleLandmarks(world).train, world) if int8 else None
        learner = learner_of(config, network, ranges)
        learning, given = replace(Learning.of(network, config), network=learner), batch
        if fed == "maps":
            given = replace(
                batch, images=learner.prefix.maps(batch.images.contiguous(memory_format=torch.channels_last))
            )
            learning = replace(learning, network=learner.rest, shape=tuple(given.images.shape[1:]))
        ends.append([train_step(learning, given, k, 0.01) for k in range(2)] + [weights(network)])
    assert ends[0][:2] == ends[1][:2]
    assert all(torch.equal(ends[0][2][key], value) for key, value in ends[1][2].items())


SWITCHED = {
    **{loss: {"loss": loss} for loss in LOSSES},
    "smoothed": {"loss": "arcface", "label_smoothing": 0.1},
    "frozen": {"loss": "bce_ranked", "freeze": "layer3", "views": 1},
    "bilinear": {"model": "resnet50_cbp", "root": True, "l2": True, "head": "mlp_plain"},
    "attention": {"model": "resnet50_spatial_map", "temperature": 3.0, "head": "neck"},
    "attentive": {"model": "resnet50_cbp_spatial_map", "temperature": 3.0, "root": False},
    "shuffled": {"model": "resnet50_spatial", "shuffle": 3},
}


@pytest.mark.parametrize("name", SWITCHED)
def test_every_switch_trains_and_goes_on_as_if_it_had_not_stopped(tmp_path, world, monkeypatch, name):
    """Fails when a loss or a switch is lost on the way to a run, or a stopped run goes on with another one."""
    changes = {"freeze": "layer3"} | SWITCHED[name]
    config = TrainConfig(**RUN.__dict__ | {"steps": 2} | changes)
    seen, fatal = [], [None]

    def watched(learning, batch, number, *more):
        if number == fatal[0]:
            raise Killed
        seen.extend(batch.labels.tolist())
        return train_step(learning, batch, number, *more)

    monkeypatch.setattr(trainer, "train_step", watched)
    whole = fit(config, world, tmp_path / "whole", progress=False)
    assert min(seen) >= 0 or config.loss in FOR_NONE
    fatal[0] = 1
    with pytest.raises(Killed):
        fit(config, world, tmp_path / "run", progress=False, save_steps=1)
    fatal[0] = None
    run = fit(config, world, tmp_path / "run", progress=False)
    assert same(run, whole) and run.metrics[LOGGED].equals(whole.metrics[LOGGED])
    assert np.isfinite(run.metrics["train_loss"]).all() and open_run(run.path).config == config
    assert (type(run.model().head).__name__ == "CosineClassifier") == (config.network["head"] in COSINES)


def test_images_without_a_landmark_are_seen_and_tell_runs_apart(tmp_path, world, monkeypatch):
    """Fails when they are left out of the passes, or a run goes on after they were exchanged."""
    labels = []

    def watched(learning, batch, *more):
        labels.append(sorted(batch.labels.tolist()))
        return train_step(learning, batch, *more)

    monkeypatch.setattr(trainer, "train_step", watched)
    config = replace(RUN, steps=None, epochs=1, loss="bce", nonlandmarks=1.0, freeze="all")
    run = fit(config, world, tmp_path / "run", progress=False)
    there = GoogleLandmarks(world).nonlandmark
    assert sum(row.count(-1) for row in labels) == len(there)
    assert sum(map(len, labels)) == len(there) + run.result["train_images"] - len(run.result["bad_images"])
    (tmp_path / "data").mkdir()
    for name in ("train.csv", "train", "nonlandmark"):
        (tmp_path / "data" / name).symlink_to(world / name)
    there[1:].to_csv(tmp_path / "data" / "nonlandmark.csv", index=False)
    with pytest.raises(InputError, match="nonlandmarks"):
        fit(config, tmp_path / "data", run.path, progress=False)


def test_a_run_from_before_the_switches(tmp_path, world):
    """Fails when a finished run that recorded none of the newer settings is taken for another one."""
    new = {"head", "root", "l2", "temperature", "gamma", "shuffle", "loss", "label_smoothing", "nonlandmarks"}
    settings = {name: value for name, value in RUN.__dict__.items() if name not in new}
    (tmp_path / "config.json").write_text(json.dumps({"settings": settings, "data": {"images": 3}}))
    (tmp_path / "result.json").write_text("{}")
    assert is_finished(tmp_path, {"settings": dict(RUN.__dict__), "data": {"images": 3}})
    with pytest.raises(InputError, match="loss: .*cross_entropy.* → .*bce"):
        is_finished(tmp_path, {"settings": dict(replace(RUN, loss="bce").__dict__), "data": {"images": 3}})
