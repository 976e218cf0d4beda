"""An ablation against runs, scores and differences worked out one by one."""

import json

import numpy as np
import pandas as pd
import pytest

from landmark.cli.command import main
from landmark.course.ablation import study
from landmark.course.ablation.study import ablate, compare
from landmark.course.ablation.table import read_table
from landmark.course.answers import test_answers as answers_of
from landmark.course.answers import truth_of
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.bootstrap import global_average_precision
from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.resamples import draw_counts, rows_by_kind
from landmark.training.run import open_run
from landmark.training.trainer import fit
from landmark.utils.errors import InputError

pytestmark = pytest.mark.usefixtures("small_networks")
COLUMNS = ["setting", "value", "seed", "run", "image_passes", "steps", "dev_gap", "gap", "gap_closed", "auroc", "top1",
           "seconds", "machine"]  # fmt: skip


@pytest.fixture
def table(tmp_path, world, monkeypatch):
    """A table of three variants and two seeds, trained in this process, where networks are small."""
    monkeypatch.setenv("LANDMARK_QUICK", "1")
    monkeypatch.setattr(study, "fit_all", lambda jobs: [fit(*job, progress=False) for job in jobs])
    path = tmp_path / "small.toml"
    path.write_text(
        f'data = "{world}"\nout = "{tmp_path / "out"}"\nseeds = [0, 1]\n[base]\nmodel = "resnet50"\nsize = 32\n'
        'batch_size = 4\nepochs = 1\nmin_images = 2\ndev_fraction = 0.3\nweights = "none"\nfreeze = 0\n[vary]\n'
        "lr = [3e-4, 0.1]\nwarmup = [3]\n"
    )
    return path


def test_a_table_is_trained_scored_and_compared(table, world, monkeypatch):
    """Fails when a row is of another run, the base is trained twice, a mean leaves a seed out, or signs are turned."""
    found = ablate(table, n=50)
    rows = pd.read_csv(found.out / "ablation.csv", keep_default_na=False)
    assert rows.columns.tolist() == COLUMNS and len(rows) == 8
    assert sorted(path.name for path in found.out.iterdir() if path.is_dir()) == sorted(
        f"{name}-seed{seed}" for name in ("base", "lr-0.1", "warmup-3") for seed in (0, 1)
    )
    data = GoogleLandmarks(world)
    for row in rows.to_dict("records"):
        run = open_run(found.out / row["run"])
        assert run.config.seed == row["seed"] and row["machine"]
        if row["setting"] != "base":
            assert str(getattr(run.config, row["setting"])) == row["value"]
        assert row["gap"] == pytest.approx(global_average_precision(answers_of(run, data), truth_of(data)))
        assert row["image_passes"] == run.result["train_images"] and row["steps"] == run.metrics["step"].iloc[-1]
        assert row["dev_gap"] == pytest.approx(run.result["dev_gap"])
    means = rows.groupby(["setting", "value"])["gap"].mean()
    summary = found.summary.set_index(["setting", "value"])
    for key, row in summary.iterrows():
        assert row["gap"] == pytest.approx(means[key])
        assert row["gap_difference"] == pytest.approx(means[key] - means[("base", "")], abs=1e-12)
        assert row["gap_low"] <= row["gap_difference"] + 1e-9 and row["gap_difference"] <= row["gap_high"] + 1e-9
    assert summary.loc[("lr", "0.0003"), ["gap_low", "gap_high"]].tolist() == [0, 0]
    card = json.loads((found.out / "ablation.json").read_text())
    assert card["seeds"] == [0, 1] and card["world"]["landmarks"] == 3 and card["vary"]["warmup"] == [3]
    assert card["command"] == "landmark ablate small.toml" and card["machines"].keys() == set(rows["run"])
    assert "/" not in json.dumps(card["command"]) and str(found.out) not in json.dumps(card | {"notes": 0})

    def never(*args):
        raise AssertionError("a finished run is loaded")

    monkeypatch.setattr("landmark.training.trainer.train_step", never)
    monkeypatch.setattr(study, "describe", lambda: "another machine")
    again = ablate(table, n=50)
    assert again.rows.equals(found.rows) and again.summary.equals(found.summary)


def test_another_run_in_the_place_of_one(table):
    """Fails when a table that was changed takes older runs for its own."""
    ablate(table, n=5)
    table.write_text(table.read_text().replace("size = 32", "size = 48"))
    with pytest.raises(InputError, match="size: 32 → 48"):
        ablate(table, n=5)


def test_the_command(table, capsys):
    """Fails when the verb is missing, an unknown setting is a traceback, or the summary is not told."""
    assert main(["ablate", str(table), "--resamples", "20"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:3] == ["setting", "value", "seeds"] and "warmup" in out and " to " in out
    table.write_text("[vary]\ncolour = [1]\n")
    assert main(["ablate", str(table)]) == 2
    assert "no such training setting: colour" in capsys.readouterr().err


def test_differences_are_the_plain_loop():
    """Fails when seeds are not paired, images are drawn apart for two runs, or the seeds of a draw are not resampled."""
    random, kind = np.random.default_rng(0), np.array([0] * 6 + [1] * 2 + [2] * 4)
    tables = {name: Answers(random.random(12), (random.random(12) < 0.6) & (kind == 0), kind) for name in "abcd"}
    n, groups = 40, [["a", "b"], ["c", "d"]]
    found = compare(tables, groups, n)
    drawn = []
    for counts in draw_counts(rows_by_kind(kind), 0, n):
        drawn.append([_gap(tables[x], counts) - _gap(tables[y], counts) for x, y in zip(*groups[::-1], strict=True)])
    chosen = np.random.default_rng((1, 2)).integers(2, size=(n, 2))
    differences = [np.mean([row[i] for i in some]) for row, some in zip(drawn, chosen, strict=True)]
    low, high = np.quantile(differences, [0.025, 0.975])
    once = np.ones(12, int)
    value = np.mean([_gap(tables[x], once) - _gap(tables[y], once) for x, y in zip(*groups[::-1], strict=True)])
    parts = [found[1][f"gap_{part}"] for part in ("difference", "low", "high")]
    assert parts == pytest.approx([value, low, high])
    assert np.isnan(found[0]["p_holm"]) and found[0]["gap_high"] == 0


def _gap(answers, counts):
    """GAP of copies of images, written out."""
    right, seen, total = 0, 0, 0.0
    for i in np.argsort(-answers.score, kind="stable"):
        for _ in range(counts[i]):
            seen, right = seen + 1, right + answers.correct[i]
            total += answers.correct[i] * right / seen
    return total / counts[answers.kind < 2].sum()


def test_a_table_that_was_read(table):
    """Fails when `ablate` wants a file where the table is there already."""
    assert len(ablate(read_table(table), n=5).lines()) == 4 + 2
