"""One query through every stage, against the search itself."""

import numpy as np
import pytest

from landmark.course.answers import truth_of
from landmark.course.retrieving import walk as walks
from landmark.course.retrieving.material import sample_queries
from landmark.course.retrieving.walk import Walk
from landmark.evaluation.metrics import global_average_precision, top1_accuracy
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.embed import Embedder
from landmark.retrieval.gallery import open_gallery
from landmark.retrieval.local.features import Sift
from landmark.retrieval.recognise import SHOWN, Searcher
from landmark.retrieval.vectors.space import SHRINK
from landmark.retrieval.vectors.whitening import WithinWhitening
from landmark.utils.errors import InputError


@pytest.fixture
def walk(course):
    run, data, _ = course
    config = SearchConfig(rerank=SHOWN, side=96, penalty=0.5)  # a search looks at no fewer neighbours
    searcher = Searcher(open_gallery(data.root), Embedder(run.model(), 32), Sift(), config, progress=False)
    return Walk(searcher, sample_queries(data, 12), data)


def test_the_last_stage_is_the_search(walk):
    """Fails when a stage leaves out a term, or the last one is not what a search answers."""
    findings, verdict = walk.searcher.search(walk.photos), walk.verdict("local")
    assert verdict.landmark.tolist() == findings.landmark.tolist()
    np.testing.assert_allclose(verdict.score, findings.score, atol=1e-5)
    truth = {i: shown for i, shown in truth_of(walk.data).items() if i in findings.ids}
    answers = dict(
        zip(findings.ids, zip(findings.landmark.tolist(), findings.score.tolist(), strict=True), strict=True)
    )
    row = walk.scores([]).loc["local"]
    assert row["gap"] == pytest.approx(global_average_precision(answers, truth), abs=1e-6)
    assert row["top1"] == pytest.approx(top1_accuracy(answers, truth))
    right = [i for i, (mark, _) in answers.items() if mark in truth.get(i, ())]
    assert (row["known"], row["unknown"]) == (0, len(right)), "no label is known here"
    every = walk.scores(sorted(set(walk.searcher.landmark.tolist()))).loc["local"]
    assert (every["known"], every["unknown"]) == (len(right), 0)
    assert list(walk.stages()) == ["nearest", "whiten", "vote", "margin", "penalty", "local"]


def test_the_first_stages_are_products(walk):
    """Fails when the first stage sees whitened vectors already, or the second one does not."""
    queries, searcher = walk.searcher.embed(walk.photos).vectors, walk.searcher
    white = WithinWhitening.fit(searcher.index.vectors, searcher.landmark, searcher.config.whiten, shrink=SHRINK)
    plain, whitened = queries @ searcher.index.vectors.T, white(queries) @ white(searcher.index.vectors).T
    for stage, cosine in (("nearest", plain), ("whiten", whitened)):
        verdict = walk.verdict(stage)
        assert verdict.landmark.tolist() == searcher.landmark[cosine.argmax(1)].tolist()
        np.testing.assert_allclose(verdict.score, cosine.max(1), atol=1e-5)
    assert np.abs(plain - whitened).max() > 0.1
    table = walk.neighbours(walk.photos.ids[2], 1)
    row = whitened[2].argmax()
    np.testing.assert_allclose(table[["plain", "cosine"]].iloc[0], [plain[2, row], whitened[2, row]], atol=1e-5)


def test_a_query_is_told(walk):
    """Fails when neighbours, ranks or answers of one query are those of another."""
    image_id = walk.photos.ids[3]
    table, verdict = walk.neighbours(image_id, 3), walk.verdict("local")
    near = walk.searcher.answer(walk.searcher.embed(walk.photos), walk.photos, depth=4)
    row = near.ids.index(image_id)
    for _, line in table.iterrows():
        assert line["score"] == pytest.approx(near.neighbours.similarity[row, line["rank"] - 1], abs=1e-5)
        assert line["cosine"] == pytest.approx(near.cosine[row, line["rank"] - 1], abs=1e-5)
        assert line["inliers"] == near.inliers[row, line["rank"] - 1]
    answers = walk.answers(image_id)
    assert answers.loc["local", "score"] == pytest.approx(verdict.score[row])
    changed = walk.changed()
    assert set(changed["id"]) <= set(walk.photos.ids) and len(changed) <= 12


def test_it_is_drawn(walk, monkeypatch):
    """Fails when a stage's neighbours are not those of the picture, or a query without a landmark is an error."""
    monkeypatch.setattr(walks, "credit_lines", lambda root, ids: [f"{root.name} {i}" for i in ids])
    row = walk._row(walk.photos.ids[1])
    near = [walk.searcher.index.ids[k] for k in walk.verdict("nearest").ranked.rows[row, :2]]
    credited = " · ".join(f"{walk.data.root.name} {i}" for i in [walk.photos.ids[1], *near])
    assert " ".join(walk.draw(walk.photos.ids[1:2], "nearest", 2).get_supxlabel().split()) == credited
    assert len(walk.draw(walk.photos.ids[:3], "nearest", 2).axes[0].images) == 9
    assert len(walk.draw(walk.photos.ids[:1], "local", 2).axes[0].images) == 3
    with pytest.raises(InputError, match="none of the 12 queries"):
        walk.answers("x")
    with pytest.raises(InputError, match="no stage 'luck'"):
        walk.verdict("luck")


def test_samples_are_spread(course):
    """Fails when the first images are taken, or more than there are."""
    _, data, _ = course
    ids = data.test["id"].tolist()
    assert sample_queries(data, 2).ids == [ids[0], ids[-1]] and sample_queries(data, 999).ids == ids
