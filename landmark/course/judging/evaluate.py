"""Evaluate finished runs and submissions on a data set: gathers their answers for `landmark.evaluation.report`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from landmark.course.answers import test_predictions, truth_of
from landmark.data.archives import open_images
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.tables import label_names
from landmark.evaluation.confidence import temperature_softmax
from landmark.evaluation.prediction import Predictions
from landmark.evaluation.report.answers import KINDS, Answers, tabulate
from landmark.evaluation.report.calibration import fit_temperature
from landmark.evaluation.report.results import Evaluation
from landmark.evaluation.report.summary import SHARES, evaluate
from landmark.evaluation.submission import read_submission
from landmark.prepare.duplicates import identical_files
from landmark.training.run import Run, open_run
from landmark.utils.errors import InputError

MISTAKES = 10  # of each run that are listed
PARTS = ("size", "kind")
LOGITS = 1 << 27  # numbers of the logits of a test set, up to which a temperature is fitted: half a GB
Answered = Mapping[str, tuple[int, float]]
Truth = Mapping[str, Collection[int]]


def evaluate_runs(
    runs: Sequence[str | Path],
    data: str | Path | GoogleLandmarks,
    *,
    calibration: str | Path | GoogleLandmarks | None = None,
    min_images: int = 1,
    parts: str | None = None,
    allow_leak: bool = False,
    shares: Sequence[float] = SHARES,
    n: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score runs on the test images of a data set, with intervals, and compare each pair of them.

    The label set is that of the runs, or of the train table when there are submissions alone. Runs that differ in
    nothing but their seed are scored together as well.

    Args:
        runs: folders of finished runs, or submissions (`id,landmarks`) for the test images.
        data: a folder in the GLDv2 layout with test.csv and the solution.
        calibration: another such folder, on which maps and thresholds are fitted; the runs predict its test images.
        min_images: of a landmark in the train table, to belong to the label set of submissions.
        parts: known queries are also scored apart by "size" (train images of their landmark, in thirds) or "kind"
            (natural or made by people, as the tables say).
        allow_leak: score a run on images that it was trained on as well, and say so in `notes`; else it is refused.
            They are known by their id, and by their bytes where the folder holds the train images too. An older run has
            not recorded its train images, which a note says.
        shares: of distractors at which GAP is reported.
        n: resamples.
        seed: of the resamples.

    Raises:
        InputError: what is no run or submission, the same one twice, label sets that differ, answers to other images,
            a run that was trained on images it is asked about, or a table that cannot be trusted.
    """
    data = data if isinstance(data, GoogleLandmarks) else GoogleLandmarks(data)
    names = [str(run) for run in runs]
    if not names:
        raise InputError("nothing to evaluate: give a run or a submission")
    if len(set(names)) < len(names):
        raise InputError(f"{next(name for name in names if names.count(name) > 1)}: given twice")
    opened = {name: open_run(name) for name in names if not _is_table(Path(name))}
    truth, labels = truth_of(data), _label_set(opened, data, min_images)
    notes = leak_notes(opened, data, truth, allow_leak)
    other = (
        None
        if calibration is None
        else (calibration if isinstance(calibration, GoogleLandmarks) else GoogleLandmarks(calibration))
    )
    keep = ["logits"] if other is not None and _few_logits(opened, data, other) else []
    records = {name: test_predictions(run, data, keep) for name, run in opened.items()}
    answers = {name: _answers(records[name], opened[name].labels, truth) if name in opened
               else _submitted(name, data, truth) for name in names}  # fmt: skip
    groups = _groups(parts, data, truth, labels) if parts else None
    tables = {name: tabulate(answered, truth, labels, groups=groups, name=name) for name, answered in answers.items()}
    fitted, rescored = None, None
    if other is not None:
        theirs, more = _calibration_truth(opened, names, other, truth, allow_leak)
        fitted_on = {name: test_predictions(run, other, keep) for name, run in opened.items()}
        fitted = {name: tabulate(_answers(record, opened[name].labels, theirs), theirs, labels, name=name)
                  for name, record in fitted_on.items()}  # fmt: skip
        if keep:
            rescored = {name: _temperature(records[name], tables[name], fitted_on[name], fitted[name])
                        for name in opened}  # fmt: skip
        notes += [note for note in more if note not in notes]
    private = {image_id for image_id, usage in zip(data.solution["id"], data.solution["Usage"], strict=True)
               if usage == "Private"}  # fmt: skip
    ids = tables[names[0]].ids
    report = evaluate(
        tables, private=np.array([image_id in private for image_id in ids]) if private else None,
        models=_models(opened), calibration_tables=fitted, rescored=rescored, shares=shares, n=n, seed=seed,
    )  # fmt: skip
    return replace(report, mistakes=_mistakes(answers, truth, labels, data), notes=notes)


def _is_table(path: Path) -> bool:
    """Check whether a path is a submission and not the folder of a run."""
    if not path.exists():
        raise InputError(f"{path}: no such run or submission")
    return path.is_file()


def _label_set(opened: Mapping[str, Run], data: GoogleLandmarks, min_images: int) -> list[int]:
    """List the landmark ids that a right answer can have."""
    if not opened:
        return sorted(set(data.labelled(min_images)["landmark_id"].tolist()))
    (first, one), *others = opened.items()
    for name, other in others:
        try:
            one.labels.check_same(other.labels)
        except InputError as error:
            raise InputError(f"{first} and {name}: {error}: evaluate them apart") from None
    if (data.root / "train.csv").exists():
        shared = LabelMap(data.labelled()["landmark_id"].unique().tolist())
        if not any(landmark_id in shared for landmark_id in one.labels.landmark_ids):
            raise InputError(
                f"{first}: no landmark of its label set is in {data.root / 'train.csv'}: another data set?"
            )
    return one.labels.landmark_ids


def _few_logits(opened: Mapping[str, Run], *where: GoogleLandmarks) -> bool:
    """Check whether whole logits are few enough to keep."""
    rows = max(len(data.test) for data in where)
    return all(rows * len(run.labels) <= LOGITS for run in opened.values())


def _answers(record: Predictions, labels: LabelMap, truth: Truth) -> Answered:
    """Map image_id to (landmark_id, score), for the images that are scored."""
    return {image_id: answer for image_id, answer in record.mapping(labels).items() if image_id in truth}


def _submitted(name: str, data: GoogleLandmarks, truth: Truth) -> Answered:
    """Read a submission: image_id → (landmark_id, score), for the images that are scored."""
    table = read_submission(name)
    unknown = sorted(set(table["id"]) - set(data.solution["id"]))
    if unknown:
        raise InputError(
            f"{name}: {len(unknown)} ids are not in the solution of {data.root}, such as {', '.join(unknown[:3])}: "
            "evaluate a submission on its own test set"
        )
    made = table[table["landmark_id"].notna() & table["id"].isin(truth.keys())]
    answers = zip(made["landmark_id"].astype(int), made["score"], strict=True)
    return dict(zip(made["id"], answers, strict=True))


def _calibration_truth(
    opened: Mapping[str, Run], names: Sequence[str], other: GoogleLandmarks, reported: Collection[str], allow_leak: bool
) -> tuple[Truth, list[str]]:
    """Read the solution of the calibration images, and the notes on leaks into them."""
    for name in names:
        if name not in opened:
            raise InputError(f"{name}: a submission cannot be asked about {other.root}: give the run that made it")
    truth = truth_of(other)
    both = sorted(truth.keys() & set(reported))
    if both:
        raise InputError(
            f"{other.root}: {len(both)} of its images are reported on, such as {both[0]}: nothing is fitted on "
            "the test set: choose another folder to calibrate on"
        )
    return truth, leak_notes(opened, other, truth, allow_leak)


def _temperature(
    record: Predictions, answers: Answers, fitted_record: Predictions, fitted_on: Answers
) -> dict[str, np.ndarray]:
    """Score answers by the softmax at a temperature that is fitted on others: the name of the map → scores."""

    def logits(of: Predictions, table: Answers) -> np.ndarray:
        row = {image_id: i for i, image_id in enumerate(of.ids)}
        assert of.logits is not None  # kept, as asked
        return of.logits[[row[image_id] for image_id in table.ids[table.answered]]]

    temperature = fit_temperature(logits(fitted_record, fitted_on), fitted_on.correct[fitted_on.answered])
    scores = answers.score.copy()
    scores[answers.answered] = temperature_softmax(logits(record, answers), temperature)
    return {f"temperature {temperature:.3g}": scores}


def leak_notes(opened: Mapping[str, Run], data: GoogleLandmarks, asked: Collection[str], allow: bool) -> list[str]:
    """Refuse runs that were trained on images they are asked about; returns notes on those that are allowed or unknown.

    Args:
        opened: runs by name.
        data: folder of the images.
        asked: ids of its test images.
        allow: write a note instead.

    Raises:
        InputError: a run that was trained on one of them, known by its id or its bytes.
    """
    notes, sides = [], {name: run.sides for name, run in opened.items()}
    known = [rows for rows in sides.values() if rows is not None]
    copies = identical_files(open_images(data.root, "test"), open_images(data.root, "train")) if known else []
    for name, rows in sides.items():
        if rows is None:
            notes.append(f"{name}: an older run, which has not recorded its train images: leaks are not looked for")
            continue
        learnt = set(rows["id"][rows["side"] == "train"])
        leaks = {test: train for test, train in copies if test in asked and train in learnt}
        leaks |= {image_id: image_id for image_id in learnt.intersection(asked)}
        if leaks:
            first = min(leaks)
            copy = f" (the same file as its train image {leaks[first]})" if leaks[first] != first else ""
            text = (
                f"{name}: trained on {len(leaks)} of the {len(asked)} test images of {data.root}, such as {first}{copy}"
            )
            if not allow:
                raise InputError(f"{text}: evaluate it on other images, or allow it with --allow-leak")
            notes.append(f"{text}: its scores are too high")
    return notes


def _models(opened: Mapping[str, Run]) -> dict[str, list[str]]:
    """Group runs that differ in nothing but their seed, by the name of their model."""
    groups: dict[str, list[str]] = {}
    for name, run in opened.items():
        settings = {key: value for key, value in asdict(run.config).items() if key not in ("seed", "bad_limit")}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(name)
    kinds = [opened[members[0]].config.model for members in groups.values()]
    return {
        f"model {kind}" if kinds.count(kind) == 1 else f"model {kind} as in {members[0]}": members
        for kind, members in zip(kinds, groups.values(), strict=True)
    }


def _groups(parts: str, data: GoogleLandmarks, truth: Truth, labels: Collection[int]) -> dict[str, str]:
    """Map image_id to the part of the known queries that it belongs to."""
    if parts not in PARTS:
        raise InputError(f"parts {parts!r}: choose {' or '.join(PARTS)}")
    known = frozenset(labels)
    shown = {i: next(x for x in marks if x in known) for i, marks in truth.items() if not known.isdisjoint(marks)}
    if parts == "kind":
        names = label_names(data.root)
        column = names.get("natural_or_human_made", {})
        return {image_id: str(column.get(landmark_id, "")) for image_id, landmark_id in shown.items()}
    sizes = data.labelled()["landmark_id"].value_counts()
    counts = {image_id: int(sizes.get(landmark_id, 0)) for image_id, landmark_id in shown.items()}
    if not counts:
        return {}
    edges = np.quantile(list(counts.values()), [1 / 3, 2 / 3], method="lower")
    third = {image_id: int(np.searchsorted(edges, count)) for image_id, count in counts.items()}
    span = {k: [count for image_id, count in counts.items() if third[image_id] == k] for k in set(third.values())}
    return {i: f"landmarks of {min(span[k]):,} to {max(span[k]):,} train images" for i, k in third.items()}


def _mistakes(
    answers: Mapping[str, Answered], truth: Truth, labels: Collection[int], data: GoogleLandmarks
) -> list[dict[str, Any]]:
    """List the most confident wrong answers of each run, with names where the tables have them."""
    known, names = frozenset(labels), label_names(data.root).get("name", {})

    def called(landmark_id: int) -> str:
        return str(names.get(landmark_id, "") or landmark_id)

    rows = []
    for run, answered in answers.items():
        wrong = [(-score, i, mark) for i, (mark, score) in answered.items() if mark not in truth[i]]
        for score, image_id, mark in sorted(wrong)[:MISTAKES]:
            shown = truth[image_id]
            kind = KINDS[2 if not shown else 1 if known.isdisjoint(shown) else 0]
            rows.append({"run": run, "id": image_id, "score": -score, "kind": kind, "answer": called(mark),
                         "truth": ", ".join(map(called, shown))})  # fmt: skip
    return rows
