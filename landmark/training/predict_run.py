"""A submission written while predicting: constant memory, several ranks, and it goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from landmark.data.folder import GoogleLandmarks
from landmark.data.loader import Quarantine, check_coverage, limit_of_bad
from landmark.evaluation.prediction import RULE, predictions
from landmark.evaluation.submission import write_submission
from landmark.models.folding import SAMPLE, fast_model
from landmark.models.int8 import arithmetic
from landmark.training.run import Run, first_alone
from landmark.utils import distributed
from landmark.utils.device import device
from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import atomic_path, claimed, write_json, written_file
from landmark.utils.locks import lock_of

ROWS = 2048  # of the test table in one part


@file_errors()
def write_predictions(
    run: Run, data: GoogleLandmarks, out: str | Path, *, bad_limit: int | None = None, workers: int | None = None,
    progress: bool = True, int8: bool = False,
) -> dict:  # fmt: skip
    """Write one row for each id of test.csv, in its order; an image that is missing or unreadable has an empty cell.

    Parts of 2,048 rows are written beside `out` as they are ready and joined at the end. Started again after a stop,
    parts of the same run, table and images are kept. In the processes of `torchrun` each predicts its share.

    Args:
        run: a finished run.
        data: with test.csv and the test images, loose or in TARs.
        out: the submission.
        bad_limit: missing or unreadable images that fail it; None for 10 or one in a hundred, whichever is more.
        workers: processes that decode images, see `make_loader`.
        progress: show a bar.
        int8: compute in 8-bit integers, see `folding.fast_model`; their ranges are measured on the first images of
            the table, whichever rows are left to predict.

    Returns:
        `rows` and `predictions` counted, and `bad`: image id → reason; empty on all ranks but the first.

    Raises:
        InputError: too many bad images, a table that cannot be read, another process that writes `out`, or `int8` on
            a machine that lacks it; `out` is then as it was.
        WriteError: `out` cannot be written, which is told before the work, or the disk is full by now.
    """
    out, table = written_file(out), data.test
    limit = limit_of_bad(bad_limit, len(table))
    parts = out.parent / f".{out.name}.parts"
    busy = f"{out}: another process is writing it: wait for it or choose another --out"
    numbers = range(-(-len(table) // ROWS))
    with distributed.group(), first_alone(lock_of(out), busy):
        check_coverage(table, data.root, "test", limit)
        if distributed.rank() == 0:
            _claim(parts, run, data, int8)
        distributed.gather(None)  # nobody writes before the folder is there
        mine = [k for k in numbers if k % distributed.size() == distributed.rank() and not _part(parts, k).exists()]
        _predict(run, data, parts, mine, limit, workers, progress and distributed.rank() == 0, int8)
        distributed.gather(None)  # nobody joins before all parts are there
        if distributed.rank() == 0:
            return _join(parts, len(numbers), out, limit)
        return {}


def _part(parts: Path, number: int) -> Path:
    return parts / f"{number:06}.json"


def _claim(parts: Path, run: Run, data: GoogleLandmarks, int8: bool) -> None:
    """Keep the parts of this very run, table and images, drop those of any other."""
    plan = run.basis(data.test, data.root) | {"rule": RULE, "parts": ROWS, "int8": int8,
                                                "arithmetic": arithmetic(device(), int8)}  # fmt: skip
    if claimed(parts / "plan.json", plan):
        return
    shutil.rmtree(parts, ignore_errors=True)
    write_json(parts / "plan.json", plan)


def _predict(
    run: Run, data: GoogleLandmarks, parts: Path, numbers: list[int], limit: int, workers: int | None, progress: bool,
    int8: bool,
) -> None:  # fmt: skip
    """Predict the rows of some parts, with one loader for all of them."""
    if not numbers:
        return
    table, model = data.test, run.model()
    if int8:
        (some,) = run.loader(table[:SAMPLE], data.root, workers=0, batch_size=SAMPLE)
        model = fast_model(model, some.images)
    rows = np.concatenate([np.arange(k * ROWS, min((k + 1) * ROWS, len(table))) for k in numbers])
    ids = table["id"].to_numpy(object)[rows]
    loader = run.loader(table.iloc[rows], data.root, workers=workers)
    quarantine, found, bad, seen = Quarantine(limit), {}, {}, 0
    bar = tqdm(total=len(rows), unit="img", desc="predict", disable=not progress)
    queue = iter(numbers)
    with bar:
        for some in predictions(model, loader):
            quarantine.add(some.bad)
            found |= some.mapping(run.labels)
            bad |= {item.image_id: item.reason for item in some.bad}
            seen += len(some.ids) + len(some.bad)
            bar.update(len(some.ids) + len(some.bad))
            while seen >= ROWS or (seen and seen == len(ids)):
                now, ids = ids[:ROWS].tolist(), ids[ROWS:]
                content = {"rows": [[i, *found.pop(i, (None, None))] for i in now],
                           "bad": {i: bad.pop(i) for i in now if i in bad}}  # fmt: skip
                with atomic_path(_part(parts, next(queue))) as part:
                    part.write_text(json.dumps(content))
                seen -= len(now)


def _join(parts: Path, count: int, out: Path, limit: int) -> dict:
    """All parts as one submission."""
    ids, landmarks, scores, bad = [], [], [], {}
    for number in range(count):
        try:
            content = json.loads(_part(parts, number).read_text())
        except ValueError as error:
            raise InputError(f"{_part(parts, number)}: damaged ({error}): delete it and predict again") from None
        for column, values in zip((ids, landmarks, scores), zip(*content["rows"], strict=True), strict=True):
            column.extend(values)
        bad |= content["bad"]
    quarantine = Quarantine(limit)
    quarantine.reasons.update(bad)
    quarantine.add([])
    write_submission(out, ids, landmarks, scores)
    shutil.rmtree(parts)
    return {"rows": len(ids), "predictions": len(ids) - len(bad), "bad": bad}
