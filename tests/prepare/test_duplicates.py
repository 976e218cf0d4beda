"""Photographs that are alike, and some that only look it."""

import numpy as np

from landmark.prepare.duplicates import duplicate_groups
from landmark.prepare.inspection import FACTS


def test_likeness_of_shape_alone_is_no_duplicate():
    """Fails when a hash that two pictures share by chance is enough."""
    facts = np.zeros(2, FACTS)
    facts["readable"], facts["hash"], facts["digest"] = True, 5, [1, 2]
    facts["tiles"][1, 3] = 30
    assert duplicate_groups(facts) == ([], [])
    facts["tiles"][1, 3] = 3
    assert duplicate_groups(facts)[1] == [[0, 1]]
