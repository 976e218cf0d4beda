"""Settings of a dataclass: what each may be, and what it says of itself."""

from dataclasses import dataclass

import numpy as np
import pytest

from landmark.utils.errors import InputError
from landmark.utils.settings import check_settings, documented, setting, types_of


@documented
@dataclass(frozen=True)
class Walk:
    """A walk.

    {settings}
    """

    steps: int = setting(5, "in all", least=1, most=9)
    stops: int | None = setting(None, "of 100 % rest", least=0)
    pace: float = setting(1.0, "metres a second", above=0)
    uphill: float = setting(0.5, "share of it", above=0, below=1)
    slope: float = setting(0.5, "share of it", least=0, most=1)
    load: float = setting(2.0, "kilograms", above=0, most=20)
    until: int | str = setting(3, "a step or a name", least=0)
    dog: bool = setting(False, "comes along")
    name: str = setting("home", "of the place")

    def __post_init__(self):
        check_settings(self)


GOOD = [{}, {"steps": 1}, {"steps": 9}, {"stops": 0}, {"pace": 1e-9}, {"pace": 7}, {"slope": 0}, {"slope": 1},
        {"until": "the inn"}, {"until": 0}, {"dog": True}]  # fmt: skip
BAD = [("steps", 0, "steps=0: give a whole number from 1 to 9"), ("steps", 10, "from 1 to 9"), ("steps", True, "True"),
       ("steps", 2.0, "whole"), ("steps", None, "None"), ("stops", -1, "of at least 0"), ("pace", 0, "finite number above 0"),
       ("pace", float("nan"), "finite"), ("pace", float("inf"), "finite"), ("pace", "1", "finite"), ("uphill", 0, "between 0 and 1"),
       ("uphill", 1, "between 0 and 1"), ("slope", 1.1, "from 0 to 1"),
       ("load", 0, "above 0, at most 20"), ("load", 21, "above 0, at most 20"), ("until", -1, "at least 0"), ("until", 1.5, "whole"),
       ("dog", 1, "dog=1: give true or false"), ("dog", None, "true or false")]  # fmt: skip


@pytest.mark.parametrize("values", GOOD, ids=str)
def test_what_can_be_meant_is_kept(values):
    """Fails when a limit that may be reached is refused, or a value is changed."""
    walk = Walk(**values)
    assert {name: getattr(walk, name) for name in values} == values


@pytest.mark.parametrize(("name", "value", "words"), BAD, ids=str)
def test_what_cannot_be_meant_is_named(name, value, words):
    """Fails when a value out of its limits, or of another type, gets through, or the message does not say which."""
    with pytest.raises(InputError, match=rf"^{name}=.*give .*") as error:
        Walk(**{name: value})
    assert words in str(error.value)


def test_numbers_of_numpy_become_plain():
    """Fails when a setting goes into JSON as a number that JSON does not know."""
    assert type(Walk(steps=np.int64(4)).steps) is int


def test_each_is_written_once():
    """Fails when the docstring lacks a setting, or optional ones are taken for texts."""
    assert "        stops: of 100 % rest\n        pace: metres a second" in Walk.__doc__
    assert types_of(Walk)["until"] == (int, str) and types_of(Walk)["stops"] == (int, type(None))
