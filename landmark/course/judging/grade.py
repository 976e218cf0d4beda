"""Grade a submission for a hidden world against the models of the course."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from landmark.course import runs
from landmark.course.judging.queries import hidden_folder, hidden_truth, hidden_world
from landmark.course.tables import PAPER
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.report.answers import Answers, tabulate
from landmark.evaluation.report.resamples import Difference, Interval, holm
from landmark.evaluation.report.results import json_ready
from landmark.evaluation.report.summary import evaluate
from landmark.evaluation.submission import read_submission
from landmark.training.predict_run import predict_table
from landmark.training.run import Run, open_run
from landmark.utils.errors import InputError
from landmark.utils.files import runs_root

YOURS = "your submission"
SCORES = ("gap", "gap_closed", "top1", "auroc")


@dataclass(frozen=True)
class Grade:
    """What a submission scores on a hidden world, beside the models of the course."""

    seed: int
    images: dict[str, int]
    ceiling: float
    scores: dict[str, dict[str, Interval]]  # system → score
    differences: list[Difference]  # open GAP of the submission less that of each model
    notes: list[str]

    @property
    def rank(self) -> int:
        """Place of the submission by open GAP, from 1."""
        return 1 + sum(difference.difference < 0 for difference in self.differences)

    def lines(self) -> list[str]:
        """Tell the grade as lines of text."""
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.images.items())
        lines = [f"hidden world {self.seed}: {counts}; no GAP over {self.ceiling:.3f} with this label set", *self.notes]
        for system, scores in self.scores.items():
            told = ", ".join(f"{name} {x.value:.3f} ({x.low:.3f} to {x.high:.3f})" for name, x in scores.items())
            lines.append(f"  {system:28} {told}")
        for d in self.differences:
            verdict = "better" if d.low > 0 else "worse" if d.high < 0 else "not to be told apart"
            lines.append(f"{YOURS} − {d.b}: {d.difference:+.3f} ({d.low:+.3f} to {d.high:+.3f}): {verdict}")
        if self.differences:
            lines.append(f"place {self.rank} of {len(self.differences) + 1} by open GAP")
        return lines

    def to_dict(self) -> dict:
        """Give the grade as JSON can hold it."""
        scores = {
            system: {name: value._asdict() for name, value in scores.items()} for system, scores in self.scores.items()
        }
        pairs = [difference._asdict() for difference in self.differences]
        return dict(json_ready(asdict(self) | {"rank": self.rank, "scores": scores, "differences": pairs}))


def grade_submission(
    submission: str | Path, seed: int = 0, folder: str | Path | None = None, *, n: int = 1000
) -> Grade:
    """Score a submission for a hidden world, and compare it with the finished runs of the course's models.

    The solution is worked out anew; it lies in no file. The models answer the photographs of the hidden world where
    these have been made; models that are not trained yet are named.

    Args:
        submission: `id,landmarks` for the hidden world's test.csv; an image that is not named has no answer.
        seed: of the hidden world.
        folder: of its photographs; the one of `hidden_world` when left out.
        n: resamples.

    Raises:
        InputError: ids of another world, no answer at all, a table that cannot be trusted, or a folder of another
            world.
    """
    truth, labels = hidden_truth(seed)
    table = read_submission(submission)
    unknown = sorted(set(table["id"]) - truth.keys())
    if unknown:
        raise InputError(
            f"{submission}: {len(unknown)} of its {len(table)} ids are not of hidden world {seed}, such as "
            f"{unknown[0]}: was it made for another --seed, or another size of the course?"
        )
    made = table[table["landmark_id"].notna()]
    if made.empty:
        raise InputError(f"{submission}: no answer in it: every cell is empty")
    answers = dict(zip(made["id"], zip(made["landmark_id"].astype(int), made["score"], strict=True), strict=True))
    tables = {YOURS: tabulate(answers, truth, labels, name=str(submission))}
    members: dict[str, list[str]] = {YOURS: [YOURS]}
    notes: list[str] = []
    place = Path(folder or hidden_folder(seed))
    if not (place / "world.json").exists():
        notes.append(f"{place}: the photographs are not there, so no model of the course can answer them: "
                     f"landmark grade --make --seed {seed}")  # fmt: skip
    else:
        finished, photographs = _finished(labels), GoogleLandmarks(hidden_world(seed, place))
        for model, seeds in finished.items():
            members[model] = [f"{model} {i}" for i in range(len(seeds))]
            for name, run in zip(members[model], seeds, strict=True):
                tables[name] = _table(run, photographs, truth, labels)
        if absent := [model for model in PAPER.index if model not in finished]:
            notes.append(f"not compared with {', '.join(absent)}: no finished run of the course in {runs_root()}; "
                         f'`course.course_run("{absent[0]}")` in Python trains one')  # fmt: skip
    report = evaluate(tables, models=members, n=n)
    seeded = bool(report.models)  # runs of one model are several
    systems = dict(zip(members, report.models if seeded else report.runs, strict=True))
    pairs = [pair for pair in report.paired["model gap" if seeded else "gap"] if pair.a == YOURS]
    chances = holm([pair.p for pair in pairs])
    differences = [pair._replace(b=model, p_holm=p)
                   for pair, model, p in zip(pairs, list(members)[1:], chances, strict=True)]  # fmt: skip
    titles = {model: f"{model} ({len(names)} seeds)" if len(names) > 1 else model for model, names in members.items()}
    scores = {titles[model]: {name: system.scores[name] for name in SCORES} for model, system in systems.items()}
    return Grade(seed, report.images, report.ceiling, scores, differences, notes)


def _finished(labels: Sequence[int]) -> dict[str, list[Run]]:
    """Open the finished runs of the course's models, by model: those of its settings and label set, of any seed."""
    found: dict[str, list[Run]] = {}
    for folder in sorted(runs_root().glob(f"{runs.mode()}-*")):
        try:
            run = open_run(folder)
        except InputError:  # another kind of folder, or a run that is not finished
            continue
        model = run.config.model
        ours = model in PAPER.index and replace(run.config, seed=0) == runs.course_config(model, seed=0)
        if ours and run.labels.landmark_ids == sorted(labels):
            found.setdefault(model, []).append(run)
    return {model: found[model] for model in PAPER.index if model in found}


def _table(run: Run, photographs: GoogleLandmarks, truth: dict[str, tuple[int, ...]], labels: Sequence[int]) -> Answers:
    """Lay the answers of a run to the hidden photographs beside the truth."""
    record = predict_table(run, photographs.test[["id"]], photographs.root)
    return tabulate(record.mapping(run.labels), truth, labels, name=str(run.path))
