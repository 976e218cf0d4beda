"""The verb that makes a miniature world."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from landmark.cli.flags import add_settings
from landmark.utils.process import usable_cpus
from landmark.world.config import WorldConfig


def _add_synth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="new folder")
    add_settings(parser, WorldConfig())
    queries = "number of another test set of this world, with other photographs, unknown landmarks and distractors"
    parser.add_argument("--queries", type=int, default=0, help=f"{queries}, and no train images; 0 for the world")
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes")


def _synth(args: argparse.Namespace) -> int:
    config = WorldConfig(**{field.name: getattr(args, field.name) for field in fields(WorldConfig)})
    from landmark.world.make import make_world

    path = make_world(args.out, config, queries=args.queries, workers=args.workers)
    use = "evaluate on it" if args.queries else f"train with --min-images {config.min_images}"
    print(f"{path}: {config.landmarks} landmarks; {use}")
    return 0


VERBS = {"synth": ("make a miniature world in the GLDv2 layout", _add_synth, _synth)}
