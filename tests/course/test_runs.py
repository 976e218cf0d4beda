"""The course's data, settings and runs in each of its three sizes."""

import os
import re
from dataclasses import replace

import pytest

from landmark.course import runs
from landmark.course.answers import truth_of
from landmark.data.folder import GoogleLandmarks
from landmark.utils.errors import InputError
from landmark.world.config import WorldConfig


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """The course in quick mode, in folders of its own, on a world of a few images."""
    monkeypatch.setenv("LANDMARK_QUICK", "1")
    for name in ("DATA", "RUNS"):
        monkeypatch.setenv(f"LANDMARK_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr(
        runs, "QUICK_WORLD", WorldConfig(landmarks=2, images=4, test=4, size=32, known=0.5, unknown=0.25)
    )
    return tmp_path


def test_three_sizes(monkeypatch, world):
    """Fails when the real data is run with the miniature's budget, or quick mode wins over the real data."""
    monkeypatch.delenv("LANDMARK_QUICK", raising=False)
    full = runs.course_config("xception")
    assert (runs.mode(), full.weights, full.min_images) == ("miniature", "miniature", runs.FULL_WORLD.min_images)
    monkeypatch.setenv("LANDMARK_QUICK", "1")
    small = runs.course_config("xception")
    assert runs.mode() == "quick" and small.steps and small.size < full.size
    monkeypatch.setenv("LANDMARK_GLDV2", str(world))
    real = runs.course_config("xception", lr=0.5)
    assert (runs.mode(), real.min_images, real.weights, real.lr) == ("gldv2", 100, "imagenet", 0.5)
    assert (real.size, real.epochs) == (299, 6), "the paper's"
    assert runs.course_data().root == world


def test_the_world_is_made_once_and_told_each_time_it_is_another(quick, capsys):
    """Fails when a notebook reads its tables again at every call, or does not say what it runs on."""
    first = runs.course_data()
    assert runs.course_data() is first and first.root == quick / "data" / "quick"
    line, asked = capsys.readouterr().out.splitlines()
    assert line == "data: the quick world, 2 invented landmarks at 32 px, seed 0" and "4 test images: " in asked
    known, unknown, rest = map(int, re.findall(r"(\d+) (?:of|distractors)", asked))
    truth, labels = truth_of(first), set(first.labelled(runs.min_images())["landmark_id"])
    shown = [bool(labels.intersection(marks)) for marks in truth.values() if marks]
    assert (known, unknown, rest) == (shown.count(True), shown.count(False), sum(not marks for marks in truth.values()))
    assert runs.min_images() == runs.QUICK_WORLD.min_images


def test_the_split_is_that_of_the_runs(quick, monkeypatch):
    """Fails when a notebook shows another split than the runs train on, or the dev set shares images with train."""
    source = runs.course_data()
    split = runs.course_split(source)
    rows = source.labelled(runs.min_images())
    assert not set(split.train["id"]) & set(split.dev["id"])
    assert {*split.train["id"], *split.dev["id"]} <= set(rows["id"]) and len(split.dev)
    again = runs.course_split(source)
    assert again.train.equals(split.train) and again.dev.equals(split.dev)


def test_runs_of_one_model_have_a_folder_for_each_name_and_seed(quick, monkeypatch):
    """Fails when a run with changed settings or another seed takes the folder of the course's own."""
    trained = []
    monkeypatch.setattr(runs, "fit_all", lambda jobs: trained.extend(jobs) or [job[2].name for job in jobs])
    assert runs.course_run("resnet50", weights="none") == "quick-resnet50"
    assert runs.course_run("resnet50", name="other", weights="none", seed=3) == "quick-other"
    assert runs.course_run("resnet50", seed=3) == "quick-resnet50-seed3"
    (one, root, _), (two, _, _), _ = trained
    assert root == runs.course_data().root
    assert replace(one, seed=3) == two == runs.course_config("resnet50", weights="none", seed=3)


def test_the_papers_networks_start_from_imagenet_where_that_is_asked_for(quick, monkeypatch):
    """Fails when the switch is lost, moves other networks, or what is trained takes the folder of other weights."""
    trained, own = [], runs.scratch("fetched")
    monkeypatch.setattr(runs, "fit_all", lambda jobs: trained.extend(jobs) or [job[2].name for job in jobs])
    names = ("resnet50_cbp", "vgg16", "efficientnet_lite0")
    before = {name: runs.course_run(name) for name in names}
    monkeypatch.setenv("LANDMARK_WEIGHTS", "imagenet")
    assert [runs.course_run(name) for name in names] == ["quick-resnet50_cbp-imagenet", *list(before.values())[1:]]
    weights = [job[0].weights for job in trained]
    assert weights == ["miniature", "imagenet", "imagenet"] + ["imagenet"] * 3
    assert runs.scratch("fetched").name == own.name + "-imagenet"
    monkeypatch.setenv("LANDMARK_WEIGHTS", "miniature")
    assert runs.course_run("resnet50_cbp") == before["resnet50_cbp"] and runs.scratch("fetched") == own
    monkeypatch.setenv("LANDMARK_WEIGHTS", "places")
    with pytest.raises(InputError, match="LANDMARK_WEIGHTS=places: .* imagenet or from miniature"):
        runs.course_config("xception")


def test_each_model_has_a_run_for_each_seed(quick, monkeypatch):
    """Fails when runs go to the wrong model, or two models are trained one after the other where both could be."""
    calls = []
    monkeypatch.setattr(runs, "seeds", lambda: (0, 1))
    monkeypatch.setattr(runs, "fit_all", lambda jobs: calls.append(jobs) or [job[2].name for job in jobs])
    assert runs.trained(iter(["resnet50", "xception_gem"])) == {
        "resnet50": ["quick-resnet50", "quick-resnet50-seed1"],
        "xception_gem": ["quick-xception_gem", "quick-xception_gem-seed1"],
    }
    assert len(calls) == 1 and [job[0].seed for job in calls[0]] == [0, 1, 0, 1]
    assert runs.course_runs("resnet50") == ["quick-resnet50", "quick-resnet50-seed1"]


def test_two_tracks(monkeypatch):
    """Fails when the features of a package are trained on, or the paper's networks begin with nothing."""
    monkeypatch.delenv("LANDMARK_QUICK", raising=False)
    for model in runs.FEATURES:
        config = runs.course_config(model)
        assert (config.weights, config.freeze, config.size) == ("imagenet", "all", 224)
    for model in runs.NETWORKS:
        config = runs.course_config(model)
        assert config.weights == "miniature" and config.freeze in ("layer3", "block11")
    budgets = {(c.epochs, c.batch_size, c.views, c.lr) for c in map(runs.course_config, runs.NETWORKS + runs.FEATURES)}
    assert len(budgets) == 1


def test_notebook_ten_trains_half_as_long_on_the_miniature(monkeypatch):
    """Fails when real photographs get the miniature's weights, or the miniature the budget of the real ones."""
    monkeypatch.delenv("LANDMARK_QUICK", raising=False)
    full = runs.course_config("xception")
    half, real = runs.real_config("xception"), runs.real_config("xception", real=True)
    assert half == replace(full, epochs=full.epochs // 2, min_images=full.min_images // 2)
    assert (real.weights, real.size, real.min_images) == ("imagenet", 299, 10)


def test_scratch_is_seen_from_here(quick, monkeypatch):
    """Fails when a notebook prints a path of somebody's machine, or scratch of one mode is another's."""
    monkeypatch.chdir(quick)
    assert str(runs.scratch("download")) == os.path.join("data", "quick-download")


def test_the_public_servers_are_asked_for_real_data(quick, capsys):
    """Fails when a reader who wants the real photographs gets the miniature's, or is not told where they come from."""
    assert runs.course_mirror(real=True) == "" and "public servers" in capsys.readouterr().out
    assert runs.course_mirror().startswith("http://127.0.0.1:") and "from this machine" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    """Fails when a wrong LANDMARK_GLDV2 is answered with the miniature world."""
    monkeypatch.setenv("LANDMARK_GLDV2", str(tmp_path / "none"))
    with pytest.raises(InputError, match="no such folder"):
        runs.course_data()


def test_tables_that_changed_are_read_again(tmp_path, capsys):
    """Fails when a notebook that runs on goes on with the tables of before, and says nothing."""
    path = tmp_path / "test.csv"
    ids = [f"{i:016x}" for i in range(3)]
    path.write_text("id\n" + "\n".join(ids) + "\n")
    first = runs._opened(tmp_path, "greys")
    assert first.test["id"].tolist() == ids and runs._opened(tmp_path, "greys") is first
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the same size under the same time, as `cp -p` leaves it
        path.write_text("id\n" + "\n".join(ids[::-1]) + "\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = runs._opened(tmp_path, "greys")
    assert isinstance(second, GoogleLandmarks) and second.test["id"].tolist() == ids[::-1]
    assert capsys.readouterr().out.count("data: greys") == 2
