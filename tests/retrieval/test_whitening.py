"""Oracles: the covariance itself, scikit-learn's PCA by another solver."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from landmark.evaluation.neighbours import unit
from landmark.retrieval.whitening import Whitening
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
