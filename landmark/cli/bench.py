"""The verb that measures this machine."""

from __future__ import annotations

import argparse
import json

from landmark.cli.flags import given


def _tables(args: argparse.Namespace) -> dict:
    from landmark.course.bench.tables import bench_tables

    return bench_tables(**given(args, "rows", "repeats"))


def _check(args: argparse.Namespace) -> dict:
    from landmark.course.bench.check import bench_check

    return bench_check(**given(args, "images", "size", "repeats"))


def _data(args: argparse.Namespace) -> dict:
    from landmark.course.bench.speed import bench_data

    return bench_data(**given(args, "images", "size", "repeats"))


def _layers(args: argparse.Namespace) -> dict:
    from landmark.course.bench.layers import bench_layers

    return bench_layers(**given(args, "batch_size", "repeats"))


def _threads(args: argparse.Namespace) -> dict:
    from landmark.course.bench.threads import bench_threads

    return bench_threads(**given(args, "size", "batch_size", "repeats"))


def _train(args: argparse.Namespace) -> dict:
    from landmark.course.bench.speed import bench_train

    return bench_train(**given(args, "images", "size", "batch_size", "repeats", "int8", "compiled"))


def _predict(args: argparse.Namespace) -> dict:
    from landmark.course.bench.speed import bench_predict

    return bench_predict(**given(args, "images", "size", "batch_size", "repeats", "int8", "compiled"))


def _integers(args: argparse.Namespace) -> dict:
    from landmark.course.bench.integers import bench_integers

    return bench_integers(**given(args, "size", "batch_size", "repeats"))


def _retrieval(args: argparse.Namespace) -> dict:
    from landmark.course.retrieving.bench import bench_retrieval

    return bench_retrieval(**given(args, "rows", "repeats"))


BENCHMARKS = {
    "tables": _tables,
    "check": _check,
    "data": _data,
    "layers": _layers,
    "threads": _threads,
    "train": _train,
    "predict": _predict,
    "integers": _integers,
    "retrieval": _retrieval,
}


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="+", choices=tuple(BENCHMARKS), help="what to measure")
    parser.add_argument("--rows", type=int, help="of the generated table (tables), vectors of the index (retrieval)")
    parser.add_argument("--images", type=int, help="images (check, data, train, predict)")
    parser.add_argument("--size", type=int, help="pixels (all but tables and layers)")
    parser.add_argument("--batch-size", type=int, help="images in a step (layers, threads, train, predict, integers)")
    parser.add_argument("--repeats", type=int, help="rounds, interleaved")
    parser.add_argument("--int8", action=argparse.BooleanOptionalAction, help="8-bit integers (train, predict)")
    parser.add_argument(
        "--compiled", action=argparse.BooleanOptionalAction, help="time timm's compiled network, too (train, predict)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _bench(args: argparse.Namespace) -> int:
    reports = {what: BENCHMARKS[what](args) for what in args.what}
    if args.json:
        print(json.dumps(reports, indent=1))
    else:
        for what, report in reports.items():
            print(what, *(f"  {name:28} {_shown(value)}" for name, value in report.items()), sep="\n")
    return 0


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


VERBS = {"bench": ("measure this machine, side by side with a plain way, in one run", _add_bench, _bench)}
