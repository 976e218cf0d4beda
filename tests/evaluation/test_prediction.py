"""The prediction record: what is in it by hand, several ranks merged, kept whole, a row for every image."""

import numpy as np
import pytest
import torch
from torch import nn

from landmark.data.dataset import Bad, Batch
from landmark.data.folder import LabelMap
from landmark.data.loader import Quarantine
from landmark.evaluation import prediction
from landmark.evaluation.prediction import Crops, Predictions, joined, merged
from landmark.models.net import create_model
from landmark.utils.errors import InputError
from tests.helpers import Small

BAD = Bad("x", "empty file")


def record(ids, classes, bad=(), keep=()):
    """A record whose class indices and rows tell where they come from."""
    logits = torch.zeros(len(ids), 3)
    logits[torch.arange(len(ids)), torch.tensor(classes, dtype=torch.int64)] = 1.0 + torch.arange(len(ids))
    return Predictions.of(ids, logits, torch.tensor(classes), logits, bad, keep)


def same(a, b):
    assert a.ids == b.ids and a.bad == b.bad and a.columns().keys() == b.columns().keys()
    for name, column in a.columns().items():
        other = b.columns()[name]
        assert column.dtype == other.dtype and np.array_equal(column, other, equal_nan=True), name


def test_merged_counts_an_image_once():
    """Fails when padding or a repeated image counts twice in GAP, or a column stays in the old order."""
    parts = [record(["b", "a"], [1, 0], [BAD], keep=["embedding"]), record(["c"], [2], [BAD], keep=["embedding"])]
    parts.append(record(["a"], [0], keep=["embedding"]))
    whole = merged(parts)
    assert whole.ids == ["a", "b", "c"] and whole.class_index.tolist() == [0, 1, 2] and whole.bad == [BAD]
    assert whole.logit.tolist() == [2, 1, 1] and whole.embedding.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_joined_keeps_order_and_what_could_not_be_read():
    """Fails when a batch without a readable image breaks the columns, or its bad images are lost."""
    nothing = Predictions.of([], torch.zeros(0, 1), bad=[BAD])
    whole = joined([nothing, record(["b"], [1], keep=["logits"]), nothing, record(["a"], [2], keep=["logits"])])
    assert whole.ids == ["b", "a"] and whole.class_index.tolist() == [1, 2] and whole.bad == [BAD, BAD]
    assert whole.logits.shape == (2, 3)
    for empty in (joined([nothing]), joined([])):
        assert empty.ids == [] and empty.score().shape == (0,) and empty.mapping(LabelMap([1])) == {}
        assert empty.class_index.dtype == whole.class_index.dtype and empty.loss.dtype == np.float64


@pytest.mark.parametrize("keep", [(), ("embedding",), ("embedding", "logits")], ids=str)
def test_a_record_is_kept_to_the_last_bit(tmp_path, keep):
    """Fails when a number, a reason or an id changes on the disk, or another basis is answered."""
    model = Small(3)
    answers = record(["0" * 16, "ü"], [0, 2], [BAD, Bad("y", 'a, "b"\nc')], keep)
    answers.save(tmp_path / "r.npz", {"weights": "a", "columns": ["x"]})
    same(Predictions.load(tmp_path / "r.npz", {"weights": "a", "columns": ["x"]}), answers)
    assert Predictions.load(tmp_path / "r.npz", {"weights": "b", "columns": ["x"]}) is None
    alone = prediction.predict(model, [Batch(torch.zeros(1, 3, 32, 32), torch.tensor([-1]), ["a"], [])])
    alone.save(tmp_path / "r.npz", {})
    same(Predictions.load(tmp_path / "r.npz", {}), alone)


def test_an_older_file_is_none(tmp_path):
    """Fails when a record with fewer columns, as older runs kept, is believed or is a traceback."""
    old = {
        "of": "{}",
        "ids": np.array(["a"]),
        "bad": np.array([], "U"),
        "class_index": [0],
        "score": [0.5],
        "loss": [1],
    }
    np.savez(tmp_path / "r.npz", **old)
    assert Predictions.load(tmp_path / "r.npz", {}) is None


def test_predictions_are_those_of_the_logits_and_restore_the_mode(world):
    """Fails when the loss is another, a bad image is dropped silently, or the model stays in evaluation mode."""
    torch.manual_seed(0)
    model = Small(3).train()
    images = torch.randn(4, 3, 32, 32)
    loader = [Batch(images, torch.tensor([0, 1, 2, -1]), list("abcd"), [Bad("e", "empty file")])]
    found = prediction.predict(model, loader, keep=["logits"])
    assert model.training and found.ids == list("abcd") and found.bad[0].image_id == "e"
    with torch.no_grad():
        logits = model.eval()(images)
    assert np.allclose(found.logits, logits, atol=0.05)
    assert np.allclose(found.score(), logits.softmax(1).max(1).values, atol=0.02)
    kept = torch.as_tensor(found.logits).double()
    assert np.array_equal(found.logit, kept.amax(1)) and np.array_equal(found.second, kept.sort(1).values[:, -2])
    losses = nn.functional.cross_entropy(kept[:3], torch.tensor([0, 1, 2]), reduction="none")
    assert np.allclose(found.loss[:3], losses, rtol=1e-12) and np.isnan(found.loss[3])
    assert found.mapping(LabelMap([7, 8, 9]))["a"][0] == 7 + found.class_index[0]
    assert np.isnan(found.norm).all() and found.embedding is None
    with pytest.raises(InputError, match="limit 0"):
        prediction.predict(model, loader, quarantine=Quarantine(0))
    with pytest.raises(InputError, match="Small shows no embeddings"):
        prediction.predict(model, loader, keep=["embedding"])
    with pytest.raises(InputError, match="logit: choose of embedding, logits"):
        prediction.predict(model, loader, keep=["logit"])


def test_embeddings_are_those_the_answer_was_made_of(monkeypatch):
    """Fails when the head is skipped or applied twice, or the norm is that of the logits."""
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")
    model, images = (
        create_model("resnet50", 3).eval(),
        torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
    )
    loader = [Batch(images, torch.tensor([-1, -1]), ["a", "b"], [])]
    found = prediction.predict(model, loader, keep=["embedding", "logits"])
    with torch.no_grad():
        embedding = model.forward_head(model.forward_features(images), pre_logits=True)
        logits = model(images)
    assert np.allclose(found.embedding, embedding, rtol=1e-3, atol=1e-4)
    assert np.allclose(found.logits, logits, rtol=1e-3, atol=1e-4)
    assert np.allclose(found.norm, np.sqrt((found.embedding.astype(float) ** 2).sum(1)))
    plain = prediction.predict(model, loader)
    assert plain.embedding is None and plain.logits is None and np.array_equal(plain.norm, found.norm)


def test_crops_vote_by_the_mean_of_their_softmax():
    """Fails when a corner is left out or counted twice, logits are averaged in place of votes, or a vote underflows."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5)).eval()
    network[1].weight.data *= 30
    images, votes = torch.randn(2, 3, 16, 16), []
    for y, x in ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1)):
        crop = images[:, :, y : y + 14, x : x + 14]
        votes.append(torch.nn.functional.interpolate(crop, (16, 16), mode="bilinear"))
    votes = [view if not turned else view.flip(3) for view in (*votes, images) for turned in (False, True)]
    with torch.no_grad():
        expected = sum(network(view).softmax(1) for view in votes) / 12
        got = Crops(network)(images)
    torch.testing.assert_close(got.exp(), expected)
    one = Predictions.of(["a", "b"], got)
    np.testing.assert_allclose(one.score("softmax"), expected.max(1).values, rtol=1e-5)
    network[1].weight.data *= 1e4
    assert torch.isfinite(Crops(network)(images)).all()


def test_logits_that_are_not_finite_are_told():
    """Fails when a network that has diverged writes scores that have no place in a ranking."""
    model = Small(3)
    model.head[1].bias.data[0] = float("nan")
    with pytest.raises(InputError, match="logits of image b are not finite"):
        prediction.predict(model, [Batch(torch.zeros(1, 3, 32, 32), torch.tensor([0]), ["b"], [])])


def test_submission_has_a_row_for_every_image(tmp_path, world):
    """Fails when an unreadable image loses its row, the order of the test table changes, or own scores are ignored."""
    found = record(["b", "a"], [1, 0])
    found.write(tmp_path / "s.csv", LabelMap([7, 8]), ["a", "x", "b"], "margin")
    assert (tmp_path / "s.csv").read_text().splitlines() == ["id,landmarks", "a,7 2.0", "x,", "b,8 1.0"]
    found.write(tmp_path / "s.csv", LabelMap([7, 8]), ["a", "b"], np.array([-0.25, 1e-7]))
    assert (tmp_path / "s.csv").read_text().splitlines() == ["id,landmarks", "a,7 1e-07", "b,8 -0.25"]
