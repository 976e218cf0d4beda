"""Photographs that are alike, and some that only look it."""

import numpy as np

from landmark.prepare.duplicates import connected, duplicate_groups
from landmark.prepare.inspection import FACTS


def test_likeness_of_shape_alone_is_no_duplicate():
    """Fails when a hash that two pictures share by chance is enough."""
    facts = np.zeros(2, FACTS)
    facts["readable"], facts["hash"], facts["digest"] = True, 5, [1, 2]
    facts["tiles"][1, 3] = 30
    assert duplicate_groups(facts) == ([], [])
    facts["tiles"][1, 3] = 3
    assert duplicate_groups(facts)[1] == [[0, 1]]


def test_groups_are_those_of_a_plain_search():
    """Fails when a chain of pairs is cut, two groups run together, or a lone image joins one."""
    random = np.random.default_rng(0)
    for count in (1, 5, 40):
        pairs = random.integers(0, count, (count // 2, 2))
        number = connected(pairs, count)
        for start in range(count):
            reached = {start}
            for _ in range(count):
                reached |= {x for pair in pairs.tolist() if reached & set(pair) for x in pair}
            assert reached == set(np.flatnonzero(number == number[start]))


def test_the_best_copy_comes_first():
    """Fails when a group does not begin with most pixels, then most bytes, then the first place, or groups change order."""
    facts = np.zeros(7, FACTS)
    facts["readable"], facts["digest"] = True, [9, 1, 1, 2, 1, 2, 1]
    facts["width"], facts["height"] = 10, [1, 2, 3, 1, 3, 1, 3]
    facts["size"] = [5, 5, 5, 5, 6, 5, 5]
    facts["constant"] = True
    assert duplicate_groups(facts) == ([[4, 2, 6, 1], [3, 5]], [])
