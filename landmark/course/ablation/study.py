"""Train an ablation's runs, score them, and compare each variant with the base."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from landmark.course.ablation.table import BASE, Table, Variant, read_table
from landmark.course.answers import truth_of
from landmark.course.judging.evaluate import evaluate_runs
from landmark.course.runs import course_data
from landmark.course.together import fit_all
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.hits import Ranking
from landmark.evaluation.report.resamples import compare_pairs, resample
from landmark.evaluation.report.results import System
from landmark.evaluation.report.summary import RANKED
from landmark.training.run import Run, fingerprint
from landmark.utils.device import describe
from landmark.utils.errors import file_errors
from landmark.utils.files import atomic_path, write_json

SCORES = ("gap", "gap_closed", "auroc", "top1")  # of a run on the test set
COMPARED = ("gap", "gap_closed")
CSV, CARD = "ablation.csv", "ablation.json"


@dataclass(frozen=True)
class Study:
    """What an ablation found.

    Args:
        rows: one for each run of each variant, as in the CSV.
        summary: one for each variant: means over its seeds; for "gap" and "gap_closed" the difference from the base on
            the same images and seeds, and its interval; the chance of such a one by luck, corrected by Holm.
        out: folder of the runs, the CSV and the card.
    """

    rows: pd.DataFrame
    summary: pd.DataFrame
    out: Path

    def lines(self) -> list[str]:
        """Tell the summary as lines of text."""
        told = []
        for row in self.summary.to_dict("records"):
            line = {"setting": row["setting"], "value": row["value"], "seeds": row["seeds"]}
            line |= {name: f"{row[name]:.4f}" for name in ("dev_gap", *SCORES)}
            for score in COMPARED:
                difference, low, high = (row[f"{score}_{part}"] for part in ("difference", "low", "high"))
                line[f"{score} − base"] = f"{difference:+.4f} ({low:+.4f} to {high:+.4f})"
            told.append(line | {"p": f"{row['p_holm']:.3f}"})
        table = pd.DataFrame(told)
        of_base = (table["setting"] == BASE) | self.summary["same"]
        table.loc[of_base, [f"{score} − base" for score in COMPARED] + ["p"]] = ""
        return [*table.to_string(index=False).splitlines(), f"{self.out / CSV}, {self.out / CARD}"]


@file_errors()
def ablate(table: str | Path | Table, *, n: int = 1000) -> Study:
    """Train the runs of an ablation that are not finished, and compare each variant with the base.

    Each run is a folder of its own in `out`: stopped, the same call goes on. `ablation.csv` has a row for each run, and
    `ablation.json` beside it tells how it came about.

    Args:
        table: a TOML file, see `read_table`, or what it was read to.
        n: resamples of the test images, each with a draw of the seeds.

    Raises:
        InputError: as `read_table`, `fit` and `evaluate_runs`; another ablation's run stands in the place of one.
        KeyboardInterrupt: asked to stop; every run has saved its state.
    """
    name = "TABLE.toml" if isinstance(table, Table) else Path(table).name
    table = table if isinstance(table, Table) else read_table(table)
    data = course_data() if table.data is None else GoogleLandmarks(table.data)
    truth_of(data)  # a test set that cannot be scored is found out now
    jobs = {folder: config for variant in table.variants for config, folder in map(variant.run, table.seeds)}
    machines = _machines(table.out, list(jobs))
    card = {
        "command": f"landmark ablate {name}", "base": asdict(table.variants[0].config), "vary": table.vary,
        "seeds": table.seeds, "world": _world(data, table.variants[0].config.min_images),
        "machines": machines,
    }  # fmt: skip
    table.out.mkdir(parents=True, exist_ok=True)
    write_json(table.out / CARD, card)  # before: whoever goes on elsewhere can tell where each run was trained
    found = fit_all([(config, data.root, table.out / folder) for folder, config in jobs.items()])
    runs = dict(zip(jobs, found, strict=True))
    report = evaluate_runs([run.path for run in found], data, shares=(), n=1)  # its own intervals are not asked for
    scores = {folder: system for folder, system in zip(jobs, report.runs, strict=True)}
    tables = {folder: report.tables[str(run.path)] for folder, run in runs.items()}
    rows = pd.DataFrame([
        _row(variant, seed, runs[variant.run(seed)[1]], scores[variant.run(seed)[1]], machines)
        for variant in table.variants for seed in table.seeds
    ])  # fmt: skip
    with atomic_path(table.out / CSV) as part:
        rows.to_csv(part, index=False, lineterminator="\n")
    summary = _summary(rows, table, compare(tables, [_folders(variant, table.seeds) for variant in table.variants], n))
    write_json(table.out / CARD, card | {"resamples": n, "notes": report.notes,
                                         "summary": json.loads(summary.to_json(orient="records"))})  # fmt: skip
    return Study(rows, summary, table.out)


def _folders(variant: Variant, seeds: Sequence[int]) -> list[str]:
    return [variant.run(seed)[1] for seed in seeds]


def _world(data: GoogleLandmarks, min_images: int) -> dict[str, Any]:
    """What tells the data from others: how a world was made, else what its labels are."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((data.root / "world.json").read_text()))
    return {"folder": data.root.name, **fingerprint(data.labelled(min_images))}


def _machines(out: Path, folders: Sequence[str]) -> dict[str, str]:
    """The machine of each run: this one for those that are not finished."""
    before: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError, KeyError):
        before = json.loads((out / CARD).read_text())["machines"]
    here = f"{platform.machine()}, {describe()}"
    return {x: before.get(x, "") if (out / x / "result.json").exists() else here for x in folders}


def _row(variant: Variant, seed: int, run: Run, system: System, machines: Mapping[str, str]) -> dict[str, Any]:
    last = run.metrics.iloc[-1]
    return {
        "setting": variant.setting, "value": str(variant.value), "seed": seed, "run": run.path.name,
        "image_passes": round(last["epoch"] * run.result["train_images"]), "steps": int(last["step"]),
        "dev_gap": run.result["dev_gap"], **{name: system.scores[name].value for name in SCORES},
        "seconds": round(run.result["seconds"], 1), "machine": machines[run.path.name],
    }  # fmt: skip


def compare(
    tables: Mapping[str, Answers], groups: Sequence[Sequence[str]], n: int = 1000, level: float = 0.95
) -> list[dict[str, float]]:
    """Compare groups of runs with the first group, seed by seed, on resampled images.

    The i-th runs of two groups share seed and split, so that their difference has less of the luck of both. It is
    resampled over images, the same for all runs, and over seeds.

    Args:
        tables: name of a run → its answers, all to the same images in the same order.
        groups: names of the runs of each, as many in each.
        n: resamples.
        level: of the intervals.

    Returns:
        For each group `<score>_difference`, `<score>_low` and `<score>_high` of `COMPARED`, and `p_holm`, the chance of
        the first one corrected for all groups but the first and what is the same as it.

    >>> right, half = Answers([0.9, 0.8], [True, True], [0, 0]), Answers([0.9, 0.8], [True, False], [0, 0])
    >>> compare({"a": right, "b": half}, [["a"], ["b"]], n=9)[1]["gap_difference"]
    -0.5
    """
    rankings = {name: Ranking(answers) for name, answers in tables.items()}

    def measure(counts: np.ndarray) -> dict[str, np.ndarray]:
        hits = {name: ranking.hits(counts) for name, ranking in rankings.items()}
        return {
            f"{score}\n{tag}": np.stack([RANKED[score](hits[name]) for name in group], axis=1)
            for score in COMPARED for tag, group in zip(tags, groups, strict=True)
        }  # fmt: skip

    tags = [str(groups.index(group)) for group in groups]  # what is the same as the base has its tag
    kind = next(iter(tables.values())).kind
    here, drawn = measure(np.ones((1, len(kind)), np.int32)), resample(kind, measure, n)
    rows: list[dict[str, float]] = [{} for _ in groups]
    for score in COMPARED:
        pairs = [(f"{score}\n{tag}", f"{score}\n{tags[0]}") for tag in tags]
        compared = compare_pairs(here, drawn, pairs, seed=range(len(pairs)), level=level)
        for row, found in zip(rows, compared, strict=True):
            row |= {f"{score}_{part}": getattr(found, part) for part in ("difference", "low", "high")}
            row.setdefault("p_holm", found.p_holm)
    return rows


def _summary(rows: pd.DataFrame, table: Table, compared: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """Means over seeds, and the differences from the base."""
    size = len(table.seeds)
    return pd.DataFrame([
        {"setting": variant.setting, "value": str(variant.value), "seeds": size, "same": variant.name == BASE}
        | rows[number * size : (number + 1) * size][["dev_gap", *SCORES]].mean().to_dict() | dict(difference)
        for number, (variant, difference) in enumerate(zip(table.variants, compared, strict=True))
    ])  # fmt: skip
