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
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes")


def _synth(args: argparse.Namespace) -> int:
    config = WorldConfig(**{field.name: getattr(args, field.name) for field in fields(WorldConfig)})
    from landmark.world.make import make_world

    path = make_world(args.out, config, workers=args.workers)
    print(f"{path}: {config.landmarks} landmarks; train with --min-images {config.min_images}")
    return 0


VERBS = {"synth": ("make a miniature world in the GLDv2 layout", _add_synth, _synth)}
