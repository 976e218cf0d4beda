"""All scores of several systems on the same images, with intervals, and their paired differences."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from landmark.evaluation.report import calibration, hits, open_set, risk
from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.resamples import Difference, Interval, compare_pairs, interval, over_seeds, resample
from landmark.evaluation.report.results import Evaluation, System
from landmark.utils.errors import InputError

SHARES = (0.0, 0.6, 0.9, 0.983)
"""Shares of distractors at which GAP is reported: none, few, many, and that of the 2019 test set."""
RANKED: dict[str, Callable[[hits.Hits], np.ndarray]] = {
    "gap": hits.gap,
    "gap_closed": lambda ranked: hits.gap(ranked, closed=True),
    "top1": hits.top1,
    "auroc": open_set.auroc,
    "auroc_wrong": lambda ranked: open_set.auroc(ranked, ["wrong"]),
    "auroc_unknown": lambda ranked: open_set.auroc(ranked, ["unknown"]),
    "auroc_distractor": lambda ranked: open_set.auroc(ranked, ["distractor"]),
    "fpr95": open_set.false_positives,
    "oscr": open_set.oscr_area,
    "aurc": risk.aurc,
    "augrc": risk.augrc,
}
"""The scores that depend on the ranking alone, by name; `gap_private`, `ece` and `brier` come beside them."""
PRECISION = 0.9  # wanted of the answers given


class _Scorer:
    """All scores of one system, ready for the counts of any resamples."""

    def __init__(self, answers: Answers, private: np.ndarray | None, shares: Sequence[float]):
        self._all, self._calibration = hits.Ranking(answers), calibration.Calibration(answers)
        self._private = None if private is None else hits.Ranking(answers, private)
        self._shares, known = shares, answers.kind == 0
        parts = sorted({str(part) for part in answers.group[known] if part != ""}) if len(answers.group) else []
        self._parts = {part: hits.Ranking(answers, known & (answers.group == part)) for part in parts}

    def __call__(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        ranked = self._all.hits(counts)
        scores = {name: measure(ranked) for name, measure in RANKED.items()}
        scores["gap_private"] = np.full(len(counts), np.nan)
        if self._private is not None:
            scores["gap_private"] = hits.gap(self._private.hits(counts))
        scores["ece"], scores["brier"] = self._calibration.errors(counts)
        scores |= {f"gap@{share:g}": hits.gap(ranked, share=share) for share in self._shares}
        for part, ranking in self._parts.items():
            inside = ranking.hits(counts)
            scores |= {f"gap of {part}": hits.gap(inside), f"top1 of {part}": hits.top1(inside)}
        return scores


def evaluate(
    tables: Mapping[str, Answers],
    *,
    private: np.ndarray | None = None,
    models: Mapping[str, Sequence[str]] | None = None,
    calibration_tables: Mapping[str, Answers] | None = None,
    rescored: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    shares: Sequence[float] = SHARES,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Score systems on the same images, with bootstrap intervals, and compare each pair of them.

    Resamples are drawn once, within known queries, unknown landmarks and distractors, and shared by all systems and
    scores. What is not defined is NaN: GAP of a split without a landmark, a share of distractors without any, AUROC
    without a right or another answer, ECE and Brier of scores that are no probabilities.

    Args:
        tables: name of a run → its answers, all to the same images in the same order.
        private: (N,) bool, the rows of the private split; `gap_private` is NaN without.
        models: name of a model → its runs, which differ in their seed: scored together, seeds resampled as well.
        calibration_tables: name of a run → its answers to other images, on which maps and thresholds are fitted.
        rescored: name of a run → name of a map → (N,) scores of the same answers by a map that needs more than the
            score and was fitted elsewhere, such as a temperature of the logits; for ECE and Brier beside the others.
        shares: of distractors at which GAP is reported, 0 to 1.
        n: resamples.
        level: of the intervals.
        seed: of the resamples.

    Raises:
        InputError: no run, or runs whose images differ.

    >>> table = Answers([0.9, 0.8, 0.1, 0.7], [True, True, False, False], [0, 0, 1, 2])
    >>> report = evaluate({"a": table, "b": table}, n=20)
    >>> report.runs[0].scores["gap"].value == report.ceiling, report.to_dict()["paired"][0]["difference"]
    (True, 0.0)
    """
    if not tables:
        raise InputError("nothing to evaluate: give a run or a submission")
    first = next(iter(tables.values()))
    for name, table in tables.items():
        if not np.array_equal(table.kind, first.kind) or not np.array_equal(table.ids, first.ids):
            raise InputError(f"{name}: answers to other images, or of another label set, than {next(iter(tables))}")
    scorers = {name: _Scorer(table, private, shares) for name, table in tables.items()}

    def measure(counts: np.ndarray) -> dict[str, np.ndarray]:
        scores = {name: scorer(counts) for name, scorer in scorers.items()}
        return {f"{name}\n{score}": values for name in scores for score, values in scores[name].items()}

    def columns(measured: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
        return {key.partition("\n")[2]: values for key, values in measured.items() if key.startswith(f"{name}\n")}

    here, drawn = measure(np.ones((1, len(first)), np.int32)), resample(first.kind, measure, n, seed)
    values = {name: columns(here, name) for name in tables}
    samples = {name: columns(drawn, name) for name in tables}
    runs = [_intervals(name, values[name], samples[name], shares, level) for name in tables]
    paired = {
        score: _differences(list(tables), score, values, samples, level)
        for score in ("gap", "gap_closed", *(f"gap@{share:g}" for share in shares))
    }
    together = []
    if models and any(len(members) > 1 for members in models.values()):
        for model, members in models.items():
            scores, own = list(values[members[0]]), (seed, zlib.crc32(model.encode()))  # whatever else is in the table
            values[model] = {s: np.mean([values[run][s] for run in members], axis=0) for s in scores}
            samples[model] = {s: over_seeds(np.stack([samples[run][s] for run in members], 1), own) for s in scores}
            together.append(_intervals(model, values[model], samples[model], shares, level, len(members)))
        for score in ("gap", "gap_closed"):
            paired[f"model {score}"] = _differences(list(models), score, values, samples, level)
    fitted = {name: (tables[name], table) for name, table in (calibration_tables or {}).items() if name in tables}
    return Evaluation(
        runs, together, paired, first.images(), first.ceiling(), n, level,
        {name: calibrate(*pair, (rescored or {}).get(name, {})) for name, pair in fitted.items()},
        {name: answer_only_if(*pair, shares) for name, pair in fitted.items()}, dict(tables),
    )  # fmt: skip


def _intervals(
    name: str,
    values: Mapping[str, np.ndarray],
    samples: Mapping[str, np.ndarray],
    shares: Sequence[float],
    level: float,
    seeds: int = 1,
) -> System:
    intervals = {score: interval(float(values[score][0]), samples[score], level) for score in values}
    at = {share: intervals.pop(f"gap@{share:g}") for share in shares}
    parts: dict[str, dict[str, Interval]] = {}
    for score in [score for score in intervals if " of " in score]:
        kind, _, part = score.partition(" of ")
        parts.setdefault(part, {})[kind] = intervals.pop(score)
    return System(name, intervals, at, parts, seeds)


def _differences(
    names: Sequence[str],
    score: str,
    values: Mapping[str, Mapping[str, np.ndarray]],
    samples: Mapping[str, Mapping[str, np.ndarray]],
    level: float,
) -> list[Difference]:
    """Compare each pair of systems, in their order, on shared resamples."""
    here, drawn = ({name: scores[name][score][:, None] for name in names} for scores in (values, samples))
    return compare_pairs(here, drawn, list(combinations(names, 2)), level=level)


def calibrate(
    answers: Answers, fitted_on: Answers, rescored: Mapping[str, np.ndarray] | None = None
) -> dict[str, dict[str, float]]:
    """Compute ECE and Brier before and after maps that were fitted on other answers: map → ece, brier.

    Args:
        answers: that are reported.
        fitted_on: to other images; Platt's and the isotonic map are fitted on them.
        rescored: name → (N,) scores of `answers` by a map that was fitted elsewhere.

    Raises:
        InputError: answers to fit on that are all right or all wrong.
    """
    score, correct = fitted_on.score[fitted_on.answered], fitted_on.correct[fitted_on.answered]
    maps: dict[str, calibration.Map] = {
        "as it is": lambda values: values,
        "Platt": calibration.fit_platt(score, correct),
        "isotonic": calibration.fit_isotonic(score, correct),
    }
    errors, once = {}, np.ones((1, len(answers)), np.int32)
    mapped = {name: apply(answers.score[answers.answered]) for name, apply in maps.items()}
    mapped |= {name: scores[answers.answered] for name, scores in (rescored or {}).items()}
    for name, values in mapped.items():
        scores = answers.score.copy()
        scores[answers.answered] = values
        table = calibration.Calibration(Answers(scores, answers.correct, answers.kind))
        errors[name] = {error: float(x[0]) for error, x in zip(("ece", "brier"), table.errors(once), strict=True)}
    return errors


def answer_only_if(
    answers: Answers, fitted_on: Answers, shares: Sequence[float] = SHARES, precision: float = PRECISION
) -> list[dict[str, Any]]:
    """Choose thresholds on other answers, and report what they do here: as it is (share None), then at each share.

    The rules: the plain threshold for a precision, the certified one, and conformal control of the share of wrong
    answers at 1 − precision; see `risk`.
    """
    thresholds = {
        f"precision {precision:.0%}, plain": risk.plain_threshold(fitted_on, precision),
        f"precision {precision:.0%}, certified": risk.certified_threshold(fitted_on, precision),
        f"risk {1 - precision:.0%}, conformal": risk.risk_threshold(fitted_on, 1 - precision),
    }
    places = [None, *(share for share in shares if share < 1)]
    return [
        {"rule": rule, "threshold": threshold,
         "at": [{"share": share} | risk.operate(answers, threshold, share)._asdict() for share in places]}
        for rule, threshold in thresholds.items()
    ]  # fmt: skip
