"""What an evaluation found: scores of runs with their intervals, and differences, as JSON and as lines of text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.resamples import Difference, Interval

_LINES = ("gap", "gap_closed", "gap_private", "top1", "auroc", "auroc_wrong", "auroc_unknown", "auroc_distractor",
          "fpr95", "oscr", "aurc", "augrc", "ece", "brier")  # fmt: skip


@dataclass(frozen=True)
class System:
    """The scores of one run, or of several that differ in their seed."""

    run: str
    scores: dict[str, Interval]
    at: dict[float, Interval]  # GAP by share of distractors
    parts: dict[str, dict[str, Interval]]  # closed GAP and top-1 by part of the known queries
    seeds: int = 1


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; `calibrated` and `rules` are empty without a calibration set."""

    runs: list[System]
    models: list[System]
    paired: dict[str, list[Difference]]  # by score: gap, gap_closed, gap@0.6, ...; of models with seeds: model gap, ...
    images: dict[str, int]
    ceiling: float
    resamples: int
    level: float
    calibrated: dict[str, dict[str, dict[str, float]]]  # run → map → ece, brier
    rules: dict[str, list[dict[str, Any]]]  # run → "answer only if": rule, threshold, and what it does at each share
    tables: dict[str, Answers] = field(repr=False)
    mistakes: list[dict[str, Any]] = field(default_factory=list)  # the most confident ones of each run, worst first
    notes: list[str] = field(default_factory=list)  # why scores may be too high, a line each

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON can hold it; what is not defined is None."""
        pairs = {name: [difference._asdict() for difference in rows] for name, rows in self.paired.items()}
        content = {
            "runs": [_system(system) for system in self.runs],
            "paired": pairs["gap"],
            "paired_closed": pairs["gap_closed"],
            "paired_at": [{"share": share} | row for share in self.runs[0].at for row in pairs[f"gap@{share:g}"]],
            "images": self.images,
            "ceiling": self.ceiling,
            "resamples": self.resamples,
            "level": self.level,
            "strata": list(self.images),
        }
        if self.models:
            content["models"] = [_system(system) | {"seeds": system.seeds} for system in self.models]
            content["paired_models"] = pairs["model gap"]
            content["paired_models_closed"] = pairs["model gap_closed"]
        if self.calibrated:
            content |= {"calibrated": self.calibrated, "answer_only_if": self.rules}
        if self.mistakes:
            content["mistakes"] = self.mistakes
        if self.notes:
            content["notes"] = self.notes
        return dict(json_ready(content))

    def lines(self) -> list[str]:
        """Tell the report as lines of text."""
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.images.items())
        lines = [
            f"test images: {counts}; no system with this label set has a GAP over {self.ceiling:.3f}",
            f"{self.level:.0%} intervals from {self.resamples} resamples of the images, drawn within each kind",
        ]
        lines += self.notes
        for name, table in self.tables.items():
            if outside := int(table.outside.sum()):
                lines.append(
                    f"{name}: {outside:,} right answers are outside the label set; the closed scores leave them out"
                )
        for system in [*self.runs, *self.models]:
            seeds = f" ({system.seeds} seeds, resampled as well)" if system.seeds > 1 else ""
            lines += ["", f"{system.run}{seeds}"]
            rows = {name: system.scores[name] for name in _LINES}
            rows |= {f"gap at {share:.1%} distractors": value for share, value in system.at.items()}
            for part, scores in system.parts.items():
                rows |= {f"{name} of {part}": value for name, value in scores.items()}
            lines += [f"  {name:28} {_told(value)}" for name, value in rows.items()]
            for name, errors in self.calibrated.get(system.run, {}).items():
                lines.append(f"  {name:28} ECE {errors['ece']:.4f}, Brier {errors['brier']:.4f}")
            for rule in self.rules.get(system.run, []):
                here = rule["at"][0]
                lines.append(
                    f"  {rule['rule']:28} score ≥ {rule['threshold']:.4f}: precision {here['precision']:.3f}, "
                    f"coverage {here['coverage']:.3f}"
                )
        for name, differences in self.paired.items():
            if differences:
                lines += [
                    "",
                    f"differences of {name}, on the same resamples (p corrected by Holm for {len(differences)})",
                ]
            for d in differences:
                lines.append(f"  {d.a} − {d.b}: {_told(Interval(*d[2:5]), '+')}  p {d.p_holm:.3f}")
        return lines


def _told(value: Interval, sign: str = "") -> str:
    if math.isnan(value.value):
        return "not defined"
    return f"{value.value:{sign}.4f}  ({value.low:{sign}.4f} to {value.high:{sign}.4f})"


def _system(system: System) -> dict[str, Any]:
    parts = [
        {"part": part} | {name: value._asdict() for name, value in scores.items()}
        for part, scores in system.parts.items()
    ]
    content: dict[str, Any] = {"run": system.run}
    content |= {name: value._asdict() for name, value in system.scores.items()}
    content["gap_at"] = [{"share": share} | value._asdict() for share, value in system.at.items()]
    return content | ({"parts": parts} if parts else {})


def json_ready(content: Any) -> Any:
    """Replace NaN and infinity, which JSON does not know, by None.

    >>> json_ready({"gap": [0.5, float("nan")]})
    {'gap': [0.5, None]}
    """
    if isinstance(content, dict):
        return {str(name): json_ready(value) for name, value in content.items()}
    if isinstance(content, list):
        return [json_ready(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
