"""Runs and submissions evaluated on a data set, and what the command says of bad ones."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from landmark.cli import main
from landmark.course.judging import evaluate
from landmark.course.judging.evaluate import evaluate_runs
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.images import image_path
from landmark.evaluation import metrics, open_world
from landmark.evaluation.prediction import Predictions
from landmark.evaluation.report.calibration import fit_temperature
from landmark.training.config import TrainConfig
from landmark.utils.errors import InputError

TRAIN = {10: 6, 20: 3, 30: 1}


@pytest.fixture
def data(tmp_path):
    """Tables of 40 test images, no image: landmarks 10 to 30 are known, 40 is not; and two submissions."""
    rng, root = np.random.default_rng(0), tmp_path / "data"
    root.mkdir()
    labels = [label for label, count in TRAIN.items() for _ in range(count)]
    train = pd.DataFrame({"id": [f"{i:016x}" for i in range(10)], "url": "u", "landmark_id": labels})
    train.to_csv(root / "train.csv", index=False)
    ids = [f"{i:016x}" for i in range(100, 140)]
    shown = ["" if i % 3 == 0 else str(rng.choice([10, 20, 30, 40])) for i in range(40)]
    usage = ["Ignored" if i == 39 else "Private" if i % 2 else "Public" for i in range(40)]
    solution = pd.DataFrame({"id": ids, "landmarks": shown, "Usage": usage})
    solution.to_csv(root / "recognition_solution_v2.1.csv", index=False)
    solution[["id"]].to_csv(root / "test.csv", index=False)
    for name in "ab":
        answer = [s if s and rng.random() < 0.6 else "10" for s in shown]
        rows = [f"{a} {rng.random():.4f}" if rng.random() < 0.9 else "" for a in answer]
        pd.DataFrame({"id": ids, "landmarks": rows}).to_csv(tmp_path / f"{name}.csv", index=False)
    return root


def run(capsys, *args):
    code = main(["evaluate", *map(str, args)])
    return code, capsys.readouterr()


def test_the_command_scores_submissions(data, tmp_path, capsys):
    """Fails when GAP is not the one of `landmark score --split all`, or the page is not written."""
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    code, captured = run(capsys, a, b, data, "--json", "--out", tmp_path / "out" / "report", "--resamples", 30)
    content = json.loads(captured.out)
    assert code == 0 and [row["run"] for row in content["runs"]] == [str(a), str(b)]
    for row in content["runs"]:
        for split, key in (("all", "gap"), ("private", "gap_private")):
            solution = data / "recognition_solution_v2.1.csv"
            assert main(["score", row["run"], str(solution), "--split", split, "--json"]) == 0
            scores = json.loads(capsys.readouterr().out)
            assert row[key]["value"] == pytest.approx(scores["gap"])
            assert split == "private" or row["top1"]["value"] == pytest.approx(scores["top1"])
    assert len(content["paired"]) == len(content["paired_closed"]) == 1
    assert {mistake["kind"] for mistake in content["mistakes"]} <= {"known", "unknown", "distractor"}
    assert (tmp_path / "out" / "report" / "index.html").stat().st_size > 20_000
    code, captured = run(capsys, a, data, "--resamples", 10, "--parts", "size")
    assert code == 0 and "gap_closed" in captured.out and "gap of landmarks of 6 to 6 train images" in captured.out


def test_the_label_set_of_submissions(data, tmp_path):
    """Fails when closed GAP counts a landmark that the train table lacks, or `min_images` is not heard."""
    answers = {i: (mark, score) for i, mark, score in evaluate.read_submission(tmp_path / "a.csv").itertuples(index=False)
               if mark is not pd.NA}  # fmt: skip
    solution = pd.read_csv(data / "recognition_solution_v2.1.csv", dtype=str).fillna("")
    truth = {i: [int(x) for x in marks.split()] for i, marks, usage in solution.itertuples(index=False)
             if usage != "Ignored"}  # fmt: skip
    for least, labels in ((1, [10, 20, 30]), (3, [10, 20])):
        closed = open_world.closed_set(truth, labels)
        wanted = metrics.global_average_precision(open_world.restrict(answers, closed), closed)
        report = evaluate_runs([tmp_path / "a.csv"], data, min_images=least, n=5)
        assert report.runs[0].scores["gap_closed"].value == pytest.approx(wanted)
        assert report.images["known"] == len(closed)


@pytest.mark.parametrize(
    ("text", "words"),
    [("id,landmarks\nffffffffffffffff,10 0.5\n", "ffffffffffffffff"), ("id,landmarks\n0000000000000064,10 nan\n", "line 2"),
     ("id,landmarks\n0000000000000064,10 0.5\n0000000000000064,10 0.4\n", "0000000000000064"), (None, "no such run")],
)  # fmt: skip
def test_bad_submissions_are_one_line(data, tmp_path, capsys, text, words):
    """Fails on a traceback, or when a submission for another test set scores zero."""
    if text:
        (tmp_path / "bad.csv").write_text(text)
    code, captured = run(capsys, tmp_path / "bad.csv", data, "--out", tmp_path / "report")
    assert code == 2 and words in captured.err and len(captured.err.strip().splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_what_cannot_be_evaluated_together(data, tmp_path, capsys):
    """Fails when a run is compared with itself, a folder that is no run is opened, or a submission is calibrated."""
    for args, words in (((tmp_path / "a.csv", tmp_path / "a.csv", data), "given twice"), ((data, data), "not a training run"),
                        ((tmp_path / "a.csv", data, "--calibrate", data), "give the run"),
                        ((tmp_path / "a.csv", data, "--resamples", 0), "n=0")):  # fmt: skip
        code, captured = run(capsys, *args)
        assert code == 2 and words in captured.err, captured.err


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Finished runs that answer without a network: name → labels and seed."""
    known = {"one": ([10, 20], 0), "two": ([10, 20], 1), "other": ([10], 0), "foreign": ([77], 0)}
    for name in known:
        (tmp_path / name).mkdir()

    def opened(path):
        labels, seed = known[str(path).rpartition("/")[2]]
        return SimpleNamespace(
            labels=LabelMap(labels), config=TrainConfig(model="resnet50", seed=seed), seed=seed, sides=None
        )

    def predictions(run, data, keep=()):
        ids = data.test["id"].tolist()
        logits = torch.randn(len(ids), len(run.labels), generator=torch.Generator().manual_seed(run.seed))
        return Predictions.of(ids, 4 * logits, keep=keep)

    monkeypatch.setattr(evaluate, "open_run", opened)
    monkeypatch.setattr(evaluate, "test_predictions", predictions)
    return {name: tmp_path / name for name in known}


def test_seeds_of_one_model(data, runs):
    """Fails when runs that differ in their seed alone are not scored together."""
    report = evaluate_runs([runs["one"], runs["two"]], data, n=20)
    (model,) = report.models
    assert model.seeds == 2 and model.run == "model resnet50" and report.images["known"] < 20
    assert model.scores["gap"].value == pytest.approx(np.mean([system.scores["gap"].value for system in report.runs]))


def test_label_sets_that_do_not_fit(data, runs):
    """Fails when closed scores of two label sets are compared, or a run of other data is scored."""
    with pytest.raises(InputError, match="the label sets differ"):
        evaluate_runs([runs["one"], runs["other"]], data)
    with pytest.raises(InputError, match="another data set"):
        evaluate_runs([runs["foreign"]], data)


def test_nothing_is_fitted_on_the_test_set(data, runs, tmp_path):
    """Fails when the images reported on decide a threshold; others may."""
    with pytest.raises(InputError, match="nothing is fitted on the test set"):
        evaluate_runs([runs["one"]], data, calibration=data)
    other, one = tmp_path / "other-data", evaluate.open_run(runs["one"])
    other.mkdir()
    for path in data.glob("*.csv"):
        (other / path.name).write_text(path.read_text().replace("00000000", "11111111"))
    report = evaluate_runs([runs["one"]], other, calibration=data, n=5)
    (temperature,) = report.calibrated[str(runs["one"])].keys() - {"as it is", "Platt", "isotonic"}
    record, truth = (
        evaluate.test_predictions(one, GoogleLandmarks(data), ["logits"]),
        evaluate.truth_of(GoogleLandmarks(data)),
    )
    rows = [i for i, image_id in enumerate(record.ids) if image_id in truth]
    right = [one.labels.to_landmark(int(record.class_index[i])) in truth[record.ids[i]] for i in rows]
    assert temperature == f"temperature {fit_temperature(record.logits[rows], right):.3g}", "of the calibration images"
    assert len(report.rules[str(runs["one"])]) == 3


def files(root, split, contents):
    for image_id, content in contents.items():
        path = image_path(root, split, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def trained(monkeypatch, runs):
    """Make the runs record sides: ids of train, ids of dev."""

    def trained(train, dev=()):
        sides = pd.DataFrame([(i, 10, "train") for i in train] + [(i, 10, "dev") for i in dev],
                             columns=["id", "landmark_id", "side"])  # fmt: skip
        opened = evaluate.open_run
        monkeypatch.setattr(evaluate, "open_run", lambda path: SimpleNamespace(**vars(opened(path)) | {"sides": sides}))

    return trained


def test_a_run_is_not_asked_about_its_train_images(data, runs, trained, capsys):
    """Fails when a run is scored on images that it learnt from, known by their id; `--allow-leak` scores and says it."""
    scored, ignored = [f"{i:016x}" for i in range(100, 139)], f"{139:016x}"
    trained([*scored[5:8], ignored, f"{3:016x}"], dev=scored[:2])
    code, captured = run(capsys, runs["one"], data, "--resamples", 5)
    words = f"trained on 3 of the 39 test images of {data}, such as {scored[5]}"
    assert code == 2 and f"{words}: evaluate it on other images, or allow it with --allow-leak" in captured.err
    out = data.parent / "report"
    code, captured = run(capsys, runs["one"], data, "--resamples", 5, "--allow-leak", "--out", out)
    assert code == 0 and f"{words}: its scores are too high" in captured.out
    assert f"{words}: its scores are too high" in (out / "index.html").read_text()
    report = evaluate_runs([runs["one"]], data, n=5, allow_leak=True)
    assert report.to_dict()["notes"] == report.notes == [f"{runs['one']}: {words}: its scores are too high"]


def test_the_same_file_under_another_id_is_a_leak(data, runs, trained):
    """Fails when a test image lies in train under another name, or one in train that the run never saw counts."""
    files(data, "test", {f"{100:016x}": b"one", f"{101:016x}": b"two", f"{102:016x}": b""})
    files(data, "train", {f"{0:016x}": b"one", f"{1:016x}": b"owt", f"{2:016x}": b"two", f"{3:016x}": b""})
    trained([f"{0:016x}", f"{1:016x}", f"{3:016x}"], dev=[f"{2:016x}"])
    with pytest.raises(
        InputError, match=rf"on 1 of .*, such as {100:016x} \(the same file as its train image {0:016x}\)"
    ):
        evaluate_runs([runs["one"]], data, n=5)
    files(data, "train", {f"{0:016x}": b"eno"})
    assert evaluate_runs([runs["one"]], data, n=5).notes == []


def test_leaks_into_the_calibration_images(data, runs, trained, tmp_path):
    """Fails when a threshold is fitted on images that a run has learnt by heart."""
    other = tmp_path / "other-data"
    other.mkdir()
    for path in data.glob("*.csv"):
        (other / path.name).write_text(path.read_text().replace("00000000", "11111111"))
    trained([f"{100:016x}".replace("00000000", "11111111")])
    with pytest.raises(InputError, match=f"trained on 1 of the 39 test images of {other}"):
        evaluate_runs([runs["one"]], data, calibration=other, n=5)


def test_an_older_run_is_noted(data, runs):
    """Fails when a run without a record of its train images passes for one that was looked at, or is refused."""
    (note,) = evaluate_runs([runs["one"]], data, n=5).notes
    assert note.startswith(f"{runs['one']}: an older run") and note in evaluate_runs([runs["one"]], data, n=5).lines()
