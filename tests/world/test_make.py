"""The renderer and the miniature world: geometry by hand, same seed same pixels, planted faults that are there."""

import hashlib
import json
import os
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from landmark.data import images, tables
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation import metrics, open_world
from landmark.prepare import check
from landmark.utils.errors import ImageError, InputError
from landmark.world import make, photographs, plan
from landmark.world.config import WorldConfig
from landmark.world.make import make_world


def digest(root):
    kept = root / ".landmark"  # what others have worked out about the world
    files = sorted(p for p in root.rglob("*") if p.is_file() and kept not in p.parents)
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_same_seed_same_pixels(tmp_path, world):
    """Fails on global randomness, on the number of processes leaking in, or on a resumed world that differs."""
    again = make_world(tmp_path / "again", landmarks=3, images=6, test=12, size=64, workers=1, progress=False)
    assert digest(again) == digest(world)
    (again / "world.json").rename(again / "world.part.json")
    next((again / "train").rglob("*.jpg")).unlink()
    assert digest(make_world(again, landmarks=3, images=6, test=12, size=64, progress=False)) == digest(world)
    other = make_world(tmp_path / "other", landmarks=3, images=6, test=12, size=64, seed=1, progress=False)
    assert digest(other) != digest(world)


TABLES = {
    "landmarks.csv": "0067289d40cdebfe",
    "nonlandmark.csv": "473cf34466be2675",
    "planted.csv": "fa236d2ebf4b3f2a",
    "recognition_solution_v2.1.csv": "f0c22b611d45b3c9",
    "test.csv": "ab46fc8a71b18a3c",
    "train.csv": "3827d8036642e41d",
    "train_label_to_category.csv": "bce40592df5fcd6b",
    "train_label_to_hierarchical.csv": "b4379fb51884cba4",
}
MEANS = [
    111.05,
    60.75,
    125.36,
    131.71,
    150.77,
    156.91,
    123.18,
    149.58,
    138.1,
    166.5,
    150.89,
    176.32,
    22.96,
    121.26,
    102.24,
    97.52,
    133.43,
    126.94,
    164.74,
    133.17,
]


def test_the_version_tells_of_every_change(tmp_path):
    """Fails when equal settings give other tables or pixels under the same version: then a world on disk, or weights
    learnt from one, would be taken for what they are not.

    Pixels are pinned by the mean of each picture, to two hundredths of a grey level: chips and releases of the JPEG
    encoder round a pixel now and then, a change of the world moves whole pictures.
    """
    config = WorldConfig(landmarks=2, images=3, test=6, size=48)
    root = make_world(tmp_path / "w", config, workers=1, progress=False)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in sorted(root.glob("*.csv"))}
    shots = plan.plan(config)[0]
    means = [photographs._pixels(shot, np.random.default_rng(shot.seed)).mean() for shot in shots]
    told = "this world is another one now: raise world.make.VERSION, then pin it here again with these values: "
    same = len(means) == len(MEANS) and np.abs(np.subtract(means, MEANS)).max() < 0.02
    assert make.VERSION == 3 and digests == TABLES and same, f"{told}{digests} {np.round(means, 2).tolist()}"
    again = [cv2.imread(str(images.image_path(root, s.split, s.image_id))) for s in shots if not s.fault]
    assert (
        np.abs(
            np.subtract([x.mean() for x in again], [m for s, m in zip(shots, means, strict=True) if not s.fault])
        ).max()
        < 1
    )


def make_in_child(root, **settings):
    pid = os.fork()
    if not pid:
        code = 3
        try:
            make_world(root, landmarks=3, images=6, test=12, size=64, progress=False, **settings)
            code = 0
        except InputError as error:
            code = 2 if "other settings" in str(error) else 1
        finally:
            os._exit(code)
    return pid


def test_two_processes_make_one_world(tmp_path, world):
    """Fails when two that make a world at once write into the same file, or one of them fails at its end."""
    several = [make_in_child(tmp_path / "w") for _ in range(3)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in several] == [0] * 3
    assert digest(tmp_path / "w") == digest(world)
    several = [make_in_child(tmp_path / "v", seed=seed) for seed in (0, 0, 1, 1)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in several]
    assert codes in ([0, 0, 2, 2], [2, 2, 0, 0]), "who comes first decides on the settings"


def test_what_a_killed_process_leaves_of_a_picture_goes(tmp_path, world):
    """Fails when half a picture stays beside the world for ever, or a folder that holds a lock alone is refused."""
    root = tmp_path / "w"
    (root / "train/0/0/0").mkdir(parents=True)
    (root / "train/0/0/0/.0000.jpg.x.part").write_bytes(b"half")
    (root / ".lock").touch()
    shutil.copy(world / "world.json", root / "world.part.json")
    make_world(root, landmarks=3, images=6, test=12, size=64, progress=False)
    assert digest(root) == digest(world)


def test_foreign_folders_are_refused(tmp_path, world):
    """Fails when somebody's files, or another world, would be overwritten."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not a miniature world"):
        make_world(tmp_path, progress=False)
    with pytest.raises(InputError, match="seed: 0 → 5"):
        make_world(world, landmarks=3, images=6, test=12, size=64, seed=5, progress=False)


def test_layout_and_planted_faults(world):
    """Fails when a planted fault is not in the file, or the tables cannot be read by the strict readers."""
    data = GoogleLandmarks(world)
    planted = pd.read_csv(world / "planted.csv", dtype={"id": str})
    assert set(planted["fault"]) >= {"wrong_label", "rotated", "grey", "cmyk", "exif", "unreadable"}
    assert len(data.test) == 12 and data.solution["id"].tolist() == data.test["id"].tolist()
    categories = tables.read_categories(world / "train_label_to_category.csv")
    assert set(categories["landmark_id"]) >= set(data.train["landmark_id"])
    bad = set(planted.loc[planted["fault"] == "unreadable", "id"])
    report = check.check_data(world, progress=False)
    assert report.exit_code == 1 and {item["id"] for item in report.bad} == bad
    modes = {f: Image.open(images.image_path(world, "train", i)).mode for f, i in zip(planted["fault"], planted["id"], strict=True)
             if f in ("grey", "cmyk")}  # fmt: skip
    assert modes == {"grey": "L", "cmyk": "CMYK"}
    assert json.loads((world / "world.json").read_text())["landmarks"] == 3
    for image_id in data.test["id"]:
        assert max(images.read_image(images.image_path(world, "test", image_id)).size) == 64


def test_another_test_set_of_a_world(tmp_path, world):
    """Fails when its photographs are files of the world's own, it has train images or a table that says otherwise, or
    a folder that keeps the solution back holds it."""
    settings = {"landmarks": 3, "images": 6, "test": 12, "size": 64, "progress": False}
    other = make_world(tmp_path / "other", queries=1, **settings)
    assert {p.name for p in other.iterdir()} == {
        "test", "test.csv", "recognition_solution_v2.1.csv", "landmarks.csv", "world.json",
        "train_label_to_category.csv", "train_label_to_hierarchical.csv",
    } | {p.name for p in other.glob(".*")}  # fmt: skip
    pictures = [{digest for name, digest in digest(root).items() if name.endswith(".jpg")} for root in (world, other)]
    assert len(pictures[1]) == 12 and not pictures[0] & pictures[1]
    data = GoogleLandmarks(other)
    known = set(pd.read_csv(other / "landmarks.csv").query("role == 'known'")["landmark_id"])
    assert known == set(GoogleLandmarks(world).labelled(2)["landmark_id"])
    assert data.solution["id"].tolist() == data.test["id"].tolist()
    assert sum(bool(known & set(shown)) for shown in data.solution["landmarks"]) == round(0.3 * 12)
    hidden = make_world(tmp_path / "hidden", queries=1, solution=False, **settings)
    assert not (hidden / "recognition_solution_v2.1.csv").exists()
    assert (hidden / "test.csv").read_bytes() == (other / "test.csv").read_bytes()
    with pytest.raises(InputError, match="solution: False → None"):
        make_world(hidden, queries=1, **settings)
    with pytest.raises(InputError, match="queries: 1 → 2"):
        make_world(other, queries=2, **settings)
    with pytest.raises(InputError, match="queries=-1"):
        make_world(tmp_path / "none", queries=-1, **settings)
    assert not (tmp_path / "none").exists()


def nearest(queries, train, labels):
    distance = (queries**2).sum(1)[:, None] + (train**2).sum(1)[None] - 2 * queries @ train.T
    best = distance.argmin(1)
    return labels[best], -distance[np.arange(len(best)), best]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_shortcuts_do_not_solve_it(tmp_path):
    """Fails when colour alone, or a thumbnail alone, gives the landmark away: closed GAP below 0.35 for both."""
    root = make_world(tmp_path / "default", test=300, known=0.9, progress=False)
    data = GoogleLandmarks(root)
    train = tables.filter_min_images(data.train, WorldConfig().min_images)
    closed = open_world.closed_set(
        dict(zip(data.solution["id"], data.solution["landmarks"], strict=True)), set(train["landmark_id"])
    )

    def features(ids, split):
        colours, thumbs, kept = [], [], []
        for k, image_id in enumerate(ids):
            try:
                image = images.read_image(images.image_path(root, split, image_id))
            except ImageError:
                continue
            pixels = np.asarray(image)
            histogram = np.histogramdd(pixels.reshape(-1, 3), bins=8, range=[(0, 256)] * 3)[0].ravel()
            colours.append(np.sqrt(histogram / histogram.sum()))
            thumbs.append(np.asarray(image.resize((16, 16))).ravel() / 255)
            kept.append(k)
        return np.array(colours), np.array(thumbs), kept

    labels = train["landmark_id"].to_numpy()
    *known, kept = features(train["id"], "train")
    *asked, answered = features(list(closed), "test")
    for a, b, what in zip(asked, known, ("colour histograms", "16×16 pixels"), strict=True):
        answers = dict(
            zip(np.array(list(closed))[answered], zip(*nearest(a, b, labels[kept]), strict=True), strict=True)
        )
        answers = {i: (int(k), float(s)) for i, (k, s) in answers.items()}
        assert metrics.global_average_precision(answers, closed) < 0.35, what
