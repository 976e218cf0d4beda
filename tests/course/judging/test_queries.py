"""Dev worlds and hidden worlds of the course."""

import pytest

from landmark.course import runs
from landmark.course.answers import truth_of
from landmark.course.judging import queries
from landmark.data.folder import GoogleLandmarks
from landmark.utils.errors import InputError


def test_dev_worlds_ask_about_the_landmarks_of_the_course(quick):
    """Fails when a dev world shows other landmarks, or other shares of them than the test set, half as many, or images of it."""
    data, dev = runs.course_data(), queries.dev_worlds(2)
    known = set(data.labelled(runs.min_images())["landmark_id"])
    asked = set()
    for world in (data, *dev):
        truth = truth_of(world)
        kinds = [
            sum(bool(known.intersection(shown)) for shown in truth.values()),
            sum(not shown for shown in truth.values()),
        ]
        assert kinds == ([10, 6] if world is data else [5, 3]) and not asked & truth.keys()
        asked |= truth.keys()
    assert [world.root for world in queries.dev_worlds(1)] == [dev[0].root], "made once"


def test_a_hidden_world_keeps_its_solution(quick):
    """Fails when the solution lies in the folder that a reader gets, or the one worked out is not that of its images."""
    folder = queries.hidden_world(4)
    assert folder == queries.hidden_folder(4) and not list(folder.glob("*solution*"))
    truth, labels = queries.hidden_truth(4)
    assert sorted(truth) == sorted(GoogleLandmarks(folder).test["id"])
    assert sorted(labels) == sorted(set(runs.course_data().labelled(runs.min_images())["landmark_id"]))
    assert not truth.keys() & queries.hidden_truth(5)[0].keys()
    with pytest.raises(InputError, match="holds a world of other settings"):
        queries.hidden_world(5, folder)


def test_what_cannot_be_made(quick, monkeypatch, tmp_path):
    """Fails when a dev world can be a hidden one, or the miniature answers for the real data set."""
    for count in (0, queries.HIDDEN):
        with pytest.raises(InputError, match=f"{count} dev worlds"):
            queries.dev_worlds(count)
    for seed in (-1, 10_000):
        with pytest.raises(InputError, match=f"hidden world {seed}"):
            queries.hidden_world(seed)
    monkeypatch.setenv("LANDMARK_GLDV2", str(tmp_path))
    for make in (queries.dev_worlds, queries.hidden_world, queries.hidden_truth):
        with pytest.raises(InputError, match="folders of your own"):
            make()
