"""The plan of a world: counts, shares, the smallest ones."""

from dataclasses import replace

import pandas as pd
import pytest

from landmark.world import distractors, plan
from landmark.world.config import WorldConfig


def test_counts_and_shares():
    """Fails when the tail or the faults eat into the label set, or the shares of the test set drift."""
    config = WorldConfig(landmarks=10, images=20, test=200, known=0.5, unknown=0.2)
    shots, landmarks = plan.plan(config)
    train = pd.DataFrame([(s.label, s.fault) for s in shots if s.split == "train"], columns=["landmark_id", "fault"])
    regular = train[~train["fault"].isin(["wrong_label", "duplicate", "unreadable"])]
    sizes = regular["landmark_id"].value_counts()
    known = landmarks.loc[landmarks["role"] == "known", "landmark_id"]
    assert (
        sizes[known].sum() == 200
        and sizes[known].min() >= config.min_images
        and sizes[known].max() > 2 * sizes[known].min()
    )
    assert sizes.drop(known).max() < config.min_images
    assert set(train["landmark_id"].value_counts()[lambda n: n >= config.min_images].index) == set(known)
    test = [s for s in shots if s.split == "test"]
    assert (
        len(test) == 200
        and sum(s.truth in set(known) for s in test) == 100
        and sum(s.truth is None for s in test) == 60
    )
    assert len({s.image_id for s in shots}) == len(shots)


def test_the_pretraining_world_is_another_one():
    """Fails when a backbone has seen a landmark of the course, a sibling's stone or a name before."""
    worlds = [plan.plan(WorldConfig(seed=seed, landmarks=150, images=2, test=0, pretraining=pretraining))
              for pretraining in (False, True) for seed in (0, 1)]  # fmt: skip
    course, pretraining = (pd.concat([landmarks for _, landmarks in two]) for two in (worlds[:2], worlds[2:]))
    assert not set(course["name"]) & set(pretraining["name"])
    assert not set(course["family"]) & set(pretraining["family"])
    seeds = [{shot.subject[0] for shot in shots if not isinstance(shot.subject, str)} for shots, _ in worlds]
    assert not (seeds[0] | seeds[1]) & (seeds[2] | seeds[3])


@pytest.mark.parametrize(("landmarks", "size"), [(1, 2), (2, 3), (5, 2)])
def test_the_smallest_worlds(landmarks, size):
    """Fails when a world of a few images runs out of images to spoil."""
    shots, table = plan.plan(WorldConfig(landmarks=landmarks, images=size, test=3))
    assert (table["role"] == "known").sum() == landmarks and len(shots) > landmarks * size


def test_images_without_a_landmark_stand_apart():
    """Fails when asking for them changes train or test, or one of them is an image of the test set."""
    config = WorldConfig(landmarks=3, images=6, test=40)
    (without, _), (some, _), (more, _) = (plan.plan(replace(config, nonlandmarks=n)) for n in (0, None, 30))
    assert some[: len(without)] == without and more[: len(some)] == some
    assert len(some) == len(without) + 12 and {s.split for s in without} == {"train", "test"}
    apart = more[len(without) :]
    assert {s.split for s in apart} == {"nonlandmark"} and {s.subject for s in apart} == set(distractors.KINDS)
    assert all(s.label is None and s.truth is None and not s.fault for s in apart)
    assert not {s.seed for s in apart} & {s.seed for s in without} and len({s.image_id for s in more}) == len(more)
