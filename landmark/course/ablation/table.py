"""What an ablation changes: a base, and values of some settings, read from a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from landmark.course.runs import course_config
from landmark.models.backbones import create_backbone, split_stages
from landmark.models.recipes import backbone_of
from landmark.training.config import TrainConfig
from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import runs_root

BASE = "base"
PARTS = ("base", "vary", "seeds", "data", "out")
OTHERS = {  # settings that cannot be varied, and why
    "seed": "it is what `seeds` lists",
    "bad_limit": "it changes nothing that is learnt",
    "min_images": "it decides which landmarks there are to be known, and GAP of other landmarks is another measure",
    "clean": "it decides which landmarks there are to be known, and GAP of other landmarks is another measure",
}


@dataclass(frozen=True)
class Variant:
    """The base with one setting changed, or the base itself; its runs differ in their seed alone.

    Args:
        setting: the name of what is changed; "base" of the base.
        value: what it is changed to, "" of the base.
        config: the settings of the first seed's run.
        name: of its runs' folders, before the seed.
    """

    setting: str
    value: Any
    config: TrainConfig
    name: str

    def run(self, seed: int) -> tuple[TrainConfig, str]:
        """Settings and folder's name of a run."""
        return replace(self.config, seed=seed), f"{self.name}-seed{seed}"


@dataclass(frozen=True)
class Table:
    """A whole ablation; the base is the first variant, and a value that is the base's has the base's runs.

    Args:
        variants: in the order of the file.
        seeds: of the runs of each.
        given: the settings that the file's base names; the others are the course's.
        vary: setting → values.
        data: folder of the data; None for that of the course.
        out: folder of the runs and of what is found.
    """

    variants: list[Variant]
    seeds: list[int]
    given: dict[str, Any]
    vary: dict[str, list]
    data: Path | None
    out: Path


@file_errors()
def read_table(path: str | Path) -> Table:
    """Read an ablation from a TOML file; every run's settings are checked before any is trained.

    Its parts: `[base]`, settings of `TrainConfig`, of which the course's are the defaults; `[vary]`, a list of values
    for each setting that is changed, one at a time; `seeds`, [0, 1, 2] when left out; `data`, a folder in the GLDv2
    layout, the course's when left out; `out`, a folder, `ablation-<name>` among the runs when left out.

    Raises:
        InputError: a file that cannot be read, a part or setting that is none, or a value that cannot be meant.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from None
    try:
        return _table(content, runs_root() / f"ablation-{path.stem}")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _table(content: Mapping[str, Any], out: Path) -> Table:
    """Make a table of what a file holds."""
    _check_names(content, PARTS, "part of a table")
    base, vary, seeds = content.get("base", {}), content.get("vary", {}), content.get("seeds", [0, 1, 2])
    for part, value in (("base", base), ("vary", vary)):
        if not isinstance(value, dict):
            raise InputError(f"{part} is not a section: write [{part}] above its settings")
    _check_names({**base, **vary}, [field.name for field in fields(TrainConfig)], "training setting")
    for name in vary.keys() & OTHERS.keys() | base.keys() & {"seed"}:
        raise InputError(f"{name} cannot be {'set' if name in base else 'varied'}: {OTHERS[name]}")
    for name, values in {**vary, "seeds": seeds}.items():
        if not isinstance(values, list) or not values or any(values.count(value) > 1 for value in values):
            raise InputError(f"{name} = {values!r}: give a list of different values")
    if not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds):
        raise InputError(f"seeds = {seeds!r}: give whole numbers of at least 0")
    for name in ("data", "out"):
        if not isinstance(content.get(name, ""), str):
            raise InputError(f"{name} = {content[name]!r}: give the path of a folder, in quotes")
    given = dict(base)
    if any(isinstance(freeze, int) for freeze in [base.get("freeze"), *vary.get("freeze", [])]):
        given = {"views": 0, "int8": False} | given  # these are for stages alone, and all runs must be alike
    return Table(_variants(given, vary), seeds, base, vary, Path(content["data"]) if "data" in content else None,
                 Path(content.get("out", out)))  # fmt: skip


def _check_names(found: Collection[str], known: Sequence[str], what: str) -> None:
    for name in found:
        if name not in known:
            raise InputError(f"no such {what}: {name}: choose of {', '.join(known)}")


def _variants(base: Mapping[str, Any], vary: Mapping[str, list]) -> list[Variant]:
    """The base and what it is changed to."""
    variants = [Variant(BASE, "", _config(base), BASE)]
    for setting, values in vary.items():
        for value in values:
            try:
                config = _config({**base, setting: value})
            except InputError as error:
                raise InputError(f"{setting} = {value!r}: {error}") from None
            same = config == variants[0].config
            variants.append(Variant(setting, value, config, BASE if same else _name(setting, value)))
    names = [variant.name for variant in variants if variant.name != BASE]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two values would have the folder {name}: choose values that differ in more than signs")
    return variants


def _config(settings: Mapping[str, Any]) -> TrainConfig:
    """Settings of a run: those given, and for the rest the course's of this model."""
    course = asdict(course_config(settings.get("model", TrainConfig().model)))
    if settings.keys() & {"epochs", "steps"}:
        course |= {"epochs": None, "steps": None}
    config = TrainConfig.of(course | dict(settings))
    if isinstance(config.freeze, str):  # a stage that the backbone lacks is found out now, not hours later
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            split_stages(create_backbone(backbone_of(config.model)), config.freeze)
    return config


def _name(setting: str, value: Any) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", f"{setting}-{value}")
