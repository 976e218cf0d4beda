"""Recipes by name and by parts."""

from functools import partial

import pytest

from landmark.cli.command import main
from landmark.course import runs
from landmark.course.answers import test_answers as answers_of
from landmark.course.answers import truth_of
from landmark.course.retrieving import answering
from landmark.course.retrieving.material import Material
from landmark.course.retrieving.recipes import PARTS, RECIPES, PartWeights, parts_of
from landmark.evaluation.metrics import global_average_precision
from landmark.evaluation.submission import read_submission
from landmark.retrieval.config import SearchConfig
from landmark.utils.errors import InputError


@pytest.fixture
def pair(course):
    """The two networks of `sirius`, trained for two steps, and the course's data."""
    return [runs.course_run(f"{name}_cbp_spatial_map") for name in ("resnet50", "vgg16")], course[1]


def test_sirius_is_an_ensemble_of_two_networks(pair, tmp_path, monkeypatch):
    """Fails when one of the two does not train, predict or score, or only the first is asked."""
    monkeypatch.setattr(answering, "Material", partial(Material, search=SearchConfig(side=64, rerank=3)))
    networks, data = pair
    for run in networks:
        assert 0 <= global_average_precision(answers_of(run, data), truth_of(data)) <= 1
    made = Material(networks, data)
    assert made.vectors()[0].shape[1] == 2 * 8192
    file = tmp_path / "s.csv"
    folders = [str(run.path) for run in networks]
    assert main(["submit", *folders, str(data.root), "--recipe", "sirius", "--out", str(file)]) == 0
    rows = read_submission(file)
    assert rows["id"].tolist() == data.test["id"].tolist() and rows["landmark_id"].notna().any()
    asked = truth_of(data)
    answers = {image_id: (int(mark), score) for image_id, mark, score in rows.dropna().itertuples(index=False)}
    assert 0 < global_average_precision({i: row for i, row in answers.items() if i in asked}, asked) <= 1


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
    "settings", [{"company": 1.5}, {"whiten": 0}, {"alpha": -1.0}, {"local": "none"}, {"softmax": float("nan")}]
)
def test_weights_that_cannot_be_meant(settings):
    """Fails when a wrong weight is found out only in the middle of a recipe."""
    with pytest.raises(InputError):
        PartWeights(**settings)
