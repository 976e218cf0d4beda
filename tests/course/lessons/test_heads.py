"""Heads on frozen features: the right rows, the right classes, the same head for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landmark.course.answers import truth_of
from landmark.course.lessons import heads
from landmark.models.layers import CompactBilinearPooling, Normalise
from landmark.training.predict_run import predict_table
from landmark.training.run import open_run
from landmark.utils.errors import InputError


def test_features_are_the_runs_own_in_the_order_of_ids(lesson):
    """Fails when a dev image is learnt from, an image gets another's features, or a landmark another class."""
    run, _, data = lesson
    features, truth = heads.frozen_features(run, data), truth_of(data)
    sides = run.sides
    learnt = predict_table(run, sides[sides["side"] == "train"], data.root, "train", keep=["embedding"])
    assert {x.tobytes() for x in learnt.embedding} == {x.numpy().tobytes() for x in features.train}
    assert len(features.train) == run.result["train_images"] - len(learnt.bad) and features.classes == len(run.labels)
    record = predict_table(run, data.test, data.root, keep=["embedding"])
    rows = dict(zip(record.ids, record.embedding, strict=True))
    for image_id, row, target in zip(sorted(truth), features.test, features.truth, strict=True):
        wanted = [run.labels.to_index(x) for x in truth[image_id]]
        assert target == (wanted[0] if wanted else -2)
        assert torch.equal(row, torch.from_numpy(rows[image_id])) if image_id in rows else torch.isnan(row).all()
    assert features.kind.tolist() == [0 if x >= 0 else -x for x in features.truth]
    again = heads.frozen_features(run, data, run.model())
    assert torch.allclose(again.train, features.train, atol=1e-3) and torch.equal(again.labels, features.labels)


def test_another_pooling_of_the_same_maps(lesson):
    """Fails when the run's own pooling stays in, or the maps are not those that its network makes of an image."""
    run, _, data = lesson
    width = heads.frozen_features(run, data).train.shape[1]
    network, pool = run.model(), nn.Sequential(CompactBilinearPooling(width, 64), Normalise())
    network.pool, network.head = pool, nn.Identity()
    made, whole = heads.frozen_features(run, data, pool=pool), heads.frozen_features(run, data, network)
    assert made.train.shape[1] == made.test.shape[1] == 64
    torch.testing.assert_close(made.train, whole.train, atol=1e-2, rtol=0)
    torch.testing.assert_close(made.test, whole.test, atol=1e-2, rtol=0, equal_nan=True)


def test_answers_of_logits(lesson):
    """Fails when an unread image answers, an unknown landmark is right, or the score is not the softmax."""
    run, _, data = lesson
    features = replace(heads.frozen_features(run, data), truth=np.array([0, -1, -2, 1]))
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [torch.nan, torch.nan]])
    answers = features.answers(logits)
    assert answers.correct.tolist() == [True, False, False, False] and answers.kind.tolist() == [0, 1, 2, 0]
    assert answers.score[:3] == pytest.approx(torch.softmax(logits[:3], 1).amax(1).numpy())
    assert np.isnan(answers.score[3]) and features.answers(logits, "logit").score[:3].tolist() == [2, 1, 3]


def test_a_head_follows_from_its_seed():
    """Fails when the caller's random numbers decide, or the head stays in training mode and drops numbers."""
    x, y = torch.randn(20, 6), torch.arange(20) % 3
    first, second, other = (heads.logits_of(heads.train_head(x, y, 3, 3, seed=s), x) for s in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_a_run_must_say_what_it_learnt_from(lesson):
    """Fails when the train images of an older run are guessed."""
    run, _, data = lesson
    older = open_run(run.path)
    older.__dict__["sides"] = None  # where the property keeps what it has read
    with pytest.raises(InputError, match="train it anew"):
        heads.frozen_features(older, data)
