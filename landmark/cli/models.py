"""The verb that lists the models."""

from __future__ import annotations

import argparse

from landmark.models.recipes import POOLINGS, recipe


def _add_models(parser: argparse.ArgumentParser) -> None:
    """No flags."""


def _models(args: argparse.Namespace) -> int:
    from landmark.models.net import embedding_sizes

    sizes = embedding_sizes()
    for name, size in sizes.items():
        print(f"{name:{max(map(len, sizes))}}  embedding {size:5}  {POOLINGS[recipe(name)[1]]}")
    return 0


VERBS = {"models": ("list the models", _add_models, _models)}
