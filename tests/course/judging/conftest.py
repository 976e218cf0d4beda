"""A run of the course in its smallest form, with its data and two dev worlds, trained once."""

import pytest

from landmark.course import runs
from landmark.course.judging import queries
from landmark.world.config import WorldConfig


@pytest.fixture(scope="session")
def quick_course(tmp_path_factory):
    """The folder of a quick course of three landmarks at 32 px."""
    return tmp_path_factory.mktemp("course")


@pytest.fixture
def quick(quick_course, monkeypatch):
    """The course in quick mode, in folders that the tests share."""
    monkeypatch.setenv("LANDMARK_QUICK", "1")
    monkeypatch.delenv("LANDMARK_GLDV2", raising=False)
    for name in ("DATA", "RUNS"):
        monkeypatch.setenv(f"LANDMARK_{name}", str(quick_course / name.lower()))
    monkeypatch.setattr(
        runs, "QUICK_WORLD", WorldConfig(landmarks=3, images=6, test=20, size=32, known=0.5, unknown=0.2)
    )
    settled = runs.course_config

    def course_config(model, **changes):
        return settled(model, **{"weights": "none", "size": 32, "freeze": 0, "views": 0, **changes})

    monkeypatch.setattr(runs, "course_config", course_config)
    return quick_course


@pytest.fixture
def course(quick):
    """A run, the course's data, two dev worlds."""
    return runs.course_run("resnet50"), runs.course_data(), queries.dev_worlds(2)
