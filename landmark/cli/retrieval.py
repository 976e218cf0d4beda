"""The verbs that answer by retrieval: photographs against a folder of landmarks, runs on a test set."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from landmark.cli.flags import add_settings
from landmark.models.recipes import BACKBONES, FOUNDATION, is_foundation, list_models
from landmark.retrieval.config import LOCAL, SearchConfig
from landmark.utils.errors import InputError
from landmark.utils.files import check_target

if TYPE_CHECKING:
    from landmark.retrieval.embed import Embedder


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", type=Path, help="folder in the GLDv2 layout, or with a sub-folder for each landmark")
    parser.add_argument("photos", metavar="PHOTO", nargs="*", type=Path, help="photographs to search with")
    parser.add_argument("--test", metavar="DATA", type=Path, help="all test images of a GLDv2 folder in their place")
    parser.add_argument("--features", default="efficientnet_lite0", help="model by name, or folder of a run")
    parser.add_argument("--local", choices=LOCAL, default="sift", help="local features that are compared")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--sheet", metavar="FILE", type=Path, help="picture of neighbours and matches to write")
    parser.add_argument("--out", metavar="FILE", type=Path, help="submission.csv to write, with --test")
    parser.add_argument("--workers", type=int, help="processes that decode (2 beside a GPU, else threads)")
    add_settings(parser, SearchConfig())


def _search(args: argparse.Namespace) -> int:
    config = SearchConfig(**{field.name: getattr(args, field.name) for field in fields(SearchConfig)})
    if bool(args.photos) == bool(args.test):
        raise InputError("name photographs, or --test DATA for all test images of a folder: one of the two")
    if args.out and not args.test:
        raise InputError("--out writes the answers to a test set: give --test DATA")
    known = args.features in list_models() or is_foundation(args.features)
    if not known and not Path(args.features, "config.json").exists():
        raise InputError(
            f"--features {args.features}: neither a model (choose one of {', '.join([*BACKBONES, *FOUNDATION])}, …, or "
            "timm/ and a name of timm's) nor a run"
        )
    from landmark.retrieval import gallery, sheet
    from landmark.retrieval.local.features import create_local
    from landmark.retrieval.recognise import Searcher

    index = gallery.open_gallery(args.index)
    if args.out:
        sheet.check_numbered(index)
    if args.sheet:
        sheet.check_sheet(args.sheet)
    for target in filter(None, (args.out, args.sheet)):
        check_target(target)
    photos = gallery.open_test(args.test) if args.test else gallery.open_photos(args.photos)
    embedder = _embedder(args.features)
    local = create_local(args.local, embedder, index, config.side)
    searcher = Searcher(index, embedder, local, config, workers=args.workers)
    findings = searcher.search(photos, keep=bool(args.test))
    for image_id, reason in list(findings.bad.items())[:20]:
        print(f"{photos.name(image_id)}: {reason}: no answer", file=sys.stderr)
    if args.out:
        sheet.write_answers(args.out, searcher, photos, findings)
    if args.sheet:
        sheet.draw_sheet(args.sheet, searcher, photos, findings)
    if args.json:
        print(json.dumps(sheet.describe_findings(searcher, photos, findings), indent=1, ensure_ascii=False))
    elif args.out:
        print(f"{args.out}: {len(photos.ids)} rows, {len(findings.ids)} answers, {len(findings.bad)} bad images")
    else:
        print("\n".join(sheet.summarise_findings(searcher, photos, findings)))
    return 0


def _embedder(features: str) -> Embedder:
    """The embedder of a model by name, with its public weights, or of a finished run."""
    from landmark.retrieval.embed import Embedder, search_embedder
    from landmark.training.run import open_run

    if features in list_models() or is_foundation(features):
        return search_embedder(features)
    run = open_run(features)
    return Embedder(run.model(), run.config.size)


def _add_submit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="finished runs; several are an ensemble")
    parser.add_argument("data", type=Path, help="folder in the GLDv2 layout; the index is all of its train.csv")
    parser.add_argument("--recipe", default="best", help="recipe by name, or parts joined by +, such as nearest+vote")
    parser.add_argument("--out", type=Path, default=Path("submission.csv"), help="submission to write")
    parser.add_argument("--local", choices=LOCAL[:-1], default="sift", help="local features of the part local")
    parser.add_argument("--rerank", type=int, default=SearchConfig.rerank, help="neighbours whose local features are "
                        "compared: the fewer, the faster")  # fmt: skip


def _submit(args: argparse.Namespace) -> int:
    from landmark.course.retrieving.answering import submit_recipe
    from landmark.course.retrieving.recipes import RECIPES, PartWeights, parts_of
    from landmark.data.folder import GoogleLandmarks
    from landmark.training.run import open_run

    search, weights = SearchConfig(rerank=args.rerank), PartWeights(local=args.local)
    check_target(args.out)
    parts = parts_of(args.recipe if args.recipe in RECIPES or "+" not in args.recipe else args.recipe.split("+"))
    report = submit_recipe([open_run(run) for run in args.runs], GoogleLandmarks(args.data), parts, args.out,
                           search=search, parts=weights)  # fmt: skip
    for image_id, reason in list(report["bad"].items())[:20]:
        print(f"{image_id}: {reason}: no answer", file=sys.stderr)
    print(f"{args.out}: {report['rows']} rows, {report['answers']} answers by {' + '.join(parts)}, "
          f"{len(report['bad'])} bad images")  # fmt: skip
    return 0


VERBS = {
    "search": ("find the landmarks of photographs in a folder of landmarks, without training", _add_search, _search),
    "submit": ("answer the test images with runs by a recipe of retrieval", _add_submit, _submit),
}
