"""The `landmark` command: thin over the package."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch

from landmark import experiments, metrics, sources, tables
from landmark.backbones import WEIGHTS
from landmark.data import GoogleLandmarks
from landmark.download import download
from landmark.health import check_data
from landmark.models import RECIPES, create_model, list_models
from landmark.runs import TrainConfig, open_run, saved_config
from landmark.runtime import InputError
from landmark.shrink import QUALITY, shrink
from landmark.submission import write_predictions
from landmark.suspects import find_suspects
from landmark.synthetic import WorldConfig, make_world
from landmark.training import SAVE_EVERY, fit


def _synth(args: argparse.Namespace) -> int:
    settings = {f.name: getattr(args, f.name) for f in fields(WorldConfig)}
    path = make_world(args.out, WorldConfig(**settings), workers=args.workers)
    print(f"{path}: {settings['landmarks']} landmarks; train with --min-images {WorldConfig(**settings).min_images}")
    return 0


def _check(args: argparse.Namespace) -> int:
    report = check_data(args.data, progress=not args.json)
    if args.run:
        run, names = open_run(args.run), experiments.names_of(GoogleLandmarks(args.data))
        found = find_suspects(run.model(), GoogleLandmarks(args.data).train, args.data, size=run.config.size,
                              workers=args.workers, progress=not args.json)  # fmt: skip
        reasons = {"wrong_label": "{suspicion:.0%} of its neighbours are no {name}", "rotated": "turn by {turn}°"}
        for kind, why in reasons.items():
            rows = found[found[kind]].to_dict("records")
            details = [why.format(name=names.get(row["landmark_id"], row["landmark_id"]), **row) for row in rows]
            report.tell(kind, "train", [row["id"] for row in rows], details)
    print(json.dumps(report.to_dict(), indent=1) if args.json else "\n".join(report.lines()))
    return report.exit_code


def _models(args: argparse.Namespace) -> int:
    for name in list_models():
        model = create_model(name, 0)
        print(f"{name:28} {RECIPES[name][0]:9} embedding {model.num_features:5}")
    return 0


def _download(args: argparse.Namespace) -> int:
    if args.data is None and args.what != "weights":
        raise InputError(f"no folder to fill: landmark download {args.what} DATA")
    if args.what == "gldv2":
        items = sources.gldv2(args.data, splits=args.splits, shards=args.shards, mirror=args.mirror,
                              md5_file=args.md5_file)  # fmt: skip
    elif args.what == "weights":
        items = sources.weights(WEIGHTS.values(), args.data, mirror=args.mirror)
    else:
        plan = sources.gldv2_clean if args.what == "gldv2-clean" else sources.landmarks50
        items = plan(args.data, mirror=args.mirror)
    download(items, yes=args.yes, dry_run=args.dry_run, workers=args.workers)
    return 0


def _shrink(args: argparse.Namespace) -> int:
    out = args.out or args.data.with_name(f"{args.data.resolve().name}-{args.size}")
    told = shrink(args.data, out, args.size, splits=args.splits, quality=args.quality, workers=args.workers)
    print(
        f"{out}: {told.images} images in {told.tars} TARs, {told.bytes / 1e9:.3f} GB, {len(told.bad)} left out as bad"
    )
    return 0


def _bench(args: argparse.Namespace) -> int:
    found = {}
    for what in args.what:
        module, name = BENCHMARKS[what].split(":")
        measure = getattr(importlib.import_module(f"landmark.{module}"), name)
        given = {key: value for key in inspect.signature(measure).parameters
                 if (value := getattr(args, key, None)) is not None}  # fmt: skip
        found[what] = measure(**given)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        for what, values in found.items():
            print(what, *(f"  {key:28} {_told(value)}" for key, value in values.items()), sep="\n")
    return 0


def _told(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _train(args: argparse.Namespace) -> int:
    names = {f.name for f in fields(TrainConfig)}
    given = {name: value for name, value in vars(args).items() if name in names}
    saved = asdict(saved_config(args.out)) if args.resume and (args.out / "config.json").exists() else {}
    if "model" not in saved | given:
        raise InputError("--model is missing: choose one of " + ", ".join(list_models()))
    if given.keys() & {"epochs", "steps"}:
        saved = {name: value for name, value in saved.items() if name not in ("epochs", "steps")}
    config = TrainConfig(**saved | given)
    if config.weights == "miniature":
        experiments.miniature_weights(RECIPES[config.model][0])
    run = fit(config, args.data, args.out, workers=args.workers, save_seconds=args.save_seconds,
              save_steps=args.save_steps, tensorboard=args.tensorboard, scratch=args.scratch)  # fmt: skip
    result = run.result
    if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun one tells
        print(
            f"{run.path}: {result['classes']} landmarks, best dev GAP {result['dev_gap']:.4f} at step {result['step']}"
        )
    return 0


def _predict(args: argparse.Namespace) -> int:
    told = write_predictions(
        open_run(args.run), GoogleLandmarks(args.data), args.out, bad_limit=args.bad_limit, workers=args.workers,
        int8=args.int8,
    )  # fmt: skip
    if told:
        for image_id, reason in list(told["bad"].items())[:20]:
            print(f"{image_id}: {reason}: no prediction", file=sys.stderr)
        print(f"{args.out}: {told['rows']} rows, {told['predictions']} predictions, {len(told['bad'])} bad images")
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


BENCHMARKS = {
    "tables": "table_benchmark:bench_tables", "check": "check_benchmark:bench_check", "data": "benchmarks:bench_data",
    "layers": "layer_benchmark:bench_layers", "train": "benchmarks:bench_train", "predict": "benchmarks:bench_predict",
    "integers": "int8_benchmark:bench_integers",
}  # fmt: skip


def _freeze(text: str) -> int | str:
    """A number of tensors, or the name of a stage."""
    return int(text) if text.lstrip("-").isdigit() else text


SETTINGS = (
    ("model", str, "see `landmark models`"),
    ("min_images", int, "drop landmarks with fewer train images"),
    ("size", int, "pixels"),
    ("batch_size", int, "images in a step, of each process"),
    ("lr", float, "of Adam"),
    ("freeze", _freeze, "first N parameter tensors, or all up to a stage"),
    ("views", int, "flips and shifts of each image, frozen stages computed once for each; 0: new ones in every epoch"),
    ("weights", str, "imagenet, miniature, none, or a file"),
    ("seed", int, "of everything"),
    ("dev_fraction", float, "held out of each landmark"),
    ("bad_limit", int, "bad images that fail the run (10 or 1 %% when left out)"),
)


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
    check.add_argument("--run", type=Path, help="a finished run, to look for wrong labels and turned images with")
    check.add_argument("--workers", type=int, help="processes that decode (for --run)")
    check.add_argument("--json", action="store_true", help="print JSON")

    command("models", _models, "list the models")

    fetching = command("download", _download, "fetch data or weights; goes on where it stopped")
    fetching.add_argument("what", choices=("gldv2", "gldv2-clean", "landmarks50", "weights"), help="what to fetch")
    fetching.add_argument("data", type=Path, nargs="?", help="folder to fill (may be left out for weights)")
    fetching.add_argument(
        "--splits", nargs="+", default=["train", "test"], choices=tuple(sources.SHARDS), help="of gldv2"
    )
    fetching.add_argument("--shards", default="", help="TARs of each split, such as 0-9 or 0,3,7-9; all when left out")
    fetching.add_argument("--mirror", default="", help="address of a server with the public layout")
    fetching.add_argument("--md5-file", type=Path, help="sums that stand in for the published ones")
    fetching.add_argument("--dry-run", action="store_true", help="list the files with their sizes, fetch nothing")
    fetching.add_argument("--yes", action="store_true", help="do not ask before fetching")
    fetching.add_argument("--workers", type=int, default=4, help="files at a time")

    reduced = command("shrink", _shrink, "write a data set with smaller images, as TARs; goes on where it stopped")
    reduced.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    reduced.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    reduced.add_argument("--out", type=Path, help="new folder; DATA-SIZE when left out")
    reduced.add_argument("--splits", nargs="+", default=["train", "test"], choices=tuple(sources.SHARDS), help="which")
    reduced.add_argument("--quality", type=int, default=QUALITY, help="of the JPEGs")
    reduced.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")

    bench = command("bench", _bench, "measure this machine, side by side with a plain way, in one run")
    bench.add_argument("what", nargs="+", choices=tuple(BENCHMARKS), help="what to measure")
    bench.add_argument("--rows", type=int, help="of the generated table (tables)")
    bench.add_argument("--images", type=int, help="images (check, data, train, predict)")
    bench.add_argument("--size", type=int, help="pixels")
    bench.add_argument("--batch-size", type=int, help="images in a step")
    bench.add_argument("--repeats", type=int, help="rounds, interleaved")
    bench.add_argument("--int8", action=argparse.BooleanOptionalAction, help="8-bit integers (train, predict)")
    bench.add_argument(
        "--compiled", action=argparse.BooleanOptionalAction, help="time timm's compiled network, too (train, predict)"
    )
    bench.add_argument("--json", action="store_true", help="print JSON")

    train = command("train", _train, "train a model; a stopped run goes on, a finished one is loaded")
    train.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    train.add_argument("--out", type=Path, required=True, help="folder of the run")
    train.add_argument("--resume", action="store_true", help="take settings that are not given from the run in --out")
    for name, kind, text in SETTINGS:  # left out, so that --resume can tell what was given
        told = getattr(config, name)
        train.add_argument(f"--{name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS,
                           help=text if told is None or name == "model" else f"{text} (default: {told})")  # fmt: skip
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, default=argparse.SUPPRESS, help="passes over the train images (6)")
    budget.add_argument("--steps", type=int, default=argparse.SUPPRESS, help="optimizer steps, in place of epochs")
    train.add_argument("--clean", action="store_true", default=argparse.SUPPRESS, help="only images of train_clean.csv")
    train.add_argument(
        "--int8",
        action="store_true",
        default=argparse.SUPPRESS,
        help="8-bit integers in the frozen stages, such as --freeze block7: faster on an x86 CPU",
    )
    train.add_argument("--workers", type=int, help="processes that decode (2 beside a GPU, else threads)")
    train.add_argument("--save-seconds", type=float, default=SAVE_EVERY, help="time between saved states")
    train.add_argument("--save-steps", type=int, help="steps between saved states, besides")
    train.add_argument("--scratch", type=Path, help="folder for the maps of --views, if --out is slow or small")
    train.add_argument("--tensorboard", action="store_true", help="write the log for TensorBoard as well")

    forecast = command("predict", _predict, "write a submission for the test images")
    forecast.add_argument("run", type=Path, help="folder of a finished run")
    forecast.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    forecast.add_argument("--out", type=Path, required=True, help="submission.csv to write")
    forecast.add_argument("--bad-limit", type=int, help="bad images that fail it (10 or 1 %% when left out)")
    forecast.add_argument("--workers", type=int, help="processes that decode (2 beside a GPU, else threads)")

    forecast.add_argument("--int8", action="store_true", help="8-bit integers: up to twice as fast on an x86 CPU")

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
        print(f"landmark {args.command}: {_one_line(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        advice = _advice(error)
        if not advice:
            raise
        print(f"landmark {args.command}: {advice} ({_one_line(error)[:300]})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nlandmark {args.command}: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _one_line(error: BaseException) -> str:
    """What an error says; of one that comes out of a worker, without the worker's traceback."""
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())


def _advice(error: RuntimeError) -> str:
    """What to do about an error of the machine; nothing when it is none."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory on the device: lower --batch-size or --size"
    if "DataLoader" in text:
        return "a process that decodes images was killed or hangs: is memory or /dev/shm full? try --workers 0"
    if "WORLD_SIZE" in os.environ:
        return "another process of this group has ended, so this one does"
    return ""
