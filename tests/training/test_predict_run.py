"""What a run answers: a record bound to run and images, and a submission of its own network."""

from dataclasses import replace

import numpy as np
import pytest

from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.confidence import RULES
from landmark.evaluation.submission import read_submission
from landmark.training.predict_run import predict_table, submit
from landmark.training.trainer import fit
from tests.helpers import CONFIG


@pytest.fixture
def run(tmp_path, small_networks, world):
    return fit(replace(CONFIG, steps=2), world, tmp_path / "run", workers=0, progress=False)


@pytest.mark.parametrize("rule", RULES)
def test_submission_and_record_agree(tmp_path, run, world, rule):
    """Fails when the file is written by another rule, another checkpoint or other pixels than the record."""
    data = GoogleLandmarks(world)
    submit(run, data, tmp_path / "s.csv", score=rule, workers=0, progress=False)
    rows = read_submission(tmp_path / "s.csv").dropna()
    answers = predict_table(run, data.test, world).mapping(run.labels, rule)
    assert rows["id"].tolist() == [i for i in data.test["id"] if i in answers]
    assert rows["landmark_id"].tolist() == [answers[i][0] for i in rows["id"]]
    assert rows["score"].tolist() == pytest.approx([answers[i][1] for i in rows["id"]], rel=1e-5, abs=1e-6)


def test_train_images_have_their_own_record(run, world):
    """Fails when the answers to test images are given for train images, or a label is another image's."""
    data = GoogleLandmarks(world)
    table = run.sides[run.sides["side"] == "train"]
    train, test = predict_table(run, table, world, "train"), predict_table(run, data.test, world)
    assert set(train.ids) | {item.image_id for item in train.bad} == set(table["id"]) and not set(train.ids) & set(
        test.ids
    )
    assert len(list((run.path / "predictions").iterdir())) == 2 and np.isnan(test.loss).all()
    index = [run.labels.to_index(k) for k in table.set_index("id").loc[train.ids, "landmark_id"]]
    whole = predict_table(run, table, world, "train", keep=["logits"]).logits.astype(float)
    expected = np.log(np.exp(whole).sum(1)) - whole[np.arange(len(index)), index]
    assert train.loss == pytest.approx(expected)
