"""Whatever is kept between calls answers for nothing but what it was made of: each cache meets a second data set."""

import io
import json
import os
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from landmark.course import answers
from landmark.data import archives
from landmark.data import tables as data_tables
from landmark.data.archives import ImageStore, open_images
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.images import image_path
from landmark.evaluation import metrics, prediction, write
from landmark.evaluation.confidence import RULES
from landmark.prepare import inspection
from landmark.prepare.mirror import make_mirror
from landmark.prepare.shrink import shrink_data
from landmark.training import predict_run
from landmark.training import run as training_run
from landmark.training.config import TrainConfig
from landmark.training.frozen.maps import FrozenMaps
from landmark.training.run import Run
from landmark.training.trainer import fit
from landmark.utils import files
from landmark.utils.errors import InputError
from landmark.world import make
from landmark.world.config import WorldConfig
from landmark.world.make import make_world
from tests.helpers import Killed


def jpeg(grey):
    """A picture of one grey; those of another grey have as many bytes."""
    packed = io.BytesIO()
    Image.new("L", (64, 64), grey).save(packed, "JPEG", quality=95)
    return packed.getvalue().ljust(1000, b"\0")[:-2] + b"\xff\xd9"


def put_back(path, content):
    """Other content of the same size under the same time, as `cp -p` and `tar -x` leave it."""
    before = path.stat()
    assert before.st_size == len(content) and path.read_bytes() != content
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the system's clock ticks a hundred times a second
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def tar_of(images):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for image_id, data in images.items():
            info = tarfile.TarInfo(f"{'/'.join(image_id[:3])}/{image_id}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


IDS = [f"{i:x}23456789abcdef0" for i in range(6)]


@pytest.fixture
def greys(tmp_path):
    """Six test images of growing brightness, three landmarks, one distractor, one image without a file."""
    root = tmp_path / "greys"
    for i, image_id in enumerate(IDS):
        path = image_path(root, "test", image_id)
        path.parent.mkdir(parents=True)
        path.write_bytes(jpeg(40 * i))
    image_path(root, "test", IDS[5]).unlink()
    (root / "test.csv").write_text("id\n" + "\n".join(IDS) + "\n")
    solve(root, "1", "1", "2", "3", "", "3")
    return root


def solve(root, *landmarks, usage="Public"):
    rows = [f"{image_id},{found},{usage}\n" for image_id, found in zip(IDS, landmarks, strict=True)]
    (root / "recognition_solution_v2.1.csv").write_text("id,landmarks,Usage\n" + "".join(rows))


class Brightness(nn.Module):
    """Three classes by the mean of an image, with scores that no table of rounded numbers holds."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([-3.0, 0.1, 3.0]))

    def forward(self, x):
        return x.float().mean((1, 2, 3))[:, None] * self.scale


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "model", lambda self, which="best": Brightness())
    config = TrainConfig(model="resnet50", size=32, batch_size=4)
    return Run(tmp_path / "run", config, LabelMap([1, 2, 3]), {"sha256": "a" * 64})


@pytest.fixture
def asked(monkeypatch):
    """Counts the times that a network is asked."""
    calls, predict = [], prediction.predict
    monkeypatch.setattr(predict_run, "predict", lambda *args, **more: calls.append(1) or predict(*args, **more))
    return calls


def fresh(run, root):
    """What a run without a memory answers."""
    return answers.test_predictions(replace(run, path=run.path.parent / "elsewhere" / os.urandom(4).hex()),
                                        GoogleLandmarks(root))  # fmt: skip


def equal(a, b):
    columns, others = a.columns(), b.columns()
    same = columns.keys() == others.keys() and a.ids == b.ids and a.bad == b.bad
    return same and all(np.array_equal(columns[name], others[name], equal_nan=True) for name in columns)


def arrive(root):
    image_path(root, "test", IDS[5]).write_bytes(jpeg(200))


def repair(root):
    put_back(image_path(root, "test", IDS[1]), jpeg(250))


def relabel(root):
    solve(root, "2", "1", "2", "3", "", "3")


def shorten(root):
    (root / "test.csv").write_text("id\n" + "\n".join(IDS[:4]) + "\n")


def reorder(root):
    (root / "test.csv").write_text("id\n" + "\n".join(IDS[::-1]) + "\n")


def into_a_tar(root):
    images = {image_id: jpeg(255 - 40 * i) for i, image_id in enumerate(IDS)}
    shutil.rmtree(root / "test")
    (root / "test").mkdir()
    (root / "test" / "images_000.tar").write_bytes(tar_of(images))


def kill():
    raise Killed


CHANGES = [arrive, repair, relabel, shorten, reorder, into_a_tar]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_predictions_answer_for_their_own_data_set(run, greys, asked, change):
    """Fails when a run's kept answers are given for other images, other rows or another truth."""
    before = answers.test_predictions(run, GoogleLandmarks(greys))
    change(greys)
    after = answers.test_predictions(run, GoogleLandmarks(greys))
    assert len(asked) == 2 and not equal(before, after) and equal(after, fresh(run, greys))


def test_kept_predictions_are_those_that_were_made(run, greys, asked):
    """Fails when an unreadable image, its reason or the last bit of a number is lost on the way, or nothing is kept."""
    made, kept = (answers.test_predictions(run, GoogleLandmarks(greys)) for _ in range(2))
    assert len(asked) == 1 and equal(made, kept)
    assert [item.image_id for item in kept.bad] == [IDS[5]] and "no such file" in kept.bad[0].reason
    assert all(column.dtype == kept.columns()[name].dtype for name, column in made.columns().items())


def test_one_record_answers_every_rule(run, greys, asked):
    """Fails when a rule is predicted anew, gets another rule's scores, or a record without logits answers for them."""
    data = GoogleLandmarks(greys)
    scores = {rule: [score for _, score in answers.test_answers(run, data, rule).values()] for rule in RULES}
    assert len(asked) == 1 and len({tuple(numbers) for numbers in scores.values()}) == len(RULES)
    whole = [answers.test_predictions(run, data, keep=["logits"]) for _ in range(2)]
    assert len(asked) == 2 and equal(*whole) and whole[0].logits.shape == (5, 3)
    assert np.allclose(scores["softmax"], np.exp(whole[0].logits).max(1) / np.exp(whole[0].logits).sum(1))
    assert answers.test_predictions(run, data).logits is None and len(asked) == 2


def test_two_data_sets_have_their_answers_kept_at_once(run, greys, tmp_path, asked):
    """Fails when the answers for one data set push those for another out."""
    shutil.copytree(greys, tmp_path / "other")
    relabel(tmp_path / "other")
    for root in (greys, tmp_path / "other") * 2:
        answers.test_predictions(run, GoogleLandmarks(root))
    assert len(asked) == 2


@pytest.mark.parametrize("what", ["weights", "labels", "size", "arithmetic", "columns"])
def test_predictions_answer_for_their_own_run(run, greys, asked, monkeypatch, what):
    """Fails when kept answers are given for other weights, labels or pixels, in other arithmetic or of other columns."""
    answers.test_predictions(run, GoogleLandmarks(greys))
    if what == "arithmetic":
        monkeypatch.setattr(training_run, "fast_dtype", lambda where: "another one")
    elif what == "columns":
        monkeypatch.setattr(predict_run, "COLUMNS", ("another one",))
    other = {"weights": {"result": {"sha256": "b" * 64}}, "labels": {"labels": LabelMap([1, 2, 4])},
             "size": {"config": replace(run.config, size=64)}}  # fmt: skip
    answers.test_predictions(replace(run, **other.get(what, {})), GoogleLandmarks(greys))
    assert len(asked) == 2


@pytest.mark.parametrize("plant", [b"", b"PK\x03\x04 not a zip", None], ids=["empty", "damaged", "of another"])
def test_damaged_answers_are_made_again(run, greys, asked, plant):
    """Fails when a cut or planted file of answers is a traceback, or is believed."""
    made = answers.test_predictions(run, GoogleLandmarks(greys))
    (path,) = (run.path / "predictions").iterdir()
    if plant is None:
        replace(made, class_index=made.class_index + 1).save(path, {})
    else:
        path.write_bytes(plant)
    assert equal(answers.test_predictions(run, GoogleLandmarks(greys)), made) and len(asked) == 2
    assert equal(answers.test_predictions(run, GoogleLandmarks(greys)), made) and len(asked) == 2


def test_answers_that_cannot_be_kept_are_given_all_the_same(run, greys):
    """Fails when hours of prediction are lost because the run's folder cannot be written."""
    run.path.mkdir()
    (run.path / "predictions").write_text("in the way")
    assert answers.test_predictions(run, GoogleLandmarks(greys)).ids == IDS[:5]


def test_ignored_images_have_answers_and_no_score(run, greys):
    """Fails when an image marked Ignored counts in a score of the course, or has no row in a submission."""
    before = GoogleLandmarks(greys)
    whole = metrics.top1_accuracy(answers.test_answers(run, before), answers.truth_of(before))
    rows = (greys / "recognition_solution_v2.1.csv").read_text()
    (greys / "recognition_solution_v2.1.csv").write_text(rows.replace(f"{IDS[3]},3,Public", f"{IDS[3]},2,Ignored"))
    data = GoogleLandmarks(greys)
    found, truth = answers.test_answers(run, data), answers.truth_of(data)
    assert IDS[3] not in truth and IDS[3] not in found
    assert IDS[3] in answers.test_predictions(run, data).ids
    some = metrics.top1_accuracy(found, truth)
    assert (whole, some) == (3 / 5, 2 / 4), "answers 1 1 3 3: one of the right ones is left out"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_parts_of_a_submission_are_of_their_own_images(run, greys, tmp_path, monkeypatch, change):
    """Fails when a stopped prediction goes on with parts that were made of other images."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(write, "_join", lambda *args: kill())
        predict_run.submit(run, GoogleLandmarks(greys), tmp_path / "s.csv", workers=0, progress=False)
    (part,) = (tmp_path / ".s.csv.parts").glob("0*.json")
    rows = [[image_id, 1, 0.5] for image_id in IDS]
    part.write_text(json.dumps({"rows": rows, "bad": {}}))
    change(greys)
    predict_run.submit(run, GoogleLandmarks(greys), tmp_path / "s.csv", workers=0, progress=False)
    predict_run.submit(run, GoogleLandmarks(greys), tmp_path / "whole.csv", workers=0, progress=False)
    anew = (tmp_path / "s.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert anew == (change is not relabel), "a submission does not rest on the truth"


@pytest.mark.parametrize("size", [1, 5000], ids=["small", "with a cache"])
def test_a_table_put_back_under_its_time_is_read(tmp_path, monkeypatch, size):
    """Fails when labels come from the Parquet copy of another train.csv of the same size and time."""
    monkeypatch.setattr(data_tables, "CACHED_FROM", 1000)
    path = tmp_path / "train.csv"
    text = "id,url,landmark_id\n" + "".join(f"{i:016x},u,{i % 7}\n" for i in range(size))
    path.write_text(text)
    data_tables.read_train(path)
    put_back(path, text.replace(",0\n", ",8\n").encode())
    assert set(data_tables.read_train(path)["landmark_id"]) == ({8} if size == 1 else set(range(1, 7)) | {8})


def test_a_tar_put_back_under_its_time_is_indexed_anew(tmp_path):
    """Fails when the index of another TAR of the same size and time gives one image's bytes under another's id."""
    (tmp_path / "train").mkdir()
    tar = tmp_path / "train/images_000.tar"
    first = {image_id: bytes([65 + i]) * 700 for i, image_id in enumerate(IDS)}
    tar.write_bytes(tar_of(first))
    assert open_images(tmp_path, "train").read(IDS[0]) == first[IDS[0]]
    other = dict(zip(reversed(IDS), first.values(), strict=True))
    put_back(tar, tar_of(dict(sorted(other.items(), reverse=True))))
    for store in (open_images(tmp_path, "train"), ImageStore(tmp_path, "train")):
        assert {image_id: store.read(image_id) for image_id in IDS} == other


def test_images_are_of_the_folder_that_is_meant(tmp_path, monkeypatch):
    """Fails when the same relative path, seen from another folder, gives the images of the first."""
    stamps = []
    for name, order in (("a", IDS), ("b", IDS[::-1])):
        (tmp_path / name / "data/train").mkdir(parents=True)
        tar = tmp_path / name / "data/train/images_000.tar"
        tar.write_bytes(tar_of({image_id: image_id.encode() for image_id in order[:3]}))
        os.utime(tar, ns=(0, 0))
        stamps.append(files.stamp(tar.stat())[:2])
    assert stamps[0] == stamps[1]
    monkeypatch.setattr(archives, "stamp", lambda status: (*files.stamp(status)[:2], 0))
    for name, order in (("a", IDS), ("b", IDS[::-1])):
        monkeypatch.chdir(tmp_path / name)
        assert open_images("data", "train").ids() == sorted(order[:3])


def test_an_inspection_answers_for_its_own_images(tmp_path, monkeypatch):
    """Fails when facts saved by an interrupted check are of a picture that was replaced under the same size and time."""
    monkeypatch.setattr(inspection, "SEGMENT", 2)
    for i, image_id in enumerate(IDS):
        path = image_path(tmp_path, "train", image_id)
        path.parent.mkdir(parents=True)
        path.write_bytes(jpeg(30 * i))
    before = inspection.inspect_split(ImageStore(tmp_path, "train"), progress=False)
    put_back(image_path(tmp_path, "train", IDS[3]), jpeg(250))
    after = inspection.inspect_split(ImageStore(tmp_path, "train"), progress=False)
    changed = before.records["digest"] != after.records["digest"]
    assert after.ids[changed].tolist() == [IDS[3].encode()]
    looked = []
    monkeypatch.setattr(inspection, "inspect_image", lambda data: looked.append(1) or 1 / 0)
    assert np.array_equal(
        inspection.inspect_split(ImageStore(tmp_path, "train"), progress=False).records, after.records
    )
    monkeypatch.setattr(inspection, "RULES", inspection.RULES + 1)
    with pytest.raises(ZeroDivisionError):
        inspection.inspect_split(ImageStore(tmp_path, "train"), progress=False)
    assert looked, "what older rules found was believed"


def test_a_world_of_another_version_is_refused(tmp_path, monkeypatch):
    """Fails when a world that an older version made is taken for this one's."""
    tiny = WorldConfig(landmarks=1, images=2, test=1, size=32)
    root = make_world(tmp_path / "w", tiny, progress=False)
    monkeypatch.setattr(make, "VERSION", make.VERSION + 1)
    with pytest.raises(InputError, match=r"version: \d+ → \d+"):
        make_world(root, tiny, progress=False)


def test_a_mirror_offers_the_world_that_is_meant(tmp_path):
    """Fails when a mirror goes on offering the tables or images of another world, or of this one before a change."""
    tiny = WorldConfig(landmarks=1, images=2, test=1, size=32)
    worlds = [make_world(tmp_path / str(seed), replace(tiny, seed=seed), progress=False) for seed in range(2)]
    out = tmp_path / "mirror"

    def served():
        return {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.parent != out}

    first = make_mirror(worlds[0], out, tars=2) and served()
    kept = (out / "train/images_000.tar").stat().st_mtime_ns
    assert make_mirror(worlds[0], out, tars=2) and (out / "train/images_000.tar").stat().st_mtime_ns == kept
    second = make_mirror(worlds[1], out, tars=1) and served()
    assert second != first and not (out / "train/images_001.tar").exists()
    assert make_mirror(worlds[0], out, tars=2) and served() == first
    path = image_path(worlds[0], "test", GoogleLandmarks(worlds[0]).test["id"][0])
    put_back(path, bytes(path.stat().st_size))
    assert make_mirror(worlds[0], out, tars=2) and served() != first


def test_a_mirror_of_the_real_thing_is_left_alone(tmp_path):
    """Fails when a folder in the public layout that this command did not write is emptied."""
    root = make_world(tmp_path / "w", WorldConfig(landmarks=1, images=2, test=1, size=32), progress=False)
    (tmp_path / "real/metadata").mkdir(parents=True)
    (tmp_path / "real/metadata/train.csv").write_text("published")
    with pytest.raises(InputError, match="not a mirror"):
        make_mirror(root, tmp_path / "real")
    assert (tmp_path / "real/metadata/train.csv").read_text() == "published"


@pytest.mark.parametrize("done", [1, 2], ids=["stopped", "finished"])
def test_a_shrink_goes_on_with_the_images_that_are_there(tmp_path, done):
    """Fails when a repaired image stays as it was, or stays left out, because its TAR or its verdict is there already."""
    root = tmp_path / "data"
    for i, image_id in enumerate(IDS):
        path = image_path(root, "train", image_id)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"<html>" if i in (1, 5) else jpeg(40 * i))
    settings = {"splits": ("train",), "shard_bytes": 1, "progress": False, "workers": 0}
    assert len(shrink_data(root, tmp_path / "out", 16, **settings).bad) == 2
    for i in (1, 5)[:done]:
        image_path(root, "train", IDS[i]).write_bytes(jpeg(40 * i))
    put_back(image_path(root, "train", IDS[3]), jpeg(250))
    found = shrink_data(root, tmp_path / "out", 16, **settings)
    whole = shrink_data(root, tmp_path / "whole", 16, **settings)
    assert found == whole and found.images == 4 + done
    for tar in (tmp_path / "whole/train").iterdir():
        assert (tmp_path / "out/train" / tar.name).read_bytes() == tar.read_bytes()


def test_a_run_that_goes_on_looks_at_changed_images_again(tmp_path, world, monkeypatch):
    """Fails when a run that was stopped after its views were made learns from maps of pictures that are gone."""
    root = shutil.copytree(world, tmp_path / "data")
    config = TrainConfig(model="resnet50", size=32, batch_size=4, epochs=2, min_images=2, dev_fraction=0.3,
                         weights="none", freeze="layer3", views=1)  # fmt: skip
    monkeypatch.setenv("LANDMARK_DATA", str(tmp_path / "cache"))
    made, fill = [], FrozenMaps.fill

    def watched(self, *args):
        for batch in fill(self, *args):
            made.extend([] if self.dataset.split == "test" else batch.ids)
            yield batch

    monkeypatch.setattr(FrozenMaps, "fill", watched)

    class StoppedError(Exception):
        pass

    def stopping(*given):
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("landmark.training.trainer.train_step", stopping)
        for _ in range(2):
            with pytest.raises(StoppedError):
                fit(config, root, tmp_path / "run", workers=0, progress=False)
        once, changed = len(made), made[0]
        path = image_path(root, "train", changed)
        put_back(path, path.read_bytes()[:-50] + bytes(48) + b"\xff\xd9")
        with pytest.raises(StoppedError):
            fit(config, root, tmp_path / "run", workers=0, progress=False)
    assert made[once:] == [changed], "that one alone"
