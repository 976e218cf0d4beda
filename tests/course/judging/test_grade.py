"""The grade of a submission for a hidden world, against the public scores, and what the command says of bad ones."""

import json

import pandas as pd
import pytest

from landmark.cli import main
from landmark.course import runs
from landmark.course.judging import grade, queries
from landmark.course.judging.grade import grade_submission
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation import bootstrap, metrics
from landmark.training.predict_run import predict_table
from landmark.utils.errors import InputError


def submit(path, answers):
    rows = [(i, f"{mark} {score}" if mark else "") for i, (mark, score) in answers.items()]
    pd.DataFrame(rows, columns=["id", "landmarks"]).to_csv(path, index=False)
    return path


def oracle(seed=0):
    truth, labels = queries.hidden_truth(seed)
    return {i: (shown[0], 0.9) if shown and shown[0] in labels else (None, 0) for i, shown in truth.items()}


def test_a_perfect_submission_meets_the_ceiling(quick, tmp_path, capsys):
    """Fails when the truth is not that of the seed, or a model that is not trained is compared with."""
    graded = grade_submission(submit(tmp_path / "s.csv", oracle(7)), 7, n=20)
    assert graded.scores[grade.YOURS]["gap"].value == pytest.approx(graded.ceiling) and graded.ceiling == 10 / 14
    assert graded.images == {"known": 10, "unknown": 4, "distractor": 6} and graded.rank == 1
    (note,) = graded.notes
    assert note.endswith("landmark grade --make --seed 7")
    assert main(["grade", str(tmp_path / "s.csv"), "--seed", "7", "--resamples", "20", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["scores"][grade.YOURS]["gap"]["value"] == pytest.approx(10 / 14) and content["differences"] == []


def test_it_is_compared_with_the_runs_of_the_course(course, tmp_path, capsys):
    """Fails when the models answer other images, their seeds are not averaged, or a run of other settings counts."""
    run, *_ = course
    folder = queries.hidden_world()
    record = predict_table(run, GoogleLandmarks(folder).test[["id"]], folder)
    answers, truth = record.mapping(run.labels), queries.hidden_truth()[0]
    s = submit(tmp_path / "s.csv", oracle())
    graded = grade_submission(s, n=200)
    (pair,) = graded.differences
    gap = metrics.global_average_precision(answers, truth)
    assert pair.b == "resnet50" and graded.scores["resnet50"]["gap"].value == pytest.approx(gap)
    wanted = bootstrap.paired_gap_bootstrap(
        oracle_answers := {i: a for i, a in oracle().items() if a[0]}, answers, truth, 50
    )
    assert pair.difference == pytest.approx(wanted[0]) and pair.low <= pair.difference <= pair.high and oracle_answers
    (note,) = graded.notes
    assert note.startswith("not compared with xception, xception_spatial") and 'course.course_run("xception")' in note
    own = grade_submission(submit(tmp_path / "own.csv", answers), n=20)
    assert own.differences[0][2:5] == (0, 0, 0) and own.rank == 1, "the same answers"
    assert "resnet50: +0.000 (+0.000 to +0.000): not to be told apart" in "\n".join(own.lines())
    other = runs.course_run("resnet50", name="resnet50-other", lr=0.5)
    assert grade_submission(s, n=5).differences[0].difference == pair.difference and other.path != run.path
    seeded = runs.course_run("resnet50", name="resnet50-seed1", seed=1)
    theirs = predict_table(seeded, GoogleLandmarks(folder).test[["id"]], folder).mapping(seeded.labels)
    both = grade_submission(s, n=20)
    mean = (gap + metrics.global_average_precision(theirs, truth)) / 2
    assert both.scores["resnet50 (2 seeds)"]["gap"].value == pytest.approx(mean)
    assert both.differences[0].difference == pytest.approx(graded.ceiling - mean)
    assert main(["grade", str(s), "--resamples", "5"]) == 0
    assert "place 1 of 2 by open GAP" in capsys.readouterr().out
    for path in (other.path, seeded.path):
        (path / "result.json").unlink()


def test_the_command_makes_the_photographs(quick, tmp_path, capsys):
    """Fails when a folder with the solution in it is handed out, or the command does not say what to answer."""
    out = tmp_path / "hidden"
    assert main(["grade", "--make", "--seed", "9", "--world", str(out)]) == 0
    assert str(out / "test.csv") in capsys.readouterr().out and not list(out.glob("*solution*"))
    s = submit(tmp_path / "s.csv", oracle(9))
    assert main(["grade", str(s), "--seed", "9", "--world", str(out), "--resamples", "5"]) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [("id,landmarks\nffffffffffffffff,10 0.5\n", "1 of its 1 ids are not of hidden world 0, such as ffffffffffffffff"),
     ("id,landmarks\n{0},10 nan\n", "line 2"), ("id,landmarks\n{0},\n", "no answer in it"),
     ("id,landmarks\n{0},1 0.5\n{0},1 0.5\n", "again"), ("id,landmarks\n{0},x 0.5\n", "line 2"), (None, "s.csv")],
)  # fmt: skip
def test_bad_submissions_are_one_line(quick, tmp_path, capsys, text, words):
    """Fails on a traceback, or when a submission for another world scores zero."""
    if text:
        (tmp_path / "s.csv").write_text(text.format(min(queries.hidden_truth()[0])))
    assert main(["grade", str(tmp_path / "s.csv")]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1


def test_one_answer_and_equal_scores(quick, tmp_path):
    """Fails when a submission of one answer, or of one score for all, has no grade."""
    truth, labels = queries.hidden_truth()
    one = submit(tmp_path / "one.csv", {min(truth): (labels[0], 0.5)})
    json.dumps(grade_submission(one, n=5).to_dict(), allow_nan=False)
    flat = submit(tmp_path / "flat.csv", {i: (labels[0], 1) for i in truth})
    wanted = metrics.global_average_precision({i: (labels[0], 1.0) for i in truth}, truth)
    assert grade_submission(flat, n=5).scores[grade.YOURS]["gap"].value == pytest.approx(wanted)


def test_what_the_command_does_not_take(quick, tmp_path, capsys, monkeypatch):
    """Fails when both or nothing is asked, or a folder of another world is graded with."""
    for args in ([], [str(tmp_path / "s.csv"), "--make"]):
        assert main(["grade", *args]) == 2 and "one of them" in capsys.readouterr().err
    folder, s = queries.hidden_world(3), submit(tmp_path / "s.csv", oracle(2))
    with pytest.raises(InputError, match="queries: 1003 → 1002"):
        grade_submission(s, 2, folder)
