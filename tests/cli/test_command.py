"""The command, from a data set to a score, and what it says of bad input."""

import functools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from landmark.cli import bench, command
from landmark.cli import prepare as verbs
from landmark.cli.command import main
from landmark.evaluation.submission import read_submission
from landmark.models.recipes import list_models
from landmark.utils.errors import ArchiveError, InputError
from tests.helpers import PHOTOS
from tests.retrieval.test_recognise import Thumb, draw


def run(*args):
    return main([str(a) for a in args])


def test_synth_check_train_predict_score(tmp_path, capsys):
    """Fails when one command cannot read what the one before wrote."""
    world, trained = tmp_path / "world", tmp_path / "run"
    assert run("synth", world, "--landmarks", 2, "--images", 4, "--test", 6, "--size", 48) == 0
    assert run("check", world, "--json") == 1, "the planted unreadable files"
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1])["exit_code"] == 1
    assert run("train", world, "--model", "resnet50", "--out", trained, "--min-images", 2, "--weights", "none", "--size", 32,
               "--steps", 1, "--batch-size", 4, "--workers", 0) == 0  # fmt: skip
    assert run("predict", trained, world, "--out", tmp_path / "s.csv", "--workers", 0) == 0
    capsys.readouterr()
    assert run("score", tmp_path / "s.csv", world / "recognition_solution_v2.1.csv", "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert list(scores) == ["gap", "gap_ignoring_distractors", "top1", "queries", "landmark_queries", "predictions"]
    assert scores["queries"] == scores["predictions"] == 6
    assert run("predict", trained, world, "--out", tmp_path / "m.csv", "--workers", 0, "--score", "margin") == 0
    assert run("predict", trained, world, "--out", tmp_path / "x.csv", "--score", "entropy") == 2
    assert "no score 'entropy': choose one of softmax, logit, margin, energy" in capsys.readouterr().err
    softmax, margin = (read_submission(tmp_path / name) for name in ("s.csv", "m.csv"))
    assert softmax["landmark_id"].equals(margin["landmark_id"]) and not (tmp_path / "x.csv").exists()
    assert (1 / (1 + np.exp(-margin["score"]))).tolist() == pytest.approx(softmax["score"].tolist()), "of two classes"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("score", "{}/none.csv", "{}/solution.csv"), "none.csv"),
        (("check", "{}/nowhere"), "nowhere"),
        (("train", "{}", "--model", "resnet50", "--out", "{}/r"), "train.csv"),
        (("train", "{}", "--model", "vgg", "--out", "{}/r"), "xception"),
        (("predict", "{}", "{}", "--out", "{}/s.csv"), "not a training run"),
        (("synth", "{}/w", "--landmarks", "0"), "landmarks=0"),
        (("submit", "{}/run", "{}", "--recipe", "worst"), "no recipe 'worst': choose one of paper"),
        (("submit", "{}/run", "{}", "--recipe", "nearest+luck"), "parts luck: choose of softmax"),
        (("submit", "{}/run", "{}"), "run/config.json: no such file"),
        (("download", "gldv2"), "download gldv2 DATA"),
        (("download", "gld23k"), "download gld23k DATA"),
        (("download", "landmarks50", "{}/d", "--from", "{}"), "only gld23k is copied out of a folder"),
        (("download", "gld23k", "{}/d", "--from", "{}/nowhere"), "nowhere/train.csv: no such table"),
        (("download", "gld23k", "{}/d", "--shards", "500"), "there is no TAR 500"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(tmp_path, capsys, args, words):
    """Fails on a traceback, on exit code 1, or when something half-written stays behind."""
    before = set(tmp_path.rglob("*"))
    assert run(*(a.format(tmp_path) for a in args)) == 2
    captured = capsys.readouterr()
    assert words in captured.err and len(captured.err.strip().splitlines()) == 1
    assert set(tmp_path.rglob("*")) == before


def test_commands_of_readme_and_docs():
    """Fails when README or a page of docs shows a command that the parser refuses, in a block or in a sentence."""
    root = Path(__file__).parents[2]
    lines = []
    for page in [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]:
        text = page.read_text().replace("\\\n", " ")
        lines += [line[line.index("landmark ") :] for line in text.splitlines()
                  if line.startswith("landmark ") or line.startswith("torchrun ")]  # fmt: skip
        lines += [
            words for words in re.findall(r"`(landmark [a-z]+ [^`…]*)`", text) if " data" in words or "bench" in words
        ]
    assert len(lines) > 15
    for line in lines:
        assert command.build_parser().parse_args(shlex.split(line, comments=True)[1:]).command in command.VERBS


def test_unknown_ids_and_empty_splits(tmp_path, capsys):
    """Fails when a submission for another test set scores zero instead of being named."""
    (tmp_path / "solution.csv").write_text("id,landmarks,Usage\naaaaaaaaaaaaaaaa,3,Public\n")
    (tmp_path / "s.csv").write_text("id,landmarks\nbbbbbbbbbbbbbbbb,3 0.5\n")
    assert run("score", tmp_path / "s.csv", tmp_path / "solution.csv") == 2
    assert "bbbbbbbbbbbbbbbb" in capsys.readouterr().err
    (tmp_path / "s.csv").write_text("id,landmarks\naaaaaaaaaaaaaaaa,3 0.5\n")
    assert run("score", tmp_path / "s.csv", tmp_path / "solution.csv", "--split", "private") == 2
    assert "solution.csv: no Private rows" in capsys.readouterr().err
    assert run("score", tmp_path / "s.csv", tmp_path / "solution.csv", "--split", "public") == 0


SOLUTION = """id,landmarks,Usage
0123456789abcdef,0 12,Public
0223456789abcdef,,Public
0323456789abcdef,100,Ignored
0423456789abcdef,1,Private
0523456789abcdef,,Ignored
"""
SUBMISSION = "id,landmarks\n0123456789abcdef,12 0.1\n0423456789abcdef,1 19.0\n0523456789abcdef,14 99\n"


@pytest.mark.parametrize(("split", "queries"), [("all", 3), ("public", 2), ("private", 1)])
def test_ignored_images_take_no_part(tmp_path, capsys, split, queries):
    """Fails when an image marked Ignored counts as a landmark or a distractor, or its prediction takes a rank."""
    (tmp_path / "solution.csv").write_text(SOLUTION)
    (tmp_path / "s.csv").write_text(SUBMISSION)
    assert run("score", tmp_path / "s.csv", tmp_path / "solution.csv", "--split", split, "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["gap"], scores["top1"], scores["queries"]) == (1.0, 1.0, queries)
    (tmp_path / "s.csv").write_text(SUBMISSION + "0623456789abcdef,14 99\n")
    assert run("score", tmp_path / "s.csv", tmp_path / "solution.csv", "--split", split) == 2
    assert "0623456789abcdef" in capsys.readouterr().err


def test_nothing_but_ignored_images(tmp_path, capsys):
    """Fails when a solution of which nothing is scored gives a score, or an error without the file's name."""
    (tmp_path / "solution.csv").write_text("id,landmarks,Usage\n0523456789abcdef,7,Ignored\n")
    (tmp_path / "s.csv").write_text("id,landmarks\n0523456789abcdef,7 99\n")
    assert run("score", tmp_path / "s.csv", tmp_path / "solution.csv") == 2
    assert "solution.csv: no Public or Private rows, only Ignored" in capsys.readouterr().err


def test_nothing_but_distractors(tmp_path, capsys):
    """Fails when a solution without one landmark, of which no score is defined, ends in a traceback."""
    (tmp_path / "solution.csv").write_text("id,landmarks,Usage\n0523456789abcdef,,Public\n")
    (tmp_path / "s.csv").write_text("id,landmarks\n0523456789abcdef,7 99\n")
    assert run("score", tmp_path / "s.csv", tmp_path / "solution.csv") == 2
    assert "no image of the solution shows a landmark" in capsys.readouterr().err


def test_as_a_module():
    """Fails when `python -m landmark` and the command part ways."""
    out = subprocess.run([sys.executable, "-m", "landmark", "models"], capture_output=True, text=True, timeout=110)
    assert out.returncode == 0, out.stderr
    rows = [line.split(maxsplit=3) for line in out.stdout.splitlines()]
    assert [row[0] for row in rows] == list_models()
    assert rows[1][1:3] == ["embedding", "2048"] and rows[3][2] == "8192"


@pytest.mark.skipif(not PHOTOS.exists(), reason="the real photographs are not here")
def test_real_photographs(tmp_path, capsys):
    """Fails when real files in the GLDv2 layout do not go end to end."""
    assert run("check", PHOTOS) == 0
    assert run("train", PHOTOS, "--model", "resnet50", "--out", tmp_path / "run", "--min-images", 1, "--weights", "none",
               "--size", 96, "--steps", 20, "--batch-size", 8, "--workers", 0) == 0  # fmt: skip
    assert run("predict", tmp_path / "run", PHOTOS, "--out", tmp_path / "s.csv", "--workers", 0) == 0
    capsys.readouterr()
    assert run("score", tmp_path / "s.csv", PHOTOS / "recognition_solution_v2.1.csv", "--split", "all", "--json") == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == 29


@pytest.mark.parametrize(
    ("error", "words"),
    [(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "--workers 0"),
     (torch.OutOfMemoryError("CUDA out of memory"), "--batch-size"),
     (InputError("Caught ArchiveError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
                     "  File x\nlandmark.utils.errors.ArchiveError: a.tar: changed"), ": a.tar: changed")],
)  # fmt: skip
def test_errors_of_the_machine_are_one_line(monkeypatch, capsys, error, words):
    """Fails when a killed worker or a full GPU ends in a traceback without advice."""

    def broken(args):
        raise error

    monkeypatch.setitem(command.VERBS, "models", ("", lambda parser: None, broken))
    assert run("models") in (1, 2)
    told = capsys.readouterr().err
    assert words in told and len(told.strip().splitlines()) == 1


def test_resume_takes_the_settings_of_the_run(tmp_path, world, capsys):
    """Fails when `--resume` needs the settings again, or other ones slip into a run that has begun."""
    trained = ("train", world, "--out", tmp_path / "run")
    small = ("--min-images", 2, "--weights", "none", "--size", 32, "--steps", 1, "--batch-size", 4, "--workers", 0)
    assert run(*trained, "--resume") == 2 and "--model" in capsys.readouterr().err
    assert run(*trained, "--model", "resnet50", *small) == 0
    (tmp_path / "run" / "result.json").unlink()
    assert run(*trained, "--resume", "--lr", 0.1) == 2 and "lr: 0.0003 → 0.1" in capsys.readouterr().err
    assert run(*trained, "--resume", "--workers", 0) == 0
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("error", [ValueError("operands could not be broadcast"), KeyError("id"), TypeError("None"),
                                   OSError("of a library"), RuntimeError("ours")], ids=repr)  # fmt: skip
def test_a_fault_of_the_program_shows_its_traceback(monkeypatch, error):
    """Fails when a programming error is told as bad input, in one line that nobody can follow."""

    def broken(args):
        raise error

    monkeypatch.setitem(command.VERBS, "models", ("", lambda parser: None, broken))
    with pytest.raises(type(error)) as caught:
        run("models")
    assert caught.value is error


@pytest.mark.parametrize(
    "args", [("--traceback", "score", "no.csv", "no.csv"), ("score", "no.csv", "no.csv", "--traceback")]
)
def test_bad_input_with_its_traceback(capsys, args):
    """Fails when `--traceback` shows nothing, is lost on its way to the verb, or changes the exit code."""
    assert run(*args) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback") and lines[-1].startswith("landmark score: no.csv: no such table")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("check", "{}/file"), "file"),
        (("check", "{}/" + "a" * 300), "too long"),
        (("score", "{}", "{}"), "no such table"),
        (("score", "{}/" + "a" * 300, "x.csv"), "too long"),
        (("predict", "{}/" + "a" * 300, "{}", "--out", "{}/s.csv"), "too long"),
        (("train", "{}/" + "a" * 300, "--model", "resnet50", "--out", "{}/r"), "too long"),
        (("train", "{}", "--model", "resnet50", "--out", "{}/r", "--resume", "--weights", "{}/no.pth"), "train.csv"),
        (("synth", "{}/file"), "file"),
        (("synth", "{}/file/w"), "Not a directory"),
        (("synth", "{}/" + "a" * 300), "too long"),
        (("shrink", "{}/file"), "file"),
        (("shrink", "{}/" + "a" * 300), "no such folder"),
        (("download", "gldv2", "{}/file", "--mirror", "http://[", "--yes"), "not an address"),
        (("download", "gldv2", "{}/d", "--md5-file", "{}"), "list of sums"),
        (("train", "{}", "--model", "resnet50", "--out", "{}/" + "a" * 300, "--resume"), "train.csv"),
    ],
)  # fmt: skip
def test_paths_that_cannot_be(tmp_path, capsys, args, words):
    """Fails when what the system says of a path the user gave comes as a traceback, or leaves something behind."""
    (tmp_path / "file").write_text("mine")
    before = set(tmp_path.rglob("*"))
    assert run(*(a.format(tmp_path) for a in args)) == 2
    captured = capsys.readouterr()
    assert words in captured.err and len(captured.err.strip().splitlines()) == 1
    assert set(tmp_path.rglob("*")) == before


def test_what_stops_the_network_leaves_the_report(tmp_path, world, capsys, monkeypatch):
    """Fails when `check --run` on a damaged TAR prints nothing of what the check has found, or calls that success."""

    def doubt(*args):
        raise ArchiveError("images_000.tar: truncated")

    monkeypatch.setattr("landmark.training.run.open_run", lambda path: SimpleNamespace())
    monkeypatch.setattr(verbs, "_doubt", doubt)
    assert run("check", world, "--run", tmp_path, "--json") == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"]["train"] > 0 and "images_000.tar: truncated" in captured.err


def test_benchmarks_get_the_flags_that_are_theirs(monkeypatch, capsys):
    """Fails when a benchmark is called with another one's flags, or its own are lost."""
    asked = {}
    for name in ("tables", "check", "data", "layers", "threads", "train", "predict", "integers"):
        home = f"landmark.course.bench.{'speed' if name in ('data', 'train', 'predict') else name}.bench_{name}"
        monkeypatch.setattr(
            home, functools.partial(lambda name, **flags: asked.update({name: flags}) or {"rate": 1.0}, name)
        )
    monkeypatch.setattr(
        "landmark.course.retrieving.bench.bench_retrieval",
        lambda **flags: asked.update({"retrieval": flags}) or {"rate": 1.0},
    )
    flags = ("--rows", 5, "--images", 6, "--size", 7, "--batch-size", 8, "--repeats", 9, "--no-int8", "--json")
    assert run("bench", *bench.BENCHMARKS, *flags) == 0
    assert asked == {
        "tables": {"rows": 5, "repeats": 9}, "retrieval": {"rows": 5, "repeats": 9}, "check": {"images": 6, "size": 7, "repeats": 9},
        "data": {"images": 6, "size": 7, "repeats": 9}, "layers": {"batch_size": 8, "repeats": 9},
        "threads": {"size": 7, "batch_size": 8, "repeats": 9}, "integers": {"size": 7, "batch_size": 8, "repeats": 9},
        "train": {"images": 6, "size": 7, "batch_size": 8, "repeats": 9, "int8": False},
        "predict": {"images": 6, "size": 7, "batch_size": 8, "repeats": 9, "int8": False},
    }  # fmt: skip
    assert json.loads(capsys.readouterr().out).keys() == bench.BENCHMARKS.keys()


def test_search_answers_with_names_and_writes_a_submission(tmp_path, capsys, monkeypatch):
    """Fails when a verb's flag does not reach the search, or `score` cannot read what it wrote."""
    from landmark.retrieval import embed

    monkeypatch.setattr(embed, "search_embedder", lambda name: Thumb())
    for landmark, seed in ((10, 1), (10, 1), (20, 3), (20, 3)):
        draw(tmp_path / f"g/{landmark}/{len(list(tmp_path.rglob('*.png')))}.png", seed, 0.2 * (seed % 2))
    queries = [draw(tmp_path / f"q{seed}.png", seed, 0.1) for seed in (1, 3)]
    (tmp_path / "no.png").write_bytes(b"")
    assert (
        run(
            "search",
            tmp_path / "g",
            *queries,
            tmp_path / "no.png",
            "--local",
            "none",
            "--threshold",
            -5,
            "--workers",
            0,
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert [line.split(", score")[0] for line in out.splitlines()] == [f"{queries[0]}: 10", f"{queries[1]}: 20"]
    assert f"{tmp_path / 'no.png'}: empty file: no answer" in err
    assert (
        run(
            "search",
            tmp_path / "g",
            *queries,
            "--local",
            "none",
            "--threshold",
            5,
            "--workers",
            0,
            "--json",
            "--sheet",
            tmp_path / "s.png",
        )
        == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert [(q["landmark"], q["known"]) for q in report["queries"]] == [(10, False), (20, False)] and (
        tmp_path / "s.png"
    ).exists()
    world = tmp_path / "world"
    assert run("synth", world, "--landmarks", 2, "--images", 4, "--test", 6, "--size", 48) == 0
    assert (
        run(
            "search",
            world,
            "--test",
            world,
            "--local",
            "sift",
            "--rerank",
            2,
            "--out",
            tmp_path / "s.csv",
            "--workers",
            0,
        )
        == 0
    )
    capsys.readouterr()
    assert run("score", tmp_path / "s.csv", world / "recognition_solution_v2.1.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == 6


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("{}/g",), "name photographs, or --test DATA"),
        (("{}/g", "{}/q.jpg", "--test", "{}"), "one of the two"),
        (("{}/g", "{}/q.jpg", "--out", "{}/s.csv"), "--out writes the answers to a test set"),
        (("{}/g", "{}/q.jpg", "--features", "dinov9"), "--features dinov9: neither a model"),
        (("{}/nowhere", "{}/q.jpg"), "nowhere: no such folder"),
        (("{}", "{}/q.jpg"), "0 images in 0 sub-folders"),
        (("{}/index", "{}/q.jpg"), "the landmark ids of the index split are others"),
        (("{}", "{}/q.jpg", "--neighbours", "0"), "neighbours=0"),
    ],
)  # fmt: skip
def test_bad_searches_are_one_line(tmp_path, capsys, args, words):
    """Fails on a traceback, or when a search that cannot be meant begins."""
    if "{}/index" in args:
        draw(tmp_path / "index/0/1/2/0123456789abcdef.jpg", 1)
    before = set(tmp_path.rglob("*"))
    assert run("search", *(a.format(tmp_path) for a in args)) == 2
    captured = capsys.readouterr()
    assert words in captured.err and len(captured.err.strip().splitlines()) == 1
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not PHOTOS.exists(), reason="no real photographs beside this checkout")
def test_search_knows_real_landmarks(tmp_path, capsys):
    """Fails when real photographs are answered as by chance (a GAP of .02), or as if the network were untrained (.11)."""
    assert run("search", PHOTOS, "--test", PHOTOS, "--local", "none", "--out", tmp_path / "s.csv") == 0
    capsys.readouterr()
    assert run("score", tmp_path / "s.csv", PHOTOS / "recognition_solution_v2.1.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["gap"] > 0.4
