"""Settings of a frozen dataclass, each written in one place: its type, default, meaning and limits."""

from __future__ import annotations

import dataclasses
import math
from numbers import Integral
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from landmark.utils.errors import InputError

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


def setting(
    default: object, meaning: str, *, least: float | None = None, most: float | None = None,
    above: float | None = None, below: float | None = None,
) -> Any:  # fmt: skip
    """Describe a field of a dataclass.

    Args:
        default: its value when left out.
        meaning: what it decides, for the docstring and for the help of the command.
        least, most: limits of a number, which it may reach.
        above, below: limits of a number, which it may not reach.
    """
    limits = {"least": least, "most": most, "above": above, "below": below}
    return dataclasses.field(default=default, metadata={"meaning": meaning} | limits)


def types_of(settings: type) -> dict[str, tuple[type, ...]]:
    """Types that each setting of a dataclass may have.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Walk:
    ...     steps: "int | None" = setting(None, "in all", least=1)
    >>> types_of(Walk)
    {'steps': (<class 'int'>, <class 'NoneType'>)}
    """
    return {name: get_args(hint) or (hint,) for name, hint in get_type_hints(settings).items()}


def check_settings(settings: Any) -> None:
    """Refuse values that cannot be meant; NumPy's whole numbers become Python's, which JSON can hold.

    Texts are for the dataclass itself to check.

    Raises:
        InputError: names the setting, its value and what it may be.
    """
    types = types_of(type(settings))
    for field in dataclasses.fields(settings):
        value, kinds = getattr(settings, field.name), types[field.name]
        if str in kinds and (isinstance(value, str) or int not in kinds) or value is None and type(None) in kinds:
            continue
        if bool in kinds:
            sound, wanted = isinstance(value, bool), "true or false"
        elif int in kinds:
            sound, wanted = isinstance(value, Integral) and not isinstance(value, bool), "a whole number"
        else:
            sound = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            wanted = "a finite number"
        limits = field.metadata
        if not sound or not _within(value, limits):
            raise InputError(f"{field.name}={value!r}: give {wanted}{_words(limits)}")
        if int in kinds:
            object.__setattr__(settings, field.name, int(value))


def _within(value: float, limits: Any) -> bool:
    low, high, above, below = (limits.get(name) for name in ("least", "most", "above", "below"))
    return not (
        (low is not None and value < low) or (high is not None and value > high)
        or (above is not None and value <= above) or (below is not None and value >= below)
    )  # fmt: skip


def _words(limits: Any) -> str:
    """Limits in words, "" where there are none."""
    low, high, above, below = (limits.get(name) for name in ("least", "most", "above", "below"))
    if low is not None:
        return f" of at least {low}" if high is None else f" from {low} to {high}"
    if above is not None and high is not None:
        return f" above {above}, at most {high}"
    if above is not None:
        return f" above {above}" if below is None else f" between {above} and {below}"
    return ""


def documented(settings: type[T]) -> type[T]:
    """Add to the docstring of a dataclass what its settings say of themselves, as `Args:`."""
    lines = [f"    {field.name}: {field.metadata['meaning']}" for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    settings.__doc__ = (settings.__doc__ or "").replace("{settings}", "Args:\n" + "\n".join(f"    {x}" for x in lines))
    return settings
