"""A first result in a minute: the published run answers three pictures it has never seen, and says how good it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
from safetensors.torch import save_file

from landmark.course.answers import test_answers, truth_of
from landmark.course.runs import FULL_WORLD
from landmark.course.samples import batch_of, names_of, squares
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.bootstrap import gap_bootstrap
from landmark.evaluation.metrics import global_average_precision
from landmark.evaluation.open_world import closed_set, restrict
from landmark.evaluation.saliency.maps import grad_cam
from landmark.figures.pictures import saliency_panels
from landmark.figures.save import encode
from landmark.models.stand_in.packed import pack
from landmark.models.weights import read_tensors
from landmark.training.run import Run, open_run
from landmark.utils.device import device
from landmark.utils.files import atomic_path, data_root, runs_root, sha256, write_json
from landmark.world.make import make_world

PUBLISHED = Path(__file__).with_name("published")
QUERIES = 999  # of the draws that dev worlds are made from, so that no grade is given on it
WORLD = replace(FULL_WORLD, images=2, test=120, known=0.4, unknown=0.1, nonlandmarks=0)


def publish(run: Run, out: Path = PUBLISHED) -> Path:
    """Store a finished run of the course as `demo` takes it: weights in 8-bit integers, no log, no split.

    Args:
        run: of the course's own world.
        out: folder to write.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "labels.json"):
        shutil.copyfile(run.path / name, out / name)
    with atomic_path(out / "best.safetensors") as part:
        save_file(pack(read_tensors(run.path / "best.safetensors")), part)
    write_json(out / "result.json", run.result | {"sha256": sha256(out / "best.safetensors")})
    return out


def published_run() -> Run:
    """Open the published run, in a folder of its own among the runs, where its predictions can be kept."""
    folder = runs_root() / f"demo-{json.loads((PUBLISHED / 'result.json').read_text())['sha256'][:12]}"
    for path in sorted(PUBLISHED.iterdir(), key=lambda path: path.name == "result.json"):  # that one makes it finished
        if not (folder / path.name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder / path.name) as part:
                shutil.copyfile(path, part)
    return open_run(folder)


def demo_photographs() -> GoogleLandmarks:
    """Open the 120 photographs that the published run answers, made the first time; it has seen none of them."""
    return GoogleLandmarks(make_world(data_root() / "demo", WORLD, queries=QUERIES))


def demo_answers(run: Run, data: GoogleLandmarks) -> pd.DataFrame:
    """List the first photograph of each kind with a run's answer: a known landmark, a distractor, an unknown landmark.

    Args:
        run: a finished run.
        data: with a test set that has all three kinds.

    Returns:
        A row for each kind: id, shown (what the photograph shows), answer, score.
    """
    truth, answers, names = truth_of(data), test_answers(run, data), names_of(data)
    known = closed_set(truth, run.labels.landmark_ids)
    kinds = {"known landmark": lambda i: i in known, "distractor": lambda i: not truth[i],
             "unknown landmark": lambda i: truth[i] and i not in known}  # fmt: skip
    rows = {}
    for kind, belongs in kinds.items():
        image_id = next(i for i in data.test["id"] if belongs(i))
        landmark_id, score = answers[image_id]
        shown = " or ".join(names[x] for x in truth[image_id]) or "no landmark"
        rows[kind] = {"id": image_id, "shown": shown, "answer": names[landmark_id], "score": score}
    return pd.DataFrame.from_dict(rows, orient="index")


def demo_scores(run: Run, data: GoogleLandmarks) -> pd.DataFrame:
    """Compute a run's closed and open GAP with 95 % intervals: rows closed and open; images, gap, low, high."""
    truth, answers = truth_of(data), test_answers(run, data)
    rows = {}
    for name, solution in (("closed", closed_set(truth, run.labels.landmark_ids)), ("open", truth)):
        some = restrict(answers, solution)
        low, high = gap_bootstrap(some, solution)
        gap = global_average_precision(some, solution)
        rows[name] = {"images": len(solution), "gap": gap, "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"images": int})


def demo(out: str | Path) -> list[str]:
    """Let the published run answer 120 new photographs of the course's landmarks, and explain three of its answers.

    Args:
        out: folder for the picture `demo.jpg`.

    Returns:
        What there is to say, a line each.
    """
    run, data = published_run(), demo_photographs()
    answers, scores = demo_answers(run, data), demo_scores(run, data)
    batch = batch_of(run, answers, data.root)
    maps = grad_cam(run.model(), batch.images.to(device())).cpu().numpy()
    titles = [f"{kind}: {row.answer} {row.score:.2f}" for kind, row in answers.iterrows()]
    figure = saliency_panels(squares(batch.images), {"Grad-CAM": list(maps)}, titles, tile=2.4)
    path = Path(out) / "demo.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        part.write_bytes(encode(figure)[0])
    wide = {"closed": "the landmarks it knows", "open": "all test images"}
    return [
        *(f"{kind} ({row.shown}): answered {row.answer}, score {row.score:.2f}" for kind, row in answers.iterrows()),
        *(f"GAP {row.gap:.3f} ({row.low:.3f} to {row.high:.3f}) over {row.images:.0f} images, {name}: {wide[name]}"
          for name, row in scores.iterrows()),
        f"{path}: the three pictures, and which parts of them spoke for the answer",
    ]  # fmt: skip
