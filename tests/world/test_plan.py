"""The plan of a world: counts, shares, the smallest ones."""

from dataclasses import replace

import pandas as pd
import pytest

from landmark.utils.errors import InputError
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


def test_other_queries_are_of_the_same_landmarks_and_share_nothing_else():
    """Fails when a rule that is chosen on another test set has seen a photograph, an unknown landmark or a distractor
    of the one that is reported, or when the landmarks of the label set are others there."""
    config = WorldConfig(landmarks=6, images=6, test=60, known=0.4, unknown=0.3, nonlandmarks=20)
    plans = [plan.plan(config), *(plan.plan_queries(config, draw) for draw in (1, 2))]
    known = [table[table["role"] == "known"].set_index("landmark_id") for _, table in plans]
    assert known[0].equals(known[1]) and known[0].equals(known[2]) and len(known[0]) == 6
    rest = [table[table["role"] != "known"] for _, table in plans]
    assert len({len(table) for table in rest}) == 1
    assert all(set(table["family"]) <= set(plans[0][1]["family"]) for table in rest), "as hard to tell from the known"
    ids = set(known[0].index)
    subjects = {shot.subject for shot in plans[0][0] if shot.truth in ids}
    for i, (shots, table) in enumerate(plans):
        test = [shot for shot in shots if shot.split == "test"]
        counts = [sum(shot.truth in ids for shot in test), sum(shot.truth is None for shot in test)]
        assert counts == [24, 18] and all(shot.label == shot.truth for shot in test)
        assert {shot.truth for shot in test} - {None} <= set(table["landmark_id"])
        assert {shot.subject for shot in test if shot.truth in ids} <= subjects
        for others, _ in plans[i + 1 :]:
            assert not {shot.image_id for shot in shots} & {shot.image_id for shot in others}
            assert not {shot.seed for shot in shots} & {shot.seed for shot in others}, "the same photograph"
            unknown = [
                {(s.truth, s.subject) for s in both if s.truth is not None and s.truth not in ids}
                for both in (shots, others)
            ]
            assert all(unknown) and not {truth for truth, _ in unknown[0]} & {truth for truth, _ in unknown[1]}
            assert not {seed for _, (seed, _) in unknown[0]} & {seed for _, (seed, _) in unknown[1]}
    assert {shot.split for shot in plans[1][0]} == {"test"}


def test_the_train_images_do_not_decide_the_other_queries():
    """Fails when a run's dev world has to be as large as the world it was trained on."""
    config = WorldConfig(landmarks=4, images=9, test=20)
    assert plan.plan_queries(config, 3)[0] == plan.plan_queries(replace(config, images=2, nonlandmarks=0), 3)[0]


@pytest.mark.parametrize("draw", [0, -1, plan.DRAWS + 1])
def test_a_draw_out_of_range(draw):
    """Fails when draws wrap into each other's landmark ids."""
    with pytest.raises(InputError, match=f"test set {draw}"):
        plan.plan_queries(WorldConfig(), draw)
