"""Submissions written part by part: every row, in order, also after a kill."""

import shutil
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

from landmark.data import folder
from landmark.data.folder import GoogleLandmarks
from landmark.data.images import image_path
from landmark.evaluation import prediction
from landmark.models.int8 import has_int8
from landmark.models.net import create_model
from landmark.training import predict_run
from landmark.training.config import TrainConfig
from landmark.training.run import Run
from landmark.utils.errors import InputError


class Brightness(nn.Module):
    """Names a landmark by the mean of an image: the same image always gets the same answer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-1, 1, 3))

    def forward(self, x):
        return x.float().mean((1, 2, 3))[:, None] * self.scale * 5


@pytest.fixture
def run(tmp_path, monkeypatch, world):
    labels = folder.LabelMap([1, 2, 3])
    monkeypatch.setattr(Run, "model", lambda self, which="best": Brightness())
    monkeypatch.setattr(predict_run, "ROWS", 4)
    return Run(tmp_path / "run", TrainConfig(model="resnet50", size=32, batch_size=3), labels, {"sha256": "a" * 64})


@pytest.fixture
def data(world, tmp_path):
    """The tiny world's test set with one file gone and one broken; a copy, as the world is shared."""
    shutil.copytree(world, tmp_path / "data")
    found = GoogleLandmarks(tmp_path / "data")
    image_path(found.root, "test", found.test["id"][2]).unlink()
    image_path(found.root, "test", found.test["id"][5]).write_bytes(b"<html>")
    return found


def rows(path):
    return [line.split(",") for line in path.read_text().splitlines()[1:]]


def test_a_row_for_every_id_in_order(tmp_path, run, data):
    """Fails when an image without a file loses its row, the order changes, or parts stay behind."""
    told = predict_run.write_predictions(run, data, tmp_path / "s.csv", workers=0, progress=False)
    found = rows(tmp_path / "s.csv")
    assert [row[0] for row in found] == data.test["id"].tolist()
    assert [k for k, row in enumerate(found) if not row[1]] == [2, 5]
    assert told["rows"] == 12 and told["predictions"] == 10 and len(told["bad"]) == 2
    assert "no such file" in told["bad"][data.test["id"][2]]
    assert not list(tmp_path.glob(".s.csv*"))


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_killed_it_goes_on(tmp_path, run, data, monkeypatch, batches):
    """Fails when a restart predicts finished parts again, or its file differs from that of one go."""
    predict_run.write_predictions(run, data, tmp_path / "whole.csv", workers=0, progress=False)
    predictions, seen = prediction.predictions, []

    class Killed(BaseException):
        pass

    def dying(model, loader):
        for number, some in enumerate(predictions(model, loader)):
            if number == batches:
                raise Killed
            yield some

    monkeypatch.setattr(predict_run, "predictions", dying)
    with pytest.raises(Killed):
        predict_run.write_predictions(run, data, tmp_path / "s.csv", workers=0, progress=False)
    assert not (tmp_path / "s.csv").exists()

    def watched(model, loader):
        for some in predictions(model, loader):
            seen.extend(some.ids + [item.image_id for item in some.bad])
            yield some

    monkeypatch.setattr(predict_run, "predictions", watched)
    predict_run.write_predictions(run, data, tmp_path / "s.csv", workers=0, progress=False)
    assert len(seen) == 12 - 4 * (3 * batches // 4), "only the parts that were not whole"
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.skipif(not has_int8(torch.device("cpu")), reason="the chip has no products of bytes")
def test_integers_give_the_same_rows_after_a_stop(tmp_path, run, data, monkeypatch):
    """Fails when the ranges depend on the rows that are left, or parts in floating point are mixed in."""
    monkeypatch.setattr(Run, "model", lambda self, which="best": create_model("resnet50", 3))
    # Batches end where parts do, as 64 does in 2,048: the head's last bit depends on how many images it sees at once
    run = replace(run, config=replace(run.config, batch_size=2))
    whole, stopped = tmp_path / "whole.csv", tmp_path / "s.csv"
    predict_run.write_predictions(run, data, whole, workers=0, progress=False, int8=True)
    parts = tmp_path / ".s.csv.parts"
    predict_run._claim(parts, run, data, True)
    predict_run._predict(run, data, parts, [0], 10, 0, False, True)
    predict_run.write_predictions(run, data, stopped, workers=0, progress=False, int8=True)
    assert stopped.read_bytes() == whole.read_bytes()
    predict_run._claim(parts, run, data, True)
    predict_run._part(parts, 0).write_text("{}")
    predict_run.write_predictions(run, data, stopped, workers=0, progress=False)
    assert [row[0] for row in rows(stopped)] == [row[0] for row in rows(whole)]


def test_parts_of_another_run_are_not_mixed_in(tmp_path, run, data):
    """Fails when the parts of an older run end in this one's submission."""
    parts = tmp_path / ".s.csv.parts"
    predict_run._claim(parts, Run(run.path, run.config, run.labels, {"sha256": "b" * 64}), data, False)
    predict_run._part(parts, 0).write_text('{"rows": [["x", 1, 0.5]], "bad": {}}')
    predict_run.write_predictions(run, data, tmp_path / "s.csv", workers=0, progress=False)
    assert [row[0] for row in rows(tmp_path / "s.csv")] == data.test["id"].tolist()


def test_too_many_bad_images_leave_the_old_file(tmp_path, run, data):
    """Fails when a mixed-up folder silently becomes an empty submission."""
    (tmp_path / "s.csv").write_text("old")
    with pytest.raises(InputError, match=r"limit 0"):
        predict_run.write_predictions(run, data, tmp_path / "s.csv", bad_limit=0, workers=0, progress=False)
    with pytest.raises(InputError, match="limit 1"):
        predict_run.write_predictions(run, data, tmp_path / "s.csv", bad_limit=1, workers=0, progress=False)
    assert (tmp_path / "s.csv").read_text() == "old"


def test_two_at_a_time_do_not_mix(tmp_path, run, data, monkeypatch):
    """Fails when a second prediction into the same file throws away the first one's parts, or joins them with its own."""
    inside, go_on, predict, told = threading.Event(), threading.Event(), prediction.predictions, []

    def waiting(model, loader):
        inside.set()
        assert go_on.wait(60)
        return predict(model, loader)

    monkeypatch.setattr(predict_run, "predictions", waiting)
    out, other = tmp_path / "s.csv", replace(run, result={"sha256": "b" * 64})
    work = {"workers": 0, "progress": False}
    first = threading.Thread(target=lambda: told.append(predict_run.write_predictions(run, data, out, **work)))
    first.start()
    try:
        assert inside.wait(60)
        for second in (other, run):
            with pytest.raises(InputError, match="another process is writing it: wait for it or choose another --out"):
                predict_run.write_predictions(second, data, out, **work)
        assert (tmp_path / ".s.csv.parts" / "plan.json").exists()
    finally:
        go_on.set()
        first.join(60)
    assert told[0]["rows"] == 12 and len(rows(out)) == 12
    assert not list(tmp_path.glob(".s.csv*"))


def test_where_nothing_can_be_written_is_told_before_the_work(tmp_path, run, data, monkeypatch):
    """Fails when hours are predicted before a folder, or a place below a file, is noticed as --out."""
    monkeypatch.setattr(predict_run, "predictions", lambda *args: pytest.fail("it was predicted"))
    (tmp_path / "results").mkdir()
    (tmp_path / "file").write_text("mine")
    for out, why in ((tmp_path / "results", "is a folder"), (tmp_path / "file" / "s.csv", "cannot be written")):
        with pytest.raises(InputError, match=why) as error:
            predict_run.write_predictions(run, data, out, workers=0, progress=False)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.glob(".*.parts"))


def test_a_link_stays_one(tmp_path, run, data):
    """Fails when a link as --out is replaced by a file, and what it leads to keeps the old rows."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "s.csv").write_text("old")
    (tmp_path / "s.csv").symlink_to("real/s.csv")
    predict_run.write_predictions(run, data, tmp_path / "s.csv", workers=0, progress=False)
    assert (tmp_path / "s.csv").is_symlink() and len(rows(tmp_path / "real" / "s.csv")) == 12
