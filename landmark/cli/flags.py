"""Flags of the command, from the settings they set."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from typing import Any

from landmark.utils.settings import types_of


def _number_or_name(text: str) -> int | str:
    """A whole number, or a name."""
    return int(text) if text.lstrip("-").isdigit() else text


def add_settings(
    parser: argparse.ArgumentParser, settings: Any, *, silent: bool = False, needed: Collection[str] = (),
    one_of: Collection[str] = (),
) -> None:  # fmt: skip
    """Give a verb a flag for each setting of a dataclass.

    Args:
        parser: of the verb.
        settings: with the values that are the flags' defaults.
        silent: leave settings that are not given out of the result, to tell them from those that are.
        needed: settings that the verb takes no default for.
        one_of: settings of which only one may be given.

    >>> from landmark.world.config import WorldConfig
    >>> parser = argparse.ArgumentParser()
    >>> add_settings(parser, WorldConfig(), silent=True)
    >>> parser.parse_args(["--size", "64", "--pretraining"])
    Namespace(size=64, pretraining=True)
    """
    choice, types = parser.add_mutually_exclusive_group() if one_of else parser, types_of(type(settings))
    for field in dataclasses.fields(settings):
        value, kinds, meaning = getattr(settings, field.name), types[field.name], field.metadata["meaning"]
        shown = meaning.replace("%", "%%")  # argparse fills in a default itself where it knows one
        if silent and field.name not in needed and value is not None and value is not False:
            shown += f" (default: {value})"
        options: dict[str, Any] = {"help": shown, "default": argparse.SUPPRESS if silent else value}
        if bool in kinds:  # what is neither on nor off when left out can be put on and off
            options["action"] = argparse.BooleanOptionalAction if type(None) in kinds else "store_true"
        else:
            options["type"] = _number_or_name if {int, str} <= set(kinds) else kinds[0]
        where = choice if field.name in one_of else parser
        where.add_argument(f"--{field.name.replace('_', '-')}", **options)


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of some flags that were given, by name: what was not has the function's own default.

    >>> given(argparse.Namespace(size=64, repeats=None), "size", "repeats")
    {'size': 64}
    """
    return {name: value for name in names if (value := getattr(args, name)) is not None}
