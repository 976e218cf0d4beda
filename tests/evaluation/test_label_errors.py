"""Suspects: neighbours and turns against plain loops, scores by hand, and a network from end to end."""

import numpy as np
import pandas as pd
import pytest

from landmark.data.dataset import LandmarkDataset, eval_transform
from landmark.data.folder import GoogleLandmarks
from landmark.data.loader import make_loader
from landmark.evaluation.label_errors import (
    detector_scores,
    embed_turned,
    find_suspects,
    neighbours_far_off,
    turn_gains,
)
from landmark.evaluation.prediction import predict
from landmark.models.net import create_model
from landmark.utils.errors import InputError

RNG = np.random.default_rng(0)


def test_neighbours_are_those_of_the_plain_loop():
    """Fails when an image is its own neighbour, or the longer vector is the nearer one."""
    x, label = RNG.normal(size=(50, 8)), RNG.integers(0, 4, 50)
    likeness = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in x] for a in x]
    order = [sorted(set(range(50)) - {i}, key=lambda j, i=i: -likeness[i][j])[:7] for i in range(50)]
    share = [np.mean([label[j] != label[i] for j in found]) for i, found in enumerate(order)]
    assert neighbours_far_off(x, label, 7) == pytest.approx(share)


@pytest.mark.parametrize("k", [0, 3])
def test_too_many_neighbours(k):
    """Fails when more neighbours than there are images end in a traceback of torch."""
    with pytest.raises(InputError, match="3 images"):
        neighbours_far_off(np.eye(3), [0, 1, 2], k)


def test_turns_are_found():
    """Fails when the direction is reversed, or an image teaches the map what it is then asked about."""
    upright = RNG.normal(size=(4, 1, 16)) + 0.3 * RNG.normal(size=(4, 60, 16))  # what the four turns look like
    lie = np.zeros(60, int)
    lie[[3, 20, 41, 55]] = 1, 2, 3, 1  # quarter turns that the picture was given, counter-clockwise
    shown = np.stack([[upright[(q + lie[i]) % 4, i] for i in range(60)] for q in range(4)])
    gains = turn_gains(shown)
    assert ((gains.argmax(1) + lie) % 4 == 0).all() and (gains[:, 0] == 0).all()
    assert (gains.max(1)[lie > 0] > 1).all()


def test_turns_against_a_plain_solution():
    """Fails when the sums over folds differ from a regression on the other folds' rows."""
    x = RNG.normal(size=(4, 11, 6))
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    answer = np.zeros((4, 11, 4))
    scale = 0.001 * (x**2).sum() / 6
    for i in range(11):
        rest = x[:, np.arange(11) % 5 != i % 5]
        flat, target = rest.reshape(-1, 6), np.repeat(np.eye(4) - 0.25, rest.shape[1], 0)
        answer[:, i] = x[:, i] @ np.linalg.solve(flat.T @ flat + scale * np.eye(6), flat.T @ target)
    fit = np.array([[sum(answer[p, i, (p - q) % 4] for p in range(4)) for q in range(4)] for i in range(11)])
    assert turn_gains(x) == pytest.approx(fit - fit[:, :1], abs=1e-4)
    with pytest.raises(InputError, match="too few"):
        turn_gains(x[:, :4])


def test_scores_by_hand():
    """Fails when precision and recall change places, or a detector that finds nothing divides by zero."""
    planted = pd.DataFrame({"id": list("abcd"), "fault": ["grey", "grey", "grey", "cmyk"]})
    scores = detector_scores({"grey": ["a", "x"], "cmyk": set(), "tiny": ["y"]}, planted)
    assert scores.loc["grey", ["planted", "found", "precision", "recall"]].tolist() == [3, 2, 0.5, pytest.approx(1 / 3)]
    assert np.isnan(scores.loc["cmyk", "precision"]) and scores.loc["cmyk", "recall"] == 0
    assert np.isnan(scores.loc["tiny", "recall"]) and scores.loc["tiny", "precision"] == 0


@pytest.mark.parametrize(("hits", "found"), [(0, 4), (1, 3), (20, 20)])
def test_intervals_of_shares_are_wilsons(hits, found):
    """Fails when an interval is another share's, is not Wilson's, or shrinks to a point where all or none are true."""
    planted = pd.DataFrame({"id": range(20), "fault": "grey"})
    row = detector_scores({"grey": [*range(hits), *range(100, 100 + found - hits)]}, planted).loc["grey"]
    for name, of in (("precision", found), ("recall", 20)):
        # Wilson's bounds are the shares that the one at hand is just 1.96 of their standard errors from
        ends = [hits / of, *row[[f"{name}_low", f"{name}_high"]]]
        assert row[name] == ends[0] and ends[1] <= ends[0] <= ends[2] and ends[1] < ends[2]
        for end in ends[1:]:
            assert (hits / of - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / of, abs=1e-6)


def test_from_images_to_suspects(world):
    """Fails when the upright embedding is another than prediction's, or an unreadable image shifts the rows."""
    train = GoogleLandmarks(world).train
    network = create_model("resnet50", 3)
    loader = make_loader(LandmarkDataset(train, world, "train", None, *eval_transform(32, **network.data_config)), 8)
    ids, embeddings = embed_turned(network, loader, progress=False)
    answers = predict(network, loader, keep=["embedding"])
    assert ids == answers.ids and len(ids) < len(train), "the planted unreadable files are left out"
    expected = answers.embedding
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(embeddings[0].astype(float) - expected).max() < 0.01
    found = find_suspects(network, train, world, size=32, workers=0, progress=False)
    assert (
        found["id"].tolist() == ids
        and found["landmark_id"].tolist() == train.set_index("id").loc[ids, "landmark_id"].tolist()
    )
    assert set(found["turn"]) <= {0, 90, 180, 270} and found["suspicion"].between(0, 1).all()
    with pytest.raises(InputError, match="0 images"):
        embed_turned(network, [], progress=False)
