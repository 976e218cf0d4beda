"""Submissions written part by part: every row, in order, also after a kill, and of one network, rule and data set."""

import json
import shutil
import threading

import pytest
import torch
from torch import nn

from landmark.data.dataset import LandmarkDataset, eval_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.images import image_path
from landmark.evaluation import prediction, write
from landmark.evaluation.confidence import RULES
from landmark.evaluation.write import write_predictions
from landmark.models.folding import fast_model
from landmark.models.int8 import has_int8
from landmark.models.net import create_model
from landmark.utils.errors import InputError
from tests.helpers import Killed

LABELS = LabelMap([1, 2, 3])
QUIET = {"workers": 0, "progress": False}


class Brightness(nn.Module):
    """Names a landmark by the mean of an image: the same image always gets the same answer."""

    def __init__(self, times=5.0):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-1, 1, 3) * times)

    def forward(self, x):
        return x.float().mean((1, 2, 3))[:, None] * self.scale


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(write, "ROWS", 4)


@pytest.fixture
def data(world, tmp_path):
    """The tiny world's test set with one file gone and one broken; a copy, as the world is shared."""
    shutil.copytree(world, tmp_path / "data")
    copy = GoogleLandmarks(tmp_path / "data")
    image_path(copy.root, "test", copy.test["id"][2]).unlink()
    image_path(copy.root, "test", copy.test["id"][5]).write_bytes(b"<html>")
    return copy


def images(data, size=32, mean=0.5, table=None):
    table = data.test if table is None else table
    return LandmarkDataset(table, data.root, "test", None, *eval_transform(size, (mean,) * 3, (0.5,) * 3))


def submission(data, out, model=None, labels=LABELS, score="softmax", **settings):
    """What `write_predictions` returns, and the rows that it wrote."""
    dataset = settings.pop("dataset", None) or images(data)
    settings = QUIET | {"batch_size": 3} | settings
    report = write_predictions(model or Brightness(), dataset, labels, out, score=score, **settings)
    return report, [line.split(",") for line in out.read_text().splitlines()[1:]]


def dying(batches):
    """Predictions that end, as by a kill, after some batches."""
    whole = prediction.predictions

    def some(model, loader):
        for number, part in enumerate(whole(model, loader)):
            if number == batches:
                raise Killed
            yield part

    return some


def test_a_row_for_every_id_in_order(tmp_path, data):
    """Fails when an image without a file loses its row, the order changes, or parts stay behind."""
    report, rows = submission(data, tmp_path / "s.csv")
    assert [row[0] for row in rows] == data.test["id"].tolist()
    assert [k for k, row in enumerate(rows) if not row[1]] == [2, 5]
    assert report["rows"] == 12 and report["predictions"] == 10 and len(report["bad"]) == 2
    assert "no such file" in report["bad"][data.test["id"][2]]
    assert not list(tmp_path.glob(".s.csv*"))


@pytest.mark.parametrize("rule", RULES)
def test_the_rows_are_those_of_a_prediction_in_one_go(tmp_path, data, rule):
    """Fails when a part gets another rule, another part's answers, or a score that lost its last digits."""
    _, rows = submission(data, tmp_path / "s.csv", score=rule)
    whole = prediction.predict(Brightness(), write.load_batches(images(data), [[(0, i) for i in range(12)]], 0))
    answers = whole.mapping(LABELS, rule)
    cells = [f"{answers[i][0]} {answers[i][1]!r}" if i in answers else "" for i in data.test["id"]]
    assert [row[1] for row in rows] == cells


def test_what_cannot_be_had_is_told_before_the_work(tmp_path, data):
    """Fails when a misspelt rule, or a network without integers, is noticed after hours or costs the old file."""
    (tmp_path / "s.csv").write_text("old")
    with pytest.raises(InputError, match="no score 'entropy': choose one of softmax, logit, margin, energy"):
        submission(data, tmp_path / "s.csv", score="entropy")
    with pytest.raises(InputError, match="Brightness has no form in 8-bit integers"):
        submission(data, tmp_path / "s.csv", int8=True)
    assert (tmp_path / "s.csv").read_text() == "old" and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_killed_it_goes_on(tmp_path, data, monkeypatch, batches):
    """Fails when a restart predicts finished parts again, or its file differs from that of one go."""
    submission(data, tmp_path / "whole.csv")
    whole, asked = prediction.predictions, []
    monkeypatch.setattr(write, "predictions", dying(batches))
    with pytest.raises(Killed):
        submission(data, tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()

    def watched(model, loader):
        for some in whole(model, loader):
            asked.extend(some.ids + [item.image_id for item in some.bad])
            yield some

    monkeypatch.setattr(write, "predictions", watched)
    submission(data, tmp_path / "s.csv")
    assert sorted(asked) == sorted(data.test["id"][4 * (batches // 2) :]), "only the parts that were not whole"
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def planted(data, out, monkeypatch, **settings):
    """Stop a submission after its first part, and write into that what no network answers."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(write, "predictions", dying(2))
        submission(data, out, **settings)
    (part,) = out.parent.glob(f".{out.name}.parts/0*.json")
    rows = [[image_id, 9, -123.5] for image_id, *_ in json.loads(part.read_text())["rows"]]
    part.write_text(json.dumps({"rows": rows, "bad": {}}))


CHANGES = {
    "nothing": lambda data, patch: {},
    "workers": lambda data, patch: {"workers": 1},
    "weights": lambda data, patch: {"model": Brightness(5.0000005)},
    "layers": lambda data, patch: {"model": nn.Sequential(Brightness())},
    "labels": lambda data, patch: {"labels": LabelMap([1, 2, 4])},
    "rule": lambda data, patch: {"score": "energy"},
    "batches": lambda data, patch: {"batch_size": 4},
    "size": lambda data, patch: {"dataset": images(data, size=33)},
    "mean": lambda data, patch: {"dataset": images(data, mean=0.25)},
    "order": lambda data, patch: {"dataset": images(data, table=data.test[::-1])},
    "fewer rows": lambda data, patch: {"dataset": images(data, table=data.test[:8])},
    "an image": lambda data, patch: image_path(data.root, "test", data.test["id"][9]).write_bytes(b"<html>") and {},
    "arithmetic": lambda data, patch: patch.setattr(write, "arithmetic", lambda where, int8: "another one") or {},
    "size of parts": lambda data, patch: patch.setattr(write, "ROWS", 3) or {},
}


@pytest.mark.parametrize("change", CHANGES)
def test_parts_of_another_submission_are_not_mixed_in(tmp_path, data, monkeypatch, change):
    """Fails when parts are kept that other weights, images, labels, pixels or another rule made, or good ones are lost."""
    planted(data, tmp_path / "s.csv", monkeypatch)
    _, rows = submission(data, tmp_path / "s.csv", **CHANGES[change](data, monkeypatch))
    kept = ["9 -123.5"] * 4 if change in ("nothing", "workers") else []
    assert [cell for _, cell in rows if cell.startswith("9 ")] == kept


def test_a_network_in_blocks_is_known_by_its_weights():
    """Fails when weights that are no parameters, as of a folded network, are not in what parts are bound to."""
    model = create_model("resnet50", 3).eval()
    before = [write._digest_of(network) for network in (model, fast_model(model))]
    assert [write._digest_of(network) for network in (model, fast_model(model))] == before
    model.backbone.conv1.weight.data[0, 0, 0, 0] += 0.5
    after = [write._digest_of(network) for network in (model, fast_model(model))]
    assert len({*before, *after}) == 4


@pytest.mark.skipif(not has_int8(torch.device("cpu")), reason="the chip has no products of bytes")
def test_integers_give_the_same_rows_after_a_stop(tmp_path, data, monkeypatch):
    """Fails when the ranges depend on the rows that are left, or parts in floating point are mixed in."""
    model, whole, stopped = create_model("resnet50", 3).eval(), tmp_path / "whole.csv", tmp_path / "s.csv"
    submission(data, whole, model, int8=True)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(write, "predictions", dying(2))
        submission(data, stopped, model, int8=True)
    submission(data, stopped, model, int8=True)
    assert stopped.read_bytes() == whole.read_bytes()
    planted(data, stopped, monkeypatch, model=model, int8=True)
    _, rows = submission(data, stopped, model)
    assert not [cell for _, cell in rows if cell.startswith("9 ")]


def test_too_many_bad_images_leave_the_old_file(tmp_path, data):
    """Fails when a mixed-up folder silently becomes an empty submission."""
    (tmp_path / "s.csv").write_text("old")
    for limit in (0, 1):
        with pytest.raises(InputError, match=f"limit {limit}"):
            submission(data, tmp_path / "s.csv", bad_limit=limit)
    assert (tmp_path / "s.csv").read_text() == "old"


def test_a_damaged_part_is_named(tmp_path, data, monkeypatch):
    """Fails when a part that a full disk cut is a traceback, or ends the submission early."""
    planted(data, tmp_path / "s.csv", monkeypatch)
    part = tmp_path / ".s.csv.parts" / "000000.json"
    part.write_text(part.read_text()[:-9])
    with pytest.raises(InputError, match=r"000000.json: damaged .*: delete it and predict again"):
        submission(data, tmp_path / "s.csv")
    part.unlink()
    assert len(submission(data, tmp_path / "s.csv")[1]) == 12


def test_two_at_a_time_do_not_mix(tmp_path, data, monkeypatch):
    """Fails when a second prediction into the same file throws away the first one's parts, or joins them with its own."""
    inside, go_on, predict, reports = threading.Event(), threading.Event(), prediction.predictions, []

    def waiting(model, loader):
        inside.set()
        assert go_on.wait(60)
        return predict(model, loader)

    monkeypatch.setattr(write, "predictions", waiting)
    out = tmp_path / "s.csv"
    first = threading.Thread(target=lambda: reports.append(submission(data, out)))
    first.start()
    try:
        assert inside.wait(60)
        for model in (Brightness(), Brightness(1)):
            with pytest.raises(InputError, match="another process is writing it: wait for it or choose another --out"):
                submission(data, out, model)
        assert (tmp_path / ".s.csv.parts" / "plan.json").exists()
    finally:
        go_on.set()
        first.join(60)
    ((report, rows),) = reports
    assert report["rows"] == len(rows) == 12
    assert not list(tmp_path.glob(".s.csv*"))


def test_where_nothing_can_be_written_is_told_before_the_work(tmp_path, data, monkeypatch):
    """Fails when hours are predicted before a folder, or a place below a file, is noticed as --out."""
    monkeypatch.setattr(write, "predictions", lambda *args: pytest.fail("it was predicted"))
    (tmp_path / "results").mkdir()
    (tmp_path / "file").write_text("mine")
    for out, why in ((tmp_path / "results", "is a folder"), (tmp_path / "file" / "s.csv", "cannot be written")):
        with pytest.raises(InputError, match=why) as error:
            submission(data, out)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.glob(".*.parts"))


def test_a_link_stays_one(tmp_path, data):
    """Fails when a link as --out is replaced by a file, and what it leads to keeps the old rows."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "s.csv").write_text("old")
    (tmp_path / "s.csv").symlink_to("real/s.csv")
    _, rows = submission(data, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").is_symlink() and len(rows) == 12
    assert (tmp_path / "real" / "s.csv").read_text() == (tmp_path / "s.csv").read_text() != "old"
