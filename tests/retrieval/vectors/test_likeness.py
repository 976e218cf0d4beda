"""Oracles: plain loops over pairs, in Python's own exact sums."""

import math

import numpy as np
import pytest

from landmark.evaluation import neighbours
from landmark.evaluation.neighbours import Neighbours
from landmark.retrieval.vectors import likeness
from landmark.utils.errors import InputError


def cosine(a, b):
    length = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(x * x for x in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0


NOISE = np.random.default_rng(0)
ASKED, TRAIN, OTHERS = (NOISE.normal(size=(n, 5)) * NOISE.uniform(0.1, 9, (n, 1)) for n in (7, 11, 6))
LABELS = np.array([3, 1, 1, 7, 3, 3, 1, 7, 7, 1, 3])


@pytest.mark.parametrize("block", [1, 4, 8192])
def test_scores_of_neighbours(monkeypatch, block):
    """Fails when the k-th is another, the penalty is of the farthest, lengths count, or a block is left out."""
    monkeypatch.setattr(neighbours, "VECTORS", block)
    monkeypatch.setattr(neighbours, "QUERIES", block)
    for k in (1, 4, 11):
        for row, score in zip(ASKED, likeness.neighbour_similarity(ASKED, TRAIN, k), strict=True):
            assert score == pytest.approx(sorted((cosine(row, x) for x in TRAIN), reverse=True)[k - 1], abs=1e-6)
            unit = [x / math.hypot(*x) for x in TRAIN]
            distance = sorted(math.dist(row / math.hypot(*row), x) for x in unit)[k - 1]
            assert math.sqrt(2 - 2 * score) == pytest.approx(distance, abs=1e-5)
    for row, score in zip(ASKED, likeness.penalised_similarity(ASKED, TRAIN, OTHERS, 2, 3), strict=True):
        near = sorted((cosine(row, x) for x in TRAIN), reverse=True)[1]
        penalty = sum(sorted((cosine(row, x) for x in OTHERS), reverse=True)[:3]) / 3
        assert score == pytest.approx(near - penalty, abs=1e-6)


def test_likeness_of_both_sides():
    """Fails when it is that of one side only, of another row, or a query counts for itself."""
    near = Neighbours(np.array([[4, 0, -1], [4, 10, 2]]), np.zeros((2, 3), np.float32))
    own = np.array([-1, 3])
    found = likeness.pair_likeness(ASKED[:2], TRAIN, OTHERS, near, own)
    for i, rows in enumerate(near.rows.tolist()):
        asked = [cosine(ASKED[i], x) for n, x in enumerate(OTHERS) if n != own[i]]
        for j, row in enumerate(rows):
            theirs = sorted((cosine(TRAIN[row], x) for x in OTHERS), reverse=True)[: likeness.OTHERS_OF_INDEX]
            if row >= 0:
                assert found[i, j] == pytest.approx(sum(asked) / len(asked) + sum(theirs) / 5, abs=1e-6)


def test_scores_of_centres():
    """Fails when a long embedding pulls a centre, classes are mixed up, or the farthest centre counts."""
    centres = likeness.class_centres(TRAIN, LABELS)
    for centre, label in zip(centres, (1, 3, 7), strict=True):
        members = [x / math.hypot(*x) for x, k in zip(TRAIN, LABELS, strict=True) if k == label]
        assert centre == pytest.approx(sum(members) / len(members), abs=1e-6)
    for row, score in zip(ASKED, likeness.centre_similarity(ASKED, centres), strict=True):
        assert score == pytest.approx(max(cosine(row, centre) for centre in centres), abs=1e-6)


def test_an_embedding_of_zeros_is_like_nothing():
    """Fails when an image without any activation gets NaN, which has no place in a ranking."""
    nothing = np.zeros((2, 5))
    assert likeness.neighbour_similarity(nothing, TRAIN).tolist() == [0, 0]
    assert likeness.centre_similarity(ASKED, nothing).tolist() == [0] * 7
    assert likeness.class_centres(nothing, np.array([0, 0])).tolist() == [[0] * 5]


@pytest.mark.parametrize("k", [0, 12])
def test_too_few_neighbours_are_told(k):
    """Fails when the k-th of fewer images is the last of them, or a traceback of NumPy's."""
    with pytest.raises(InputError, match=f"{k} nearest of 11 embeddings: give a number from 1 to 11"):
        likeness.neighbour_similarity(ASKED, TRAIN, k)


def test_likeness_to_what_is_no_landmark_leaves_the_image_itself_out():
    """Fails when an image counts as its own likeness, or one that has no other to be compared with gets NaN."""
    own = np.array([2, -1, 0, 0, 5, 1, 3])
    for count in (2, 10):
        for i, score in enumerate(likeness.mean_likeness(ASKED, OTHERS, count, own)):
            near = sorted((cosine(ASKED[i], x) for j, x in enumerate(OTHERS) if j != own[i]), reverse=True)[:count]
            assert score == pytest.approx(sum(near[: len(OTHERS) - 1]) / len(near), abs=1e-6) or count > len(near)
    assert likeness.mean_likeness(ASKED[:1], OTHERS[:1], own=np.array([0])).tolist() == [0]
    with pytest.raises(InputError, match="0 vectors"):
        likeness.mean_likeness(ASKED, OTHERS[:0])
