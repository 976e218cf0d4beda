"""The first result: a published run that answers pictures, from publishing it to the picture on disk."""

import re
from dataclasses import replace

import torch

from landmark.cli import main
from landmark.course import demo, runs
from landmark.course.answers import truth_of
from landmark.models.weights import read_tensors
from landmark.training.run import open_run
from landmark.world.config import WorldConfig

SMALL = WorldConfig(landmarks=3, images=6, test=24, size=48, known=0.5, unknown=0.2)


def test_a_run_is_published_and_answers(tmp_path, monkeypatch, capsys):
    """Fails when what is published is not the run, cannot be opened where nothing can be written, or answers nothing."""
    for name in ("DATA", "RUNS"):
        monkeypatch.setenv(f"LANDMARK_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("LANDMARK_QUICK", "1")
    monkeypatch.setattr(runs, "QUICK_WORLD", SMALL)
    monkeypatch.setattr(demo, "WORLD", replace(SMALL, images=2, nonlandmarks=0))
    monkeypatch.setattr(demo, "PUBLISHED", tmp_path / "published")
    run = runs.course_run("efficientnet_lite0", weights="none")
    demo.publish(run, demo.PUBLISHED)
    kept = {path.name for path in demo.PUBLISHED.iterdir()}
    assert kept == {"config.json", "labels.json", "result.json", "best.safetensors"}
    before = read_tensors(run.path / "best.safetensors")
    for name, tensor in read_tensors(demo.PUBLISHED / "best.safetensors").items():
        step = before[name].flatten(1).abs().amax(1).max() / 127 if before[name].dim() > 1 else 0
        assert (tensor - before[name]).abs().max() <= step, name
    demo.PUBLISHED.chmod(0o500)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert told.count("answered") == 3 and "open: all test images" in told
    assert re.search(r"^distractor \(no landmark\): answered .+, score 0\.\d\d$", told, re.M)
    assert (tmp_path / "out/demo.jpg").stat().st_size > 5_000
    opened, data = demo.published_run(), demo.demo_photographs()
    kinds, truth = demo.demo_answers(opened, data), truth_of(data)
    assert [len(truth[i]) for i in kinds["id"]] == [1, 0, 1] and kinds["shown"]["distractor"] == "no landmark"
    known, unknown = (truth[kinds["id"][f"{kind} landmark"]][0] in opened.labels for kind in ("known", "unknown"))
    assert known and not unknown and kinds["score"].between(0, 1).all()
    scores = demo.demo_scores(opened, data)
    assert scores["images"].to_dict() == {"closed": 12, "open": 24}, "24 photographs, half of them of known landmarks"
    assert (scores["low"] <= scores["gap"]).all() and (scores["gap"] <= scores["high"]).all()
    assert opened.labels.landmark_ids == run.labels.landmark_ids and opened.path != demo.PUBLISHED
    x = torch.zeros(1, 3, 64, 64)
    assert (opened.model()(x) - run.model()(x)).abs().max() < 1


def test_the_published_run_knows_the_course(monkeypatch):
    """Fails when the world has changed since the run was published, so that its answers name other landmarks."""
    from landmark.world.plan import plan

    run = open_run(demo.PUBLISHED)
    landmarks = plan(runs.FULL_WORLD)[1]
    assert sorted(run.labels.landmark_ids) == sorted(landmarks["landmark_id"][landmarks["role"] == "known"])
    monkeypatch.delenv("LANDMARK_QUICK", raising=False)
    assert replace(run.config, bad_limit=None) == runs.course_config(run.config.model)
    assert sum(path.stat().st_size for path in demo.PUBLISHED.iterdir()) < 6_000_000
