"""Answers of a run to a test set, as the metrics want them."""

import pytest

from landmark.course import answers
from landmark.data.folder import GoogleLandmarks
from landmark.training.trainer import fit
from tests.helpers import CONFIG

pytestmark = pytest.mark.usefixtures("small_networks")


def test_answers_are_to_the_images_that_are_scored(tmp_path, world):
    """Fails when an answer gets another image's score, a loss is worked out for a distractor, or a split is ignored."""
    run, data = fit(CONFIG, world, tmp_path / "run", workers=0, progress=False), GoogleLandmarks(world)
    truth, predictions = answers.truth_of(data), answers.test_predictions(run, data)
    rows = dict(zip(data.solution["id"], data.solution["landmarks"], strict=True))
    assert all(tuple(rows[image_id]) == tuple(shown) for image_id, shown in truth.items())
    found = answers.test_answers(run, data, "logit")
    assert found.keys() == truth.keys() & set(predictions.ids)
    for image_id, index, logit, loss in zip(
        predictions.ids, predictions.class_index, predictions.logit, predictions.loss, strict=True
    ):
        if image_id in truth:
            assert found[image_id] == (run.labels.landmark_ids[index], logit)
            assert (loss == loss) == any(x in run.labels for x in truth[image_id])
    public = answers.truth_of(data, "public")
    assert 0 < len(public) < len(truth)
    parts = {part: answers.answers_table(run, data, part) for part in ("public", "private", "all")}
    assert {*parts["public"].ids} == public.keys() and not {*parts["public"].ids} & {*parts["private"].ids}
    assert sorted([*parts["public"].ids, *parts["private"].ids]) == sorted(parts["all"].ids) == sorted(truth)
    rows = dict(zip(parts["all"].ids, zip(parts["all"].score, parts["all"].correct, strict=True), strict=True))
    plain = answers.test_answers(run, data)
    assert all(rows[i] == (score, mark in truth[i]) for i, (mark, score) in plain.items())
