"""The quick course of the judging tests: a run, its data and two dev worlds."""

from tests.course.judging.conftest import course, quick, quick_course

__all__ = ["course", "quick", "quick_course"]
