"""The `landmark` command: thin over the package."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from landmark import experiments, metrics, tables
from landmark.data import GoogleLandmarks, Quarantine, check_coverage
from landmark.health import check_data
from landmark.models import RECIPES, create_model, list_models
from landmark.prediction import predict
from landmark.runs import TrainConfig, open_run
from landmark.runtime import InputError
from landmark.synthetic import WorldConfig, make_world
from landmark.training import fit


def _synth(args: argparse.Namespace) -> int:
    settings = {f.name: getattr(args, f.name) for f in fields(WorldConfig)}
    path = make_world(args.out, WorldConfig(**settings), workers=args.workers)
    print(f"{path}: {settings['landmarks']} landmarks; train with --min-images {WorldConfig(**settings).min_images}")
    return 0


def _check(args: argparse.Namespace) -> int:
    report = check_data(args.data, progress=not args.json)
    print(json.dumps(report.to_dict(), indent=1) if args.json else "\n".join(report.lines()))
    return report.exit_code


def _models(args: argparse.Namespace) -> int:
    for name in list_models():
        model = create_model(name, 0)
        print(f"{name:28} {RECIPES[name][0]:9} embedding {model.num_features:5}")
    return 0


def _train(args: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's way to say stop: the state is saved
    names = {f.name for f in fields(TrainConfig)}
    config = TrainConfig(**{name: value for name, value in vars(args).items() if name in names})
    if config.weights == "miniature":
        experiments.miniature_weights(RECIPES[config.model][0])
    run = fit(config, args.data, args.out, workers=args.workers)
    result = run.result
    print(f"{run.path}: {result['classes']} landmarks, best dev GAP {result['dev_gap']:.4f} at step {result['step']}")
    return 0


def _predict(args: argparse.Namespace) -> int:
    run, data = open_run(args.run), GoogleLandmarks(args.data)
    check_coverage(data.test, data.root, "test", args.bad_limit)
    found = predict(
        run.model(), run.loader(data.test, data.root, workers=args.workers),
        quarantine=Quarantine(args.bad_limit), progress=True,
    )  # fmt: skip
    found.write(args.out, run.labels, data.test["id"].tolist())
    print(f"{args.out}: {len(data.test)} rows, {len(found.ids)} predictions, {len(found.bad)} bad images")
    return 0


def _score(args: argparse.Namespace) -> int:
    submission, solution = tables.read_submission(args.submission), tables.read_solution(args.solution)
    unknown = sorted(set(submission["id"]) - set(solution["id"]))
    if unknown:
        raise InputError(
            f"{args.submission}: {len(unknown)} ids are not in {args.solution}, such as {', '.join(unknown[:3])}: "
            "score the submission against the solution of its own test set"
        )
    if args.split != "all":
        solution = solution[solution["Usage"].str.lower() == args.split]
        if solution.empty:
            raise InputError(f"{args.solution}: no {args.split} rows: choose another --split")
    truth = dict(zip(solution["id"], solution["landmarks"], strict=True))
    rows = submission[submission["landmark_id"].notna()]
    found = {
        i: (int(landmark), float(score))
        for i, landmark, score in zip(rows["id"], rows["landmark_id"], rows["score"], strict=True)
    }
    scores = metrics.score_summary(metrics.restrict(found, truth), truth)
    print(json.dumps(scores, indent=1) if args.json else "\n".join(f"{k:26} {v:.6g}" for k, v in scores.items()))
    return 0


def _freeze(text: str) -> int | str:
    """A number of tensors, or the name of a stage."""
    return int(text) if text.lstrip("-").isdigit() else text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="landmark", description="Landmark recognition: models and honest scores.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, function, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        sub.set_defaults(function=function)
        return sub

    world, config = WorldConfig(), TrainConfig()
    synth = command("synth", _synth, "make a miniature world in the GLDv2 layout")
    synth.add_argument("out", type=Path, help="new folder")
    synth.add_argument("--landmarks", type=int, default=world.landmarks, help="in the label set")
    synth.add_argument("--images", type=int, default=world.images, help="train images of each, on average")
    synth.add_argument("--test", type=int, default=world.test, help="test images in all")
    synth.add_argument("--size", type=int, default=world.size, help="longer side in pixels")
    synth.add_argument("--seed", type=int, default=world.seed, help="same seed, same pixels")
    synth.add_argument(
        "--known", type=float, default=world.known, help="share of the test set: landmarks of the label set"
    )
    synth.add_argument("--unknown", type=float, default=world.unknown, help="share of the test set: other landmarks")
    synth.add_argument("--siblings", type=int, default=world.siblings, help="landmarks in a family, on average")
    synth.add_argument("--pretraining", action="store_true", help="a disjoint world to train backbones on")
    synth.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")

    check = command("check", _check, "health report of a data set; exit 0 sound, 1 bad images, 2 a broken table")
    check.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    check.add_argument("--json", action="store_true", help="print JSON")

    command("models", _models, "list the models")

    train = command("train", _train, "train a model; a stopped run goes on, a finished one is loaded")
    train.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    train.add_argument("--model", required=True, help="see `landmark models`")
    train.add_argument("--out", type=Path, required=True, help="folder of the run")
    train.add_argument(
        "--min-images", type=int, default=config.min_images, help="drop landmarks with fewer train images"
    )
    train.add_argument("--size", type=int, default=config.size, help="pixels")
    train.add_argument("--batch-size", type=int, default=config.batch_size, help="images in a step")
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, help="passes over the train images (6 when --steps is left out too)")
    budget.add_argument("--steps", type=int, help="optimizer steps")
    train.add_argument("--lr", type=float, default=config.lr, help="of Adam")
    train.add_argument("--freeze", type=_freeze, default=config.freeze, help="first N parameter tensors, or a stage")
    train.add_argument("--weights", default=config.weights, help="imagenet, miniature, none, or a file")
    train.add_argument("--seed", type=int, default=config.seed, help="of everything")
    train.add_argument("--dev-fraction", type=float, default=config.dev_fraction, help="held out of each landmark")
    train.add_argument("--bad-limit", type=int, help="bad images that fail the run (10 or 1 %% when left out)")
    train.add_argument("--workers", type=int, default=2, help="processes that decode")

    forecast = command("predict", _predict, "write a submission for the test images")
    forecast.add_argument("run", type=Path, help="folder of a finished run")
    forecast.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    forecast.add_argument("--out", type=Path, required=True, help="submission.csv to write")
    forecast.add_argument("--bad-limit", type=int, default=0, help="bad images that are left without a prediction")
    forecast.add_argument("--workers", type=int, default=2, help="processes that decode")

    score = command("score", _score, "GAP of a submission")
    score.add_argument("submission", type=Path, help="id,landmarks")
    score.add_argument("solution", type=Path, help="id,landmarks,Usage")
    score.add_argument("--split", choices=("public", "private", "all"), default="all", help="rows of the solution")
    score.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 fine, 2 bad input (one line on stderr), 130 interrupted.

    >>> main(["score", "missing.csv", "solution.csv"])
    2
    """
    args = _parser().parse_args(argv)
    try:
        return args.function(args)
    except (InputError, ValueError, OSError) as error:
        print(f"landmark {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nlandmark {args.command}: stopped; the same command goes on from here", file=sys.stderr)
        return 130
