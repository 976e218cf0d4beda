"""The material of recipes: vectors of a run against its own network, ensembles, what is kept."""

import shutil

import numpy as np
import pytest

from landmark.course.retrieving import material
from landmark.course.retrieving.material import Material
from landmark.evaluation.neighbours import find_nearest
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.embed import Embedder, embed_images
from landmark.retrieval.local.features import create_local
from landmark.retrieval.recognise import Searcher
from landmark.retrieval.vectors.whitening import WithinWhitening
from landmark.retrieval.vote import expand_queries
from landmark.utils.errors import InputError


def test_the_index_is_all_of_train(course):
    """Fails when landmarks below the filter, or images without one, are left out, or queries are of another network."""
    run, data, _ = course
    made = Material([run], data, search=SearchConfig(penalty=0.0))  # of `landmark search`; a recipe has its own
    queries, index, others = made.vectors()
    readable = set(data.labelled()["landmark_id"]) - set(run.labels.landmark_ids)
    assert readable & set(made.landmark.tolist()) and len(index) == len(made.landmark)
    embedder = Embedder(run.model(), run.config.size)
    theirs = embed_images(embedder, made.ids, data.root, "test", keep=False, progress=False)
    np.testing.assert_allclose(queries, theirs.vectors, atol=1e-5)
    assert len(others) <= len(data.nonlandmark) and made.bad == theirs.bad
    near = made.near()
    assert np.array_equal(near.rows, find_nearest(queries, index, near.rows.shape[1]).rows)


def test_an_ensemble_of_one_run_is_that_run(course):
    """Fails when joined vectors have other cosines, or blended answers another order."""
    run, data, _ = course
    one, two = Material([run], data), Material([run, run], data, [1, 3])
    assert np.array_equal(one.near().rows[:, 0], two.near().rows[:, 0])
    label, score = one.classify()
    both, blended = two.classify()
    assert np.array_equal(label, both) and np.array_equal(
        np.argsort(np.argsort(score)), np.argsort(np.argsort(blended))
    )


def test_whitened_and_expanded_vectors(course):
    """Fails when one side is left as it was, or whitening learns from the queries or without the landmarks."""
    run, data, _ = course
    made = Material([run], data)
    plain, white = made.vectors(), made.vectors(whiten=True, expand=True)
    within = WithinWhitening.fit(plain[1], made.landmark, made.parts.whiten)
    for before, after in zip(plain[1:], white[1:], strict=True):
        np.testing.assert_allclose(within(before), after, atol=1e-5)
    moved = expand_queries(within(plain[0]), white[1], made.parts.expand, made.parts.alpha)
    np.testing.assert_allclose(moved, white[0], atol=1e-5)


def test_inliers_are_counted_once(course, monkeypatch):
    """Fails when what is on disk is worked out again, or inliers of other neighbours are read."""
    run, data, _ = course
    shutil.rmtree(data.root / ".landmark/inliers", ignore_errors=True)  # of other tests
    made, asked = Material([run], data), []
    counted = type(made._searchers[0]).compare
    monkeypatch.setattr(type(made._searchers[0]), "compare", lambda *args: asked.append(1) or counted(*args))
    first = made.inliers(made.near())
    assert asked == [1] and np.array_equal(Material([run], data).inliers(made.near()), first) and asked == [1]
    assert first.shape == made.near().rows.shape and first.min() >= -1
    made.inliers(made.near(whiten=True))
    assert asked == [1, 1]


def test_delf_is_the_first_networks_own(course):
    """Fails when DELF looks with another network, or is compared by the settings of SIFT."""
    run, data, _ = course
    made = Material([run], data, search=SearchConfig(rerank=2, side=96))
    near, searcher = made.near(), made._searchers[0]
    got = made.inliers(near, "delf")
    local = create_local("delf", Embedder(run.model(), run.config.size), searcher.gallery, 96)
    theirs = Searcher(searcher.gallery, searcher.embedder, local, made.search, keep=False, progress=False)
    assert np.array_equal(got, theirs.compare(made.ids, made.photos, near)) and got.max() > 0


def test_a_damaged_block_is_counted_anew(tmp_path):
    """Fails when half a file is believed, or is an error."""
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    assert material._stored(tmp_path / "x.npy") is None and material._stored(tmp_path / "y.npy") is None


def test_what_has_no_classifier(course):
    """Fails when an embedder, or nothing at all, is asked for a softmax in a traceback."""
    run, data, _ = course
    with pytest.raises(InputError, match="without a classifier"):
        Material([Embedder(run.model(), 32)], data).classify()
    with pytest.raises(InputError, match="no run"):
        Material([], data)
