"""The table of mistakes against the metrics: the sound way, and each wrong way where a simple relation holds."""

import numpy as np
import pytest

from landmark.course.lessons import fall, heads
from landmark.evaluation.metrics import global_average_precision


def test_each_mistake_is_measured_against_the_sound_way(lesson):
    """Fails when the sound way is no GAP, a mistake changes something else as well, or a row has another's numbers."""
    light, deep, data = lesson
    features = heads.frozen_features(light, data)
    table = fall.mistakes_table(light, deep, data, seeds=(0, 1), passes=2, n=5)
    by_seed = {True: [], False: []}
    settings = {"lr": light.config.lr, "batch": light.config.batch_size}
    for seed in (0, 1):
        head = heads.train_head(features.train, features.labels, features.classes, 2, seed=seed, **settings)
        answers = features.answers(heads.logits_of(head, features.test))
        for closed, values in by_seed.items():
            rows = [i for i in range(len(answers)) if answers.kind[i] == 0 or not closed]
            solution = {f"{i:03}": [1] if answers.kind[i] < 2 else [] for i in rows}
            made = [i for i in rows if not np.isnan(answers.score[i])]
            mapping = {f"{i:03}": (1 if answers.correct[i] else 2, answers.score[i]) for i in made}
            values.append(global_average_precision(mapping, solution))
    sound = table["sound"]["GAP divided by all rows"]
    assert sound == pytest.approx(np.mean(by_seed[False]))
    assert table["wrong"]["no unknown landmarks, no distractors"] == pytest.approx(np.mean(by_seed[True]))
    assert table["wrong"]["GAP divided by all rows"] == pytest.approx(sound * features.shows.mean())
    assert table["difference"].tolist() == pytest.approx((table["wrong"] - table["sound"]).tolist())
    assert table.index[-1] == fall.TOGETHER and len(table) == 14 and table.notna().all(axis=None)
    assert table["wrong"][fall.TOGETHER] >= table["wrong"]["no unknown landmarks, no distractors"] - 1e-9


def test_a_leak_grows_with_the_passes(lesson):
    """Fails when the images one is asked about are not among those that are learnt from."""
    table = fall.leak_table(lesson[0], lesson[2], (1, 12))
    assert table.index.tolist() == [1, 12] and table["in train"][12] > table["never seen"][12]
