"""Benchmarks at the smallest size, in this process."""

import contextlib

import pytest

from landmark.course.bench import recipes, speed


class Here(contextlib.AbstractContextManager):
    """A thing in this process, where tests have made everything small."""

    def __init__(self, make, *args):
        self.thing = make(*args)

    def ask(self, function, *args):
        return function(self.thing, *args)

    def __exit__(self, *error):
        pass


@pytest.fixture
def small(monkeypatch):
    """A few small files, a small network, no child process."""
    monkeypatch.setattr(recipes, "FILES", 8)
    monkeypatch.setattr(recipes, "WORKERS", 0)
    monkeypatch.setattr(recipes, "CLASSES", 20)
    monkeypatch.setattr(speed, "Apart", Here)
