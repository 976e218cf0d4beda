"""The verbs that train and predict, and the one that shows what is kept for them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, fields
from pathlib import Path

from landmark.cli.flags import add_settings
from landmark.models.recipes import BACKBONES, list_models
from landmark.training.config import SAVE_EVERY, TrainConfig
from landmark.utils.errors import InputError, readable
from landmark.utils.files import check_target
from landmark.world.config import WorldConfig


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="take settings that are not given from the run in --out")
    add_settings(parser, TrainConfig(), silent=True, needed=("model",), one_of=("epochs", "steps"))
    parser.add_argument("--workers", type=int, help="processes that decode (2 beside a GPU, else threads)")
    parser.add_argument("--save-seconds", type=float, default=SAVE_EVERY, help="time between saved states")
    parser.add_argument("--save-steps", type=int, help="steps between saved states, besides")
    parser.add_argument("--tensorboard", action="store_true", help="write the log for TensorBoard as well")


def _train(args: argparse.Namespace) -> int:
    names = {f.name for f in fields(TrainConfig)}
    given = {name: value for name, value in vars(args).items() if name in names}
    saved = {}
    if args.resume and os.path.exists(args.out / "config.json"):
        from landmark.training.run import saved_config

        saved = asdict(saved_config(args.out))
    if "model" not in saved | given:
        raise InputError("--model is missing: choose one of " + ", ".join(list_models()))
    if given.keys() & {"epochs", "steps"}:
        saved = {name: value for name, value in saved.items() if name not in ("epochs", "steps")}
    config = TrainConfig(**saved | given)
    from landmark.training.trainer import fit

    run = fit(config, args.data, args.out, workers=args.workers, save_seconds=args.save_seconds,
              save_steps=args.save_steps, tensorboard=args.tensorboard)  # fmt: skip
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
    parser.add_argument("--images", type=int, default=20, help="of each, on average")
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--epochs", type=int, default=3, help="passes at half the size")
    parser.add_argument("--last-epochs", type=int, default=1, help="passes at the whole size, after them")
    parser.add_argument("--seed", type=int, default=0, help="of world and training")


def _pretrain(args: argparse.Namespace) -> int:
    world = WorldConfig(args.landmarks, args.images, 0, args.size, args.seed, pretraining=True)
    from landmark.course.pretraining import pretrain

    path = pretrain(args.backbone, args.out, world, epochs=args.epochs, last_epochs=args.last_epochs)
    card = json.loads(path.with_suffix(".json").read_text())
    print(f"{path}: dev GAP {card['dev_gap']}, top-1 {card['dev_top1']}, stored {card['dev_top1_stored']}")
    return 0


def _add_ablate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, help="TOML file: [base], [vary], seeds, data, out")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")


def _ablate(args: argparse.Namespace) -> int:
    from landmark.course.ablation.study import ablate

    print("\n".join(ablate(args.table, n=args.resamples).lines()))
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

    check_target(args.out)
    report = submit(open_run(args.run), GoogleLandmarks(args.data), args.out, score=args.score,
                    bad_limit=args.bad_limit, workers=args.workers, int8=args.int8)  # fmt: skip
    if report:
        for image_id, reason in list(report["bad"].items())[:20]:
            print(f"{image_id}: {reason}: no prediction", file=sys.stderr)
        rows, predictions = report["rows"], report["predictions"]
        print(f"{args.out}: {rows} rows, {predictions} predictions, {len(report['bad'])} bad images")
    return 0


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clear", nargs="*", metavar="KEY", help="remove these maps, or all when no key is given")


def _cache(args: argparse.Namespace) -> int:
    from landmark.training.frozen.cache import cache_limit, cache_root, shelves

    there = {shelf.key: shelf for shelf in shelves()}
    if unknown := set(args.clear or ()) - there.keys():
        raise InputError(
            f"{cache_root()}: no maps by the key {', '.join(sorted(unknown))}: `landmark cache` lists them"
        )
    if args.clear is None:
        for shelf in there.values():
            print(shelf.describe())
        total = sum(shelf.bytes for shelf in there.values())
        print(f"{cache_root()}: {readable(total)} of at most {readable(cache_limit())} (LANDMARK_CACHE_GB)")
        return 0
    kept = [key for key in args.clear or there if not there[key].drop()]
    if kept:
        raise InputError(f"{cache_root()}: {', '.join(kept)} not removed: another process uses it: wait for it")
    return 0


VERBS = {
    "train": ("train a model; a stopped run goes on, a finished one is loaded", _add_train, _train),
    "pretrain": ("train a backbone on a disjoint miniature world: weights that need no network", _add_pretrain,
                 _pretrain),
    "ablate": ("change one setting at a time against a base, over seeds; a stopped ablation goes on", _add_ablate,
               _ablate),
    "cache": ("list what frozen stages made of images and how much it takes, or remove it", _add_cache, _cache),
    "predict": ("write a submission for the test images", _add_predict, _predict),
}  # fmt: skip
