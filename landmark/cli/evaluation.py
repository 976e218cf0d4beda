"""The verb that scores a submission."""

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


VERBS = {"score": ("GAP of a submission", _add_score, _score)}
