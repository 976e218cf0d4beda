"""The verbs that score submissions and runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from landmark.utils.errors import InputError


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("submission", type=Path, help="id,landmarks")
    parser.add_argument("solution", type=Path, help="id,landmarks,Usage")
    parser.add_argument("--split", choices=("public", "private", "all"), default="all", help="rows of the solution")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _score(args: argparse.Namespace) -> int:
    from landmark.data import tables
    from landmark.evaluation import metrics, open_world
    from landmark.evaluation.submission import read_submission

    submission, solution = read_submission(args.submission), tables.read_solution(args.solution)
    unknown = sorted(set(submission["id"]) - set(solution["id"]))
    if unknown:
        raise InputError(
            f"{args.submission}: {len(unknown)} ids are not in {args.solution}, such as {', '.join(unknown[:3])}: "
            "score the submission against the solution of its own test set"
        )
    truth = tables.scored(solution, args.split, args.solution)
    scores = metrics.score_summary(open_world.restrict(submission.itertuples(index=False), truth), truth)
    print(json.dumps(scores, indent=1) if args.json else "\n".join(f"{k:26} {v:.6g}" for k, v in scores.items()))
    return 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folders of finished runs, or submissions")
    parser.add_argument("data", type=Path, help="folder in the GLDv2 layout, with the solution")
    parser.add_argument("--out", type=Path, help="folder to write the report to, as one HTML page")
    parser.add_argument("--calibrate", type=Path, help="another data set, to fit maps and thresholds on")
    parser.add_argument("--min-images", type=int, default=1, help="of a landmark in the label set of submissions")
    parser.add_argument("--parts", choices=("size", "kind"), help="score parts of the known queries as well")
    parser.add_argument("--allow-leak", action="store_true", help="score a run on images that it was trained on, too")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _evaluate(args: argparse.Namespace) -> int:
    from landmark.course.judging.evaluate import evaluate_runs
    from landmark.evaluation.report.page import write_page

    report = evaluate_runs(args.runs, args.data, calibration=args.calibrate, min_images=args.min_images,
                           parts=args.parts, allow_leak=args.allow_leak, n=args.resamples)  # fmt: skip
    if args.out:
        write_page(report, args.out)
    print(json.dumps(report.to_dict(), indent=1) if args.json else "\n".join(report.lines()))
    return 0


def _add_grade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("submission", nargs="?", type=Path, help="id,landmarks for the photographs of --make")
    parser.add_argument("--make", action="store_true", help="make the photographs of the hidden world, no solution")
    parser.add_argument("--seed", type=int, default=0, help="of the hidden world")
    parser.add_argument(
        "--world", type=Path, help="folder of its photographs; one beside the course's data if left out"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _grade(args: argparse.Namespace) -> int:
    from landmark.course.judging.grade import grade_submission
    from landmark.course.judging.queries import hidden_world

    if args.make == (args.submission is not None):
        raise InputError("give a submission to grade, or --make to make the photographs that it answers: one of them")
    if args.make:
        path = hidden_world(args.seed, args.world)
        print(f"{path}: hidden world {args.seed}; answer {path / 'test.csv'}, as `landmark predict RUN {path}` does")
        return 0
    grade = grade_submission(args.submission, args.seed, args.world, n=args.resamples)
    print(json.dumps(grade.to_dict(), indent=1) if args.json else "\n".join(grade.lines()))
    return 0


VERBS = {
    "score": ("GAP of a submission", _add_score, _score),
    "evaluate": ("every score of runs on an open test set, with intervals and paired differences", _add_evaluate,
                 _evaluate),
    "grade": ("answers to a hidden world, beside those of the course's models", _add_grade, _grade),
}  # fmt: skip
