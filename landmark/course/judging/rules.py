"""The table of rules: which score tells right answers from others, chosen on dev worlds, reported on the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from landmark.course.answers import test_predictions, truth_of
from landmark.course.judging.evaluate import leak_notes
from landmark.course.judging.fitted import KEEP, fit_rules
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.confidence import DEFAULT, RULES, Rule
from landmark.evaluation.report import hits, open_set
from landmark.evaluation.report.answers import Answers, tabulate
from landmark.evaluation.report.resamples import compare_pairs, interval, over_seeds, resample
from landmark.evaluation.report.summary import SHARES
from landmark.models.recipes import BINARY
from landmark.training.run import Run
from landmark.utils.errors import InputError

AGAINST = open_set.OTHERS
SURE = 0.05  # of a corrected p-value
_BOUNDS = ("value", "low", "high")
_APART = ("difference", "difference_low", "difference_high", "p_holm")


@dataclass(frozen=True)
class RulesTable:
    """Rules of confidence compared on the same answers, and what was chosen.

    Args:
        dev: a row for each rule and score: value, low, high, and the difference to softmax with its interval and
            p_holm, corrected for all rules of that score. On the dev worlds, pooled.
        test: the same on the test set.
        verdicts: a row for each score: the rule that is best on the dev worlds, its difference to softmax there,
            whether it is `crowned`, and its difference on the test set.
        fitted: temperature and k of each run.
    """

    dev: pd.DataFrame
    test: pd.DataFrame
    verdicts: pd.DataFrame
    fitted: pd.DataFrame

    def show(self, where: str = "test") -> pd.DataFrame:
        """Lay out rules × scores as text, "value (low to high)"; a star where the difference to softmax is not luck.

        Args:
            where: "dev" or "test".
        """
        rows = self.dev if where == "dev" else self.test
        text = [
            "not defined" if np.isnan(row.value)
            else f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f}){'*' if row.p_holm < SURE else ''}"
            for row in rows.itertuples()
        ]  # fmt: skip
        wide = rows.assign(text=text).pivot(index="rule", columns="score", values="text")
        return wide.loc[rows["rule"].unique(), rows["score"].unique()]

    def lines(self) -> list[str]:
        """Say of each score which rule wins, and whether its interval carries it."""
        told = []
        for score, row in self.verdicts.iterrows():
            if not row["winner"]:
                told.append(f"{score}: not defined on the dev worlds")
                continue
            if row["winner"] == DEFAULT:
                told.append(f"{score}: no rule is better than {DEFAULT} on the dev worlds")
                continue
            word = "wins" if row["crowned"] else "is best but not beyond luck, so no rule is crowned:"
            told.append(
                f"{score}: {row['winner']} {word} on the dev worlds, {row['difference']:+.3f} to {DEFAULT} "
                f"({row['difference_low']:+.3f} to {row['difference_high']:+.3f}, p {row['p_holm']:.3f}); on the test "
                f"set {row['test_difference']:+.3f} ({row['test_low']:+.3f} to {row['test_high']:+.3f})"
            )
        return told


def rules_table(
    runs: Sequence[Run],
    data: GoogleLandmarks,
    dev: Sequence[GoogleLandmarks],
    *,
    trained: Mapping[str, Sequence[Run]] | None = None,
    shares: Sequence[float] = SHARES,
    n: int = 1000,
    seed: int = 0,
) -> RulesTable:
    """Compare rules of confidence on the same records: chosen on dev worlds, reported on the test set.

    Temperature and k of each run are fitted on the first dev world. On the others, pooled, the rules are compared: the
    one with the largest value wins a score, and is crowned if its paired difference to softmax has an interval above 0
    and a p-value under 0.05 after Holm's correction for all rules. The test set decides nothing.

    Scores: AUROC of right answers against all others, and against wrong ones, unknown landmarks and distractors, each;
    open GAP at shares of distractors. Larger is better. Several runs are seeds: their mean, seeds resampled as well.
    Runs that were trained another way, as with distractors, stand among the rules under a name of their own.

    Args:
        runs: finished runs of one label set.
        data: with their train images and the test set that is reported.
        dev: two or more test sets to choose on, such as `dev_worlds()`.
        trained: name → runs of another way to train, one for each seed of `runs`. They answer by their own softmax,
            or, where they learnt by binary cross-entropy, by their largest logit.
        shares: of distractors.
        n: resamples; of fewer than 40 for each rule no p-value can be small enough.
        seed: of the resamples.

    Raises:
        InputError: no run, runs of different label sets, another number of `trained` ones or one with the name of a
            rule, fewer than two dev worlds, one that shares images with another or with the test set, or shows no
            landmark of the label set, a run that was trained on what it is asked about, or what `fit_rules` cannot fit.
    """
    if not runs:
        raise InputError("no run to compare rules on")
    ways = dict(trained or {})
    for name, some in ways.items():
        if len(some) != len(runs):
            raise InputError(f"{name}: {len(some)} runs beside {len(runs)}: give one for each seed")
    if len(dev) < 2:
        raise InputError(f"{len(dev)} dev worlds: one to fit rules on and at least one to choose among them are needed")
    every = [*runs, *(run for some in ways.values() for run in some)]
    for run in every[1:]:
        try:
            runs[0].labels.check_same(run.labels)
        except InputError as error:
            raise InputError(f"{runs[0].path} and {run.path}: {error}: compare runs of one label set") from None
    asked: dict[str, str] = {}
    for world in (*dev, data):
        leak_notes({str(run.path): run for run in every}, world, truth_of(world), allow=False)
        if both := sorted(asked.keys() & truth_of(world).keys()):
            raise InputError(
                f"{world.root}: its image {both[0]} is one of {asked[both[0]]} too: choose on other images"
            )
        asked |= dict.fromkeys(truth_of(world), str(world.root))
    known = set(runs[0].labels.landmark_ids)
    for world in dev:
        if not any(known.intersection(shown) for shown in truth_of(world).values()):
            raise InputError(f"{world.root}: no test image shows a landmark of the label set of {runs[0].path}")
    fitted = [fit_rules(run, data, dev[0]) for run in runs]
    rules = [one.rules() for one in fitted]
    names = [name for name in rules[0] if all(name in some for some in rules)]
    if taken := sorted(ways.keys() & names):
        raise InputError(f"{taken[0]} is the name of a rule: give the runs that were trained another way another one")
    systems = {name: [(run, some[name]) for run, some in zip(runs, rules, strict=True)] for name in names}
    systems |= {name: [(run, RULES[_own_rule(run)]) for run in some] for name, some in ways.items()}
    dev_rows, test_rows = (
        _compared({name: [_answers(run, rule, worlds) for run, rule in some] for name, some in systems.items()},
                  shares, n, seed)
        for worlds in (dev[1:], [data])
    )  # fmt: skip
    return RulesTable(
        dev_rows, test_rows, _verdicts(dev_rows, test_rows),
        pd.DataFrame([{"run": str(run.path), "temperature": one.temperature, "k": one.k, "penalised k": one.penalised_k}
                      for run, one in zip(runs, fitted, strict=True)]),
    )  # fmt: skip


def _own_rule(run: Run) -> str:
    """The rule that a run's loss taught: sigmoids of single logits know no sum over classes."""
    return "logit" if run.config.loss in BINARY else DEFAULT


def _answers(run: Run, rule: Rule, worlds: Sequence[GoogleLandmarks]) -> Answers:
    """Lay the answers of a run to some test sets one after the other."""
    parts = []
    for world in worlds:
        record, truth = test_predictions(run, world, KEEP), truth_of(world)
        mapping = record.mapping(run.labels, rule(record))
        made = {image_id: answer for image_id, answer in mapping.items() if image_id in truth}
        parts.append(tabulate(made, truth, run.labels.landmark_ids, name=f"{run.path} on {world.root}"))
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("score", "correct", "kind", "ids")]
    return Answers(*columns)


def _compared(tables: Mapping[str, Sequence[Answers]], shares: Sequence[float], n: int, seed: int) -> pd.DataFrame:
    """Score each rule on all runs, with intervals and paired differences to softmax."""
    rankings = {rule: [hits.Ranking(answers) for answers in some] for rule, some in tables.items()}

    def measure(counts: np.ndarray) -> dict[str, np.ndarray]:
        values: dict[str, list[np.ndarray]] = {}
        for rule, some in rankings.items():
            for ranking in some:
                ranked = ranking.hits(counts)
                scores = {"auroc": open_set.auroc(ranked)}
                scores |= {f"auroc_{other}": open_set.auroc(ranked, [other]) for other in AGAINST}
                scores |= {f"gap@{share:g}": hits.gap(ranked, share=share) for share in shares}
                for score, value in scores.items():
                    values.setdefault(f"{rule}\n{score}", []).append(value)
        return {name: np.stack(columns, axis=1) for name, columns in values.items()}  # (B, runs)

    kind = next(iter(tables.values()))[0].kind
    here, drawn = measure(np.ones((1, len(kind)), np.int32)), resample(kind, measure, n, seed)
    rows = []
    for score in dict.fromkeys(name.partition("\n")[2] for name in here):
        names = {f"{rule}\n{score}": rule for rule in tables}
        apart = compare_pairs(here, drawn, [(name, f"{DEFAULT}\n{score}") for name in names], seed=seed)
        for (name, rule), found in zip(names.items(), apart, strict=True):
            value = interval(float(here[name].mean()), over_seeds(drawn[name], seed))
            rows.append([rule, score, *value, found.difference, found.low, found.high, found.p_holm])
    return pd.DataFrame(rows, columns=["rule", "score", *_BOUNDS, *_APART])


def _verdicts(dev: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Choose the best rule of each score on the dev worlds, and look up what it does on the test set."""
    verdicts = {}
    for score, rows in dev.groupby("score", sort=False):
        if rows["value"].isna().all():
            verdicts[score] = {"winner": "", "crowned": False}
            continue
        best = rows.loc[rows["value"].idxmax()]  # the first in a tie: softmax where it is one of them
        there = test[(test["rule"] == best["rule"]) & (test["score"] == score)].iloc[0]
        verdicts[score] = (
            {"winner": best["rule"]}
            | {name: best[name] for name in _APART}
            | {"crowned": bool(best["difference_low"] > 0 and best["p_holm"] < SURE)}
            | {f"test_{name.removeprefix('difference_')}": there[name] for name in _APART[:3]}
        )
    columns = ["winner", *_APART, "crowned", "test_difference", "test_low", "test_high"]
    return pd.DataFrame.from_dict(verdicts, orient="index", columns=columns)
