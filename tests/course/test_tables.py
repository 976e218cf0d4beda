"""The tables of the course against the functions they are made of."""

from dataclasses import replace

import numpy as np
import pytest

from landmark.course import answers, runs, tables
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation import metrics, open_world
from landmark.training.trainer import fit
from tests.helpers import CONFIG

pytestmark = pytest.mark.usefixtures("small_networks")
MODELS = ["resnet50", "resnet50_gem"]


@pytest.fixture(params=[1, 2])
def course(request, tmp_path, world, monkeypatch):
    """Two models with one seed or two, and the data they are asked about."""
    found = {
        model: [fit(replace(CONFIG, model=model, seed=seed), world, tmp_path / f"{model}{seed}", workers=0,
                    progress=False) for seed in range(request.param)]
        for model in MODELS
    }  # fmt: skip
    monkeypatch.setattr(tables, "trained", lambda models: {model: found[model] for model in models})
    monkeypatch.setattr(tables, "course_runs", found.__getitem__)
    return found, GoogleLandmarks(world)


def test_scores_are_means_over_seeds(course):
    """Fails when closed counts a distractor, one seed stands for all, or an interval leaves its value out."""
    found, data = course
    truth = answers.truth_of(data)
    table = tables.score_table(iter(MODELS), data, n=20)
    for model, some in found.items():
        closed = open_world.closed_set(truth, some[0].labels.landmark_ids)
        every = [answers.test_answers(run, data) for run in some]
        inside = [metrics.global_average_precision(open_world.restrict(x, closed), closed) for x in every]
        row = table.loc[model]
        assert row["closed"] == pytest.approx(np.mean(inside)) and row["spread"] == pytest.approx(np.ptp(inside))
        assert row["open"] == pytest.approx(np.mean([metrics.global_average_precision(x, truth) for x in every]))
        assert row["closed_low"] <= row["closed"] <= row["closed_high"] and row["seeds"] == len(some)
        assert row["top1"] == pytest.approx(
            np.mean([metrics.top1_accuracy(open_world.restrict(x, closed), closed) for x in every])
        )
        assert row["dev"] == pytest.approx(np.mean([run.result["dev_gap"] for run in some]))
    assert table.loc["resnet50", "paper"] == 0.241 and np.isnan(table.loc["resnet50_gem", "paper"])


def test_single_runs_are_compared_with_the_first(course):
    """Fails when a sign is turned by the order of the runs, or a score is that of another run."""
    found, data = course
    runs = {"a": found["resnet50"][0], "b": found["resnet50_gem"][0]}
    there, back = tables.compare_runs(runs, data, n=20), tables.compare_runs({k: runs[k] for k in "ba"}, data, n=20)
    assert list(there.index) == ["a", "b"] and list(back.index) == ["b", "a"]
    truth = answers.truth_of(data)
    for name, run in runs.items():
        made, closed = answers.test_answers(run, data), open_world.closed_set(truth, run.labels.landmark_ids)
        assert there.loc[name, "open"] == pytest.approx(metrics.global_average_precision(made, truth))
        assert there.loc[name, "closed"] == pytest.approx(
            metrics.global_average_precision(open_world.restrict(made, closed), closed)
        )
    assert there.loc["b", "difference"] == pytest.approx(there.loc["b", "closed"] - there.loc["a", "closed"])
    ends = there.loc["b", ["difference", "low", "high"]].to_numpy(float)
    assert ends == pytest.approx(-back.loc["a", ["difference", "high", "low"]].to_numpy(float))
    assert np.isnan(there.loc["a", "difference"])


def test_differences_are_of_the_pair_as_it_is_named(course):
    """Fails when a pair that is given the other way round keeps its sign, or open and closed change places."""
    _, data = course
    table, (first, second) = tables.score_table(MODELS, data, n=20), MODELS
    rows = tables.paired_differences([(first, second), (second, first)], data, n=20)
    for set_ in ("closed", "open"):
        there, back = rows[[set_, f"{set_}_low", f"{set_}_high"]].to_numpy()
        assert there[0] == pytest.approx(table.loc[first, set_] - table.loc[second, set_])
        assert there == pytest.approx(-back[[0, 2, 1]]) and there[1] <= there[2]


def test_more_distractors_never_help(course):
    """Fails when the columns of shares are mixed up, or a share is not the one that it is called."""
    found, data = course
    table, truth = tables.distractor_table(MODELS, data, n=20), answers.truth_of(data)
    assert [share for share, name in table if name == "value"] == ["0%", "60%", "90%", "98.3%"]
    for model, some in found.items():
        values = [table.loc[model, (share, "value")] for share in ("0%", "60%", "90%", "98.3%")]
        each = [open_world.gap_against_distractors(answers.test_answers(run, data), truth, [0, 0.6, 0.9, 0.983])
                for run in some]  # fmt: skip
        assert values == pytest.approx(np.mean(each, axis=0)) and values == sorted(values, reverse=True)


def test_curves_run_through_the_table(course):
    """Fails when a curve is of one seed, or of another model than its name says."""
    _, data = course
    table = tables.distractor_table(MODELS, data, n=20)
    curves, marks = tables.distractor_curves(iter(MODELS), data, n=20)
    for model in MODELS:
        at = dict(zip(*curves[model], strict=True))
        assert at[0.983] == pytest.approx(table.loc[model, ("98.3%", "value")])
        assert marks[model][-1] == pytest.approx((0.983, *table.loc[model, "98.3%"]))


def test_logs_and_dev_scores_are_those_of_the_runs(course):
    """Fails when the table shows another run's seconds, or the curve of a seed that is not the first."""
    found, _ = course
    table = tables.dev_table(MODELS)
    for model, some in found.items():
        assert table.loc[model, "dev GAP"] == pytest.approx(np.mean([run.result["dev_gap"] for run in some]))
        assert tables.learning_tables([model])[model].equals(some[0].metrics)
    assert runs.seeds() in ((0,), (0, 1, 2))
