"""The plan of a world: counts, shares, the smallest ones."""

import pandas as pd
import pytest

from landmark.world import plan
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
    pretraining = plan.plan(WorldConfig(landmarks=10, images=20, pretraining=True))[0]
    seeds = [{s.subject for s in some if not isinstance(s.subject, str)} for some in (shots, pretraining)]
    assert not seeds[0] & seeds[1], "the pretraining world must be disjoint"


@pytest.mark.parametrize(("landmarks", "size"), [(1, 2), (2, 3), (5, 2)])
def test_the_smallest_worlds(landmarks, size):
    """Fails when a world of a few images runs out of images to spoil."""
    shots, table = plan.plan(WorldConfig(landmarks=landmarks, images=size, test=3))
    assert (table["role"] == "known").sum() == landmarks and len(shots) > landmarks * size
