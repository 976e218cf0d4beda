"""Recipes by name and by parts."""

import pytest

from landmark.course.retrieving.recipes import PARTS, RECIPES, PartWeights, parts_of
from landmark.utils.errors import InputError


def test_parts_come_in_the_order_of_work():
    """Fails when the order in which parts are named changes what is done, or a recipe names a part that is none."""
    assert (
        parts_of(["local", "nearest", "vote"]) == parts_of(("vote", "local", "nearest")) == ("nearest", "vote", "local")
    )
    assert all(set(parts_of(name)) == set(RECIPES[name]) <= PARTS.keys() for name in RECIPES)
    assert {"paper", "gem_knn", "sirius", "best"} <= RECIPES.keys()


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("worst", "no recipe 'worst': choose one of paper, "),
        (["nearest", "luck"], "parts luck: choose of softmax"),
        ([], "parts none: choose of"),
        (["vote", "margin"], "parts vote, margin: they rest on neighbours: add nearest"),
        (["softmax", "vote"], "add nearest"),
        (["nearest", "crops"], "parts nearest, crops: .* add softmax"),
        (["nearest", "local", "delf"], "parts local, delf: .* name one"),
    ],
)
def test_what_is_no_recipe(recipe, words):
    """Fails when a part without its ground is left out silently."""
    with pytest.raises(InputError, match=words):
        parts_of(recipe)


@pytest.mark.parametrize(
    "settings", [{"company": 1.5}, {"dims": 0}, {"alpha": -1.0}, {"local": "none"}, {"softmax": float("nan")}]
)
def test_weights_that_cannot_be_meant(settings):
    """Fails when a wrong weight is found out only in the middle of a recipe."""
    with pytest.raises(InputError):
        PartWeights(**settings)
