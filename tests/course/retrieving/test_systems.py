"""The table of the named systems: against the metrics of the answers that each recipe gives."""

import numpy as np
import pytest

from landmark.course import runs
from landmark.course.answers import truth_of
from landmark.course.retrieving.answering import answer
from landmark.course.retrieving.material import Material
from landmark.course.retrieving.recipes import RECIPES
from landmark.course.retrieving.systems import systems_table
from landmark.evaluation.metrics import global_average_precision
from landmark.evaluation.open_world import gap_against_distractors
from landmark.retrieval.config import SearchConfig
from landmark.utils.errors import InputError


@pytest.fixture
def few(monkeypatch):
    """Recipes that compare no local features, and the vote over crops."""
    for name in ("delf", "sirius", "best"):
        monkeypatch.delitem(RECIPES, name)


def test_every_recipe_has_its_scores(course, few):
    """Fails when a row is another recipe's, closed counts unknown landmarks, or images that were not asked count."""
    run, data, _ = course
    count = len(data.test) - 3
    table = systems_table([run], data, own={"xception_gem": [run]}, share=0.8, count=count, n=20)
    assert table.index.tolist() == list(RECIPES) and (table["low"] <= table["high"]).all()
    assert (table["seconds"] >= 0).all() and np.isfinite(table.to_numpy()).all()
    for name in ("paper", "xception_gem", "gem_knn"):
        made = Material([run], data, search=SearchConfig(), count=count)
        truth = {image_id: shown for image_id, shown in truth_of(data).items() if image_id in made.photos.ids}
        answers = {i: row for i, row in answer(made, name).mapping().items() if i in truth}
        labels = set(run.labels.landmark_ids)
        inside = {i: shown for i, shown in truth.items() if labels.intersection(shown)}
        closed = {i: row for i, row in answers.items() if i in inside}
        assert table.loc[name, "open"] == pytest.approx(global_average_precision(answers, truth))
        assert table.loc[name, "closed"] == pytest.approx(global_average_precision(closed, inside))
        assert table.loc[name, "hard"] == pytest.approx(gap_against_distractors(answers, truth, [0.8])[0], abs=1e-6)


def test_a_seed_may_be_an_ensemble(course, monkeypatch):
    """Fails when the runs of a pair count as two seeds, one of them is left out, or a pair answers for all recipes."""
    for name in set(RECIPES) - {"paper", "gem_knn"}:
        monkeypatch.delitem(RECIPES, name)
    run, data, _ = course
    other = runs.course_run("resnet50", seed=1)
    table = systems_table([run], data, own={"gem_knn": [(run, other)]}, n=20)
    truth = truth_of(data)
    for name, systems in (("paper", [run]), ("gem_knn", [run, other])):
        answers = answer(Material(systems, data), name).mapping()
        answers = {image_id: row for image_id, row in answers.items() if image_id in truth}
        assert table.loc[name, "open"] == pytest.approx(global_average_precision(answers, truth))
    pairs = systems_table([run], data, own={"gem_knn": [[run, other], [run, run]]}, n=20).loc["gem_knn", "open"]
    alone = systems_table([run], data, n=20).loc["gem_knn", "open"]
    assert pairs == pytest.approx((table.loc["gem_knn", "open"] + alone) / 2)  # twice the same network is that network


def test_what_has_no_networks_of_its_own_is_left_out(course, few):
    """Fails when the vote of Xception + GeM is that of another network, or no run or no such recipe is a traceback."""
    run, data, _ = course
    assert "xception_gem" not in systems_table([run], data, n=5).index
    with pytest.raises(InputError, match="no run"):
        systems_table([], data)
    with pytest.raises(InputError, match="no run"):
        systems_table([run], data, own={"paper": []})
    with pytest.raises(InputError, match="no recipe 'xception'"):
        systems_table([run], data, own={"xception": [run]})
