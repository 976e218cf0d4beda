"""Fitted rules against scikit-learn, scipy and plain loops, and on a run of the course."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.neighbors import NearestNeighbors

from landmark.course.judging import fitted
from landmark.course.judging.fitted import FittedRules
from landmark.evaluation.confidence import RULES, Evidence
from landmark.evaluation.metrics import auroc
from landmark.evaluation.report.calibration import fit_temperature
from landmark.utils.errors import InputError

NOISE = np.random.default_rng(0)
TRAIN, OTHERS, ASKED, DEV = (NOISE.normal(size=(n, 4)) * NOISE.uniform(0.2, 5, (n, 1)) for n in (30, 12, 9, 80))
CLASSES = NOISE.integers(3, size=30)
DEV_LOGITS = NOISE.normal(size=(80, 3)) * 5
CORRECT = NOISE.random(80) < 0.5


def evidence(embedding=ASKED, logits=None):
    none = np.zeros(len(ASKED))
    return Evidence(logit=none, second=none, logsumexp=none, norm=none, embedding=embedding, logits=logits)


def fit(**changes):
    settings = {
        "train": TRAIN,
        "class_index": CLASSES,
        "others": OTHERS,
        "embedding": DEV,
        "logits": DEV_LOGITS,
        "correct": CORRECT,
    }
    return FittedRules.fit(**settings | changes)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_the_kth_neighbour_is_that_of_scikit_learn():
    """Fails when lengths count, the k-th is another, or a nearer image scores lower."""
    for k in (1, 5, 20):
        rules = fit(neighbours=[k]).rules()
        distance = NearestNeighbors(n_neighbors=k).fit(unit(TRAIN)).kneighbors(unit(ASKED))[0][:, -1]
        assert np.sqrt(2 - 2 * rules["neighbour"](evidence())) == pytest.approx(distance, abs=1e-5)


def test_centre_and_penalty_in_plain_loops():
    """Fails when the centre of another class counts, or the mean similarity to non-landmarks is added."""
    rules = fit(neighbours=[2]).rules()
    centres = [np.mean([x for x, c in zip(unit(TRAIN), CLASSES, strict=True) if c == k], axis=0) for k in range(3)]
    for x, centre, penalised in zip(ASKED, rules["centre"](evidence()), rules["penalised"](evidence()), strict=True):
        assert centre == pytest.approx(max(x @ c / math.hypot(*x) / math.hypot(*c) for c in centres), abs=1e-6)
        near = sorted((x @ t / math.hypot(*x) / math.hypot(*t) for t in TRAIN), reverse=True)[1]
        bare = sorted((x @ t / math.hypot(*x) / math.hypot(*t) for t in OTHERS), reverse=True)[:10]
        assert penalised == pytest.approx(near - sum(bare) / 10, abs=1e-6)


def test_the_temperature_is_that_of_the_dev_answers():
    """Fails when logits are multiplied by the temperature, or it is fitted on other answers."""
    rules, logits = fit(), NOISE.normal(size=(9, 3)) * 9
    assert rules.temperature == fit_temperature(DEV_LOGITS, CORRECT)
    wanted = softmax(logits / rules.temperature, axis=1).max(axis=1)
    assert rules.rules()["temperature"](evidence(logits=logits)) == pytest.approx(wanted)


def test_k_is_the_best_one_on_the_dev_answers():
    """Fails when k is chosen by the wrong answers, by the train images, or not at all."""
    ways = {k: NearestNeighbors(n_neighbors=k).fit(unit(TRAIN)).kneighbors(unit(DEV))[0][:, -1] for k in (1, 5, 10, 20)}
    areas = {k: auroc(-far[CORRECT], -far[~CORRECT]) for k, far in ways.items()}
    assert fit().k == max(areas, key=areas.get) and len(set(areas.values())) == 4
    assert fit(train=TRAIN[:3], class_index=CLASSES[:3], neighbours=[7]).k == 1, "none of them is possible"


def test_what_is_not_there():
    """Fails when a folder without non-landmarks, a record without embeddings or answers of one kind is a traceback."""
    bare = fit(others=np.zeros((0, 4)))
    assert bare.rules().keys() == RULES.keys() | {"temperature", "centre", "neighbour"}
    with pytest.raises(InputError, match="the record holds no embedding: predict with keep="):
        bare.rules()["centre"](evidence(embedding=None))
    with pytest.raises(InputError, match="the record holds no logits"):
        bare.rules()["temperature"](evidence())
    with pytest.raises(InputError, match="right and wrong answers"):
        fit(correct=np.ones(80, bool))
    with pytest.raises(InputError, match="0 train images"):
        fit(train=TRAIN[:0], class_index=CLASSES[:0])
    with pytest.raises(InputError, match="row 2 is not finite"):
        bare.rules()["neighbour"](evidence(np.where(np.arange(9)[:, None] == 2, np.nan, ASKED)))


def test_equal_embeddings_score_equal():
    """Fails when images that look the same to the network are told apart by chance."""
    scores = fit().rules()["neighbour"](evidence(np.ones((9, 4))))
    assert len(set(scores.tolist())) == 1


def test_a_run_is_fitted_on_what_it_learnt_from(course):
    """Fails when dev images of the run, or landmarks that it does not know, count among the train images, or when the
    rules of a run cannot be worked out from its own records."""
    run, data, dev = course
    rules = fitted.fit_rules(run, data, dev[0])
    sides = run.sides
    assert len(rules.train) <= (sides["side"] == "train").sum() and len(rules.train) >= len(sides) / 2
    assert len(rules.centres) == len(run.labels) and len(rules.others) == len(data.nonlandmark)
    record = fitted.test_predictions(run, data, fitted.KEEP)
    for name, rule in rules.rules().items():
        assert np.isfinite(rule(record)).all() and rule(record).shape == (len(record.ids),), name
    stranger = SimpleNamespace(sides=sides.assign(id="0" * 16), labels=run.labels, path=run.path)
    with pytest.raises(InputError, match="none of the train images"):
        fitted.fit_rules(stranger, data, dev[0])
