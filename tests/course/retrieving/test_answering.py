"""Recipes at work: the parts that are added, against the functions they stand for; submissions."""

import numpy as np
import pytest

from landmark.cli.command import main
from landmark.course.answers import test_answers as answers_of
from landmark.course.retrieving.answering import answer, submit_recipe
from landmark.course.retrieving.material import Material
from landmark.course.retrieving.recipes import RECIPES, PartWeights
from landmark.evaluation.neighbours import unit
from landmark.evaluation.submission import read_submission
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.fusion.crowd import overuse
from landmark.retrieval.recognise import Searcher
from landmark.utils.errors import InputError


def test_the_paper_answers_by_softmax(course):
    """Fails when `paper` is anything but the run's own answers."""
    run, data, _ = course
    assert answer(Material([run], data), "paper").mapping() == answers_of(run, data)


def test_nearest_is_the_nearest(course):
    """Fails when neighbours vote, or a penalty or a margin applies, in a recipe that does not name them."""
    run, data, _ = course
    made = Material([run], data)
    queries, index, _ = made.vectors()
    cosine = queries @ index.T
    got = answer(made, "nearest")
    assert got.landmark.tolist() == made.landmark[cosine.argmax(1)].tolist()
    np.testing.assert_allclose(got.score, cosine.max(1), atol=1e-4)


def test_each_part_adds_what_it_says(course):
    """Fails when a weight is of another part, or a centre is that of another landmark."""
    run, data, _ = course
    made = Material([run], data, parts=PartWeights(centres=0.5, softmax=2.0, overuse=0.3, company=1.0))
    base = answer(made, "nearest")
    queries, index, _ = made.vectors()
    centre = [unit(index[made.landmark == mark].mean(0)[None])[0] @ query
              for mark, query in zip(base.landmark, queries, strict=True)]  # fmt: skip
    label, sure = made.classify()
    added = {
        "centres": 0.5 * np.array(centre),
        "softmax": 2.0 * np.where(label == base.landmark, sure, 0),
        "overuse": -0.3 * overuse(base.landmark),
    }
    for part, expected in added.items():
        np.testing.assert_allclose(answer(made, ["nearest", part]).score - base.score, expected, atol=1e-4)
    company = answer(made, ["nearest", "company"]).score
    assert base.score.min() - 1e-6 <= company.min() and company.max() <= base.score.max() + 1e-6


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_writes_a_submission(course, tmp_path, recipe):
    """Fails when a recipe by name does not run, leaves an image out, or writes what cannot be read back."""
    run, data, _ = course
    search = SearchConfig(side=64, rerank=3)
    report = submit_recipe([run], data, recipe, tmp_path / "s.csv", search=search, progress=False)
    rows = read_submission(tmp_path / "s.csv")
    assert rows["id"].tolist() == data.test["id"].tolist()
    assert report["rows"] == len(rows) and report["answers"] == rows["landmark_id"].notna().sum() > 0


def test_the_command_sets_what_is_compared(course, tmp_path, monkeypatch):
    """Fails when `landmark submit` loses how many neighbours it is to compare, or by which local features."""
    run, data, _ = course
    seen = []
    compare = Searcher.compare

    def counted(self, ids, photos, near):
        counts = compare(self, ids, photos, near)
        seen.append((self.local.name, (counts >= 0).sum(1).max()))
        return counts

    monkeypatch.setattr(Searcher, "compare", counted)
    given = ["submit", str(run.path), str(data.root), "--out", str(tmp_path / "s.csv"), "--rerank", "2"]
    assert main([*given, "--local", "delf"]) == 0
    assert [count for _, count in seen] == [2] and "delf" in seen[0][0]


def test_no_such_recipe(course, tmp_path):
    """Fails when a wrong name is found out after the images were embedded."""
    run, data, _ = course
    with pytest.raises(InputError, match="no recipe 'worst'"):
        submit_recipe([run], data, "worst", tmp_path / "s.csv")
