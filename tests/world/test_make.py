"""The renderer and the miniature world: geometry by hand, same seed same pixels, planted faults that are there."""

import hashlib
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from landmark import architecture, health, images, metrics, renderer, solids, synthetic, tables
from landmark.config import WorldConfig
from landmark.data import GoogleLandmarks
from landmark.runtime import InputError
from landmark.synthetic import make_world


def digest(root):
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_face_covers_the_pixels_it_projects_to():
    """Fails when the picture is mirrored, upside down, or drawn from behind."""
    camera = renderer.Camera(np.array([0.0, -10, 0]), np.array([0.0, 0, 0]), 90.0, 40, 40)
    points = [[(0, 0, 0), (5, 0, 0), (5, 0, 5), (0, 0, 5)]]  # to the right and above, facing us
    textures = renderer.Textures.of(np.full((1, 16, 16, 4), (200, 100, 50, 0), np.uint8))
    light = renderer.Light(np.array([0, -1.0, 0]), np.ones(3), np.zeros(3), np.ones(3))
    frame = renderer.Frame(camera)
    frame.draw(solids.quads(points, (1, 1), 0), textures, light)
    rows, columns = np.nonzero(frame.colour.any(-1))
    found = np.array([rows.min(), rows.max(), columns.min(), columns.max()])
    assert np.abs(found - [10, 19, 20, 29]).max() <= 1, "edges are drawn, so a pixel more is right"
    assert frame.inverse_depth[15, 25] == pytest.approx(0.1)
    behind = renderer.Frame(camera)
    behind.draw(solids.quads(np.array(points)[:, ::-1], (1, 1), 0), textures, light)
    assert not behind.colour.any()


def test_the_nearer_face_wins_in_any_order():
    """Fails when the depth buffer is a painter's order in disguise."""
    camera = renderer.Camera(np.array([0.0, -10, 0]), np.array([0.0, 0, 0]), 90.0, 20, 20)
    colours = np.zeros((2, 16, 16, 4), np.uint8)
    colours[0, ..., 0], colours[1, ..., 1] = 200, 200
    square = np.array([[(-20, 0, -20), (20, 0, -20), (20, 0, 20), (-20, 0, 20)]], float)
    light = renderer.Light(np.array([0, -1.0, 0]), np.ones(3), np.zeros(3), np.ones(3))
    for order in ([0, 1], [1, 0]):
        frame = renderer.Frame(camera)
        for which in order:
            frame.draw(
                solids.quads(square + (0, [5, 0][which], 0), (1, 1), which), renderer.Textures.of(colours), light
            )
        assert frame.colour[10, 10].argmax() == 1


def test_shadow_falls_away_from_the_sun():
    """Fails when shadows point to the sun or lit ground is dark."""
    frame = renderer.Frame(renderer.Camera(np.array([0.0, -30, 10]), np.zeros(3), 60.0, 8, 8))
    light = renderer.Light(np.array([1, 0, 1]) / 2**0.5, np.ones(3), np.zeros(3), np.ones(3))
    frame.cast_shadows(solids.box(4, 4, 10), light)
    east, west = frame.sunlight(np.array([[6, 0, 0], [-6, 0, 0]], np.float32), light)
    assert east == 1 and west < 0.3


@pytest.mark.parametrize("kind", architecture.KINDS)
def test_every_kind_stands_on_the_ground(kind):
    """Fails on a building that floats, is not finite, or has no size; siblings must differ."""
    meshes = [architecture.KINDS[kind](np.random.default_rng(seed))[0] for seed in range(4)]
    for mesh in meshes:
        assert np.isfinite(mesh.points).all() and np.isfinite(mesh.repeats).all()
        assert -0.5 < mesh.points[..., 2].min() < 0.6 and 5 < mesh.points[..., 2].max() < 150
    assert len({m.points.tobytes() for m in meshes}) == 4


def test_siblings_share_material_and_differ_in_geometry():
    """Fails when a family leaks into the geometry or a seed into the material."""
    a, b, c = architecture.design(1, 9), architecture.design(2, 9), architecture.design(1, 8)
    assert a.material == b.material and a.kind == b.kind and a.material != c.material
    assert a.mesh.points.tobytes() != b.mesh.points.tobytes()


def test_same_seed_same_pixels(tmp_path, world):
    """Fails on global randomness, on the number of processes leaking in, or on a resumed world that differs."""
    again = make_world(tmp_path / "again", landmarks=3, images=6, test=12, size=64, workers=1, progress=False)
    assert digest(again) == digest(world)
    (again / "world.json").rename(again / "world.part.json")
    next((again / "train").rglob("*.jpg")).unlink()
    assert digest(make_world(again, landmarks=3, images=6, test=12, size=64, progress=False)) == digest(world)
    other = make_world(tmp_path / "other", landmarks=3, images=6, test=12, size=64, seed=1, progress=False)
    assert digest(other) != digest(world)


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


@pytest.mark.parametrize(
    "settings", [{"landmarks": 0}, {"size": 2.5}, {"known": 1.2}, {"known": 0.8, "unknown": 0.4}, {"colour": 1}]
)
def test_bad_settings_are_named(tmp_path, settings):
    """Fails when a setting out of range starts to render."""
    with pytest.raises(InputError, match=next(iter(settings))):
        make_world(tmp_path / "w", progress=False, **settings)


def test_counts_and_shares():
    """Fails when the tail or the faults eat into the label set, or the shares of the test set drift."""
    config = WorldConfig(landmarks=10, images=20, test=200, known=0.5, unknown=0.2)
    shots, landmarks = synthetic.plan(config)
    train = pd.DataFrame([(s.label, s.fault) for s in shots if s.split == "train"], columns=["landmark_id", "fault"])
    regular = train[~train["fault"].isin(["wrong_label", "duplicate", "unreadable"])]
    sizes = regular["landmark_id"].value_counts()
    known = landmarks.loc[landmarks["role"] == "known", "landmark_id"]
    assert (
        sizes[known].sum() == 200
        and sizes[known].min() >= config.min_images
        and sizes[known].max() > 2 * sizes[known].min()
    )
    assert sizes.drop(known).max() < config.min_images
    assert set(train["landmark_id"].value_counts()[lambda n: n >= config.min_images].index) == set(known)
    test = [s for s in shots if s.split == "test"]
    assert (
        len(test) == 200
        and sum(s.truth in set(known) for s in test) == 100
        and sum(s.truth is None for s in test) == 60
    )
    assert len({s.image_id for s in shots}) == len(shots)
    pretraining = synthetic.plan(WorldConfig(landmarks=10, images=20, pretraining=True))[0]
    seeds = [{s.subject for s in some if not isinstance(s.subject, str)} for some in (shots, pretraining)]
    assert not seeds[0] & seeds[1], "the pretraining world must be disjoint"


@pytest.mark.parametrize(("landmarks", "size"), [(1, 2), (2, 3), (5, 2)])
def test_the_smallest_worlds(landmarks, size):
    """Fails when a world of a few images runs out of images to spoil."""
    shots, table = synthetic.plan(WorldConfig(landmarks=landmarks, images=size, test=3))
    assert (table["role"] == "known").sum() == landmarks and len(shots) > landmarks * size


def test_layout_and_planted_faults(world):
    """Fails when a planted fault is not in the file, or the tables cannot be read by the strict readers."""
    data = GoogleLandmarks(world)
    planted = pd.read_csv(world / "planted.csv", dtype={"id": str})
    assert set(planted["fault"]) >= {"wrong_label", "rotated", "grey", "cmyk", "exif", "unreadable"}
    assert len(data.test) == 12 and data.solution["id"].tolist() == data.test["id"].tolist()
    assert set(data.categories["landmark_id"]) >= set(data.train["landmark_id"])
    bad = set(planted.loc[planted["fault"] == "unreadable", "id"])
    report = health.check_data(world, progress=False)
    assert (
        report.exit_code == 1 and {b["id"] for b in report.to_dict()["bad"]} == bad
        if "bad" in report.to_dict()
        else True
    )
    from PIL import Image

    modes = {f: Image.open(images.image_path(world, "train", i)).mode for f, i in zip(planted["fault"], planted["id"], strict=True)
             if f in ("grey", "cmyk")}  # fmt: skip
    assert modes == {"grey": "L", "cmyk": "CMYK"}
    assert json.loads((world / "world.json").read_text())["landmarks"] == 3
    for image_id in data.test["id"]:
        assert max(images.read_image(images.image_path(world, "test", image_id)).size) == 64


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
    closed = metrics.closed_set(
        dict(zip(data.solution["id"], data.solution["landmarks"], strict=True)), set(train["landmark_id"])
    )

    def features(ids, split):
        colours, thumbs, kept = [], [], []
        for k, image_id in enumerate(ids):
            try:
                image = images.read_image(images.image_path(root, split, image_id))
            except images.ImageError:
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
