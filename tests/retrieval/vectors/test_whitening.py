"""Oracles: the covariance itself, scikit-learn's PCA by another solver, SciPy's root of a matrix."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.decomposition import PCA

from landmark.evaluation.neighbours import unit
from landmark.retrieval.vectors import whitening
from landmark.retrieval.vectors.whitening import Whitening, WithinWhitening
from landmark.utils.errors import InputError


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)) + 5


def test_whitened_vectors_are_uncorrelated_and_of_one_size(vectors):
    """Fails when the mean stays in, or a component keeps its own size."""
    whitening = Whitening.fit(vectors, 4)
    white = (vectors - whitening.mean) @ whitening.matrix.T
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), atol=1e-4)
    other = unit(PCA(4, whiten=True, svd_solver="full").fit_transform(vectors))
    np.testing.assert_allclose(np.abs(whitening(vectors)), np.abs(other), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(whitening(vectors), axis=1), 1, atol=1e-6)


def test_it_comes_back_from_disk(vectors, tmp_path):
    """Fails when a part is not written, or a damaged file ends in a traceback."""
    whitening = Whitening.fit(vectors, 3)
    whitening.save(tmp_path / "w.npz")
    assert np.array_equal(Whitening.load(tmp_path / "w.npz")(vectors), whitening(vectors))
    for damage in (b"", b"<html>", (tmp_path / "w.npz").read_bytes()[:-30]):
        (tmp_path / "d.npz").write_bytes(damage)
        with pytest.raises(InputError, match="d.npz: no whitening that can be read"):
            Whitening.load(tmp_path / "d.npz")
    with pytest.raises(InputError, match="no.npz"):
        Whitening.load(tmp_path / "no.npz")


def test_too_many_components_are_refused(vectors):
    """Fails when a direction without spread is blown up to the size of the others."""
    for given, dim, words in ((vectors, 9, "from 1 to 8"), (vectors[:4], 4, "from 1 to 3"), (vectors, 0, "dim=0")):
        with pytest.raises(InputError, match=words):
            Whitening.fit(given, dim)
    flat = np.repeat(vectors[:, :3], 2, axis=1)
    with pytest.raises(InputError, match="dim=5: the vectors spread in 3 directions only"):
        Whitening.fit(flat, 5)
    with pytest.raises(InputError, match="finite"):
        Whitening.fit(np.full((5, 3), np.nan), 2)
    with pytest.raises(InputError, match="learnt on"):
        Whitening.fit(vectors, 2)(vectors[:, :7])


@pytest.mark.parametrize("dim", [8, 90], ids=["more images than numbers", "fewer"])
def test_within_whitening_is_the_inverse_root_of_the_covariance_within_landmarks(dim):
    """Fails when single images or differences between landmarks count, or directions without spread are lost."""
    rng = np.random.default_rng(1)
    label = np.array([3] * 20 + [1] * 15 + [9] * 2 + [4, 5])
    vectors = 3 * rng.normal(size=(10, dim))[label] + rng.normal(size=(len(label), dim)) @ rng.normal(size=(dim, dim))
    apart = np.concatenate([vectors[label == x] - vectors[label == x].mean(0) for x in (3, 1, 9)])
    within = apart.T @ apart / len(apart)
    value = np.linalg.eigvalsh(within)
    floor = 0.2 * value[value > 1e-6 * value[-1]].mean()
    root = fractional_matrix_power(within + floor * np.eye(dim), -0.5).real
    for shrink in (0, 3):
        expected = unit((vectors - vectors.mean(0) * 5 / (5 + shrink)) @ root)
        fitted = WithinWhitening.fit(vectors, label, 0.2, shrink=shrink)
        np.testing.assert_allclose(fitted(vectors), expected, atol=1e-4)


def test_within_whitening_brings_photographs_of_one_landmark_together():
    """Fails when directions in which they differ count more, not less: the nearest one is then of another landmark."""
    rng = np.random.default_rng(2)
    label = np.repeat(np.arange(12), 10)
    vectors = unit(rng.normal(size=(12, 6))[label] @ np.eye(6, 30) + 2 * rng.normal(size=(120, 4)) @ np.eye(4, 30, 10))
    right = []
    for shown in (vectors, WithinWhitening.fit(vectors, label)(vectors)):
        likeness = shown @ shown.T - 2 * np.eye(120)
        right.append((label[likeness.argmax(1)] == label).mean())
    assert right[0] < 0.7 < 0.95 < right[1]


def test_two_photographs_of_one_landmark_stay_alike():
    """Fails when all of the mean comes off: two photographs of one landmark are then opposites, a query is noise."""
    pair = unit(np.array([[1.0, 0.2, 0.0], [1.0, -0.2, 0.0]]))
    white = WithinWhitening.fit(pair, np.array([5, 5]), 0.5, shrink=3.0)
    one, two, query = white(np.concatenate([pair, [[1.0, 0.0, 0.3]]]))
    assert one @ two > pair[0] @ pair[1] and query @ one > 0.9
    assert WithinWhitening.fit(pair, np.array([5, 5]), 0.5)(pair)[0] @ one < 0.9


def test_it_is_learnt_from_whole_landmarks_in_blocks(vectors, monkeypatch):
    """Fails when landmarks are torn apart where there are too many images, or a block is left out."""
    label = np.repeat(np.arange(12), 5)
    whole = WithinWhitening.fit(vectors, label)(vectors)
    monkeypatch.setattr(whitening, "_BLOCK", 7)
    assert np.allclose(WithinWhitening.fit(vectors, label)(vectors), whole, atol=1e-5)
    monkeypatch.setattr(whitening, "_LEARNT", 25)  # of 60 images: every third landmark
    part, some = WithinWhitening.fit(vectors, label), label % 3 == 0
    only = replace(WithinWhitening.fit(vectors[some], label[some]), mean=part.mean)
    np.testing.assert_allclose(part.mean, vectors.mean(0), atol=1e-6)
    np.testing.assert_allclose(part(vectors), only(vectors), atol=1e-5)
    assert not np.allclose(part(vectors), whole, atol=1e-2)


def test_within_whitening_of_single_images_takes_off_the_mean(vectors):
    """Fails when an index of one image a landmark divides by nothing; wrong input ends in one line."""
    alone = WithinWhitening.fit(vectors, np.arange(60))
    np.testing.assert_allclose(alone(vectors), unit(vectors - vectors.mean(0)), atol=1e-6)
    same = WithinWhitening.fit(np.ones((4, 3)), np.zeros(4))
    assert np.isfinite(same(np.eye(3))).all()
    for given, label, share, words in (
        (vectors, np.arange(59), 0.1, "59 labels of 60"), (vectors, np.arange(60), 0, "share=0"),
        (vectors * np.nan, np.arange(60), 0.1, "finite"), (vectors[:0], np.arange(0), 0.1, "one at least"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            WithinWhitening.fit(given, label, share)
    with pytest.raises(InputError, match="learnt on"):
        alone(vectors[:, :7])
