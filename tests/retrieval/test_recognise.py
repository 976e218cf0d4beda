"""Oracles: the rule in plain loops; an embedder that is a small picture itself, and matches that are written down."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from landmark.evaluation.metrics import mean_average_precision
from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.risk import plain_threshold
from landmark.retrieval import recognise
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.gallery import open_gallery, open_photos
from landmark.retrieval.local.features import Sift
from landmark.retrieval.recognise import FOLDS, Searcher
from landmark.retrieval.vectors.space import SHRINK
from landmark.retrieval.vectors.whitening import WithinWhitening
from landmark.utils.errors import InputError


class Thumb:
    """An image's vector is the image, 4 × 4."""

    size, whole, network, seen = 32, False, "thumb", 0
    data_config = {"mean": (0.5,) * 3, "std": (0.5,) * 3}

    def __call__(self, images):
        self.seen += len(images)
        return F.normalize(F.adaptive_avg_pool2d(images, 4).flatten(1) + 0.6, dim=1)


def draw(path, seed, noise=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = (
        rng.uniform(0, 255, (6, 6, 3)) * (1 - noise)
        + np.random.default_rng(1000 + seed).uniform(0, 255, (6, 6, 3)) * noise
    )
    Image.fromarray(np.kron(pixels, np.ones((16, 16, 1))).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def landmarks(tmp_path):
    """Landmarks 10, 20 and 30 with three, two and one image."""
    for number, (landmark, seed) in enumerate(((10, 1), (10, 1), (10, 2), (20, 3), (20, 3), (30, 4))):
        draw(tmp_path / f"g/{landmark}/{number}.png", seed, 0.15 * (number % 2))
    return tmp_path / "g"


@pytest.fixture
def photos(tmp_path):
    return open_photos([draw(tmp_path / f"q{seed}.png", seed, 0.3) for seed in (1, 3, 4, 9)])


def search(landmarks, config=None, local=None, embedder=None, **more):
    return Searcher(open_gallery(landmarks), embedder or Thumb(), local, config, workers=0, progress=False, **more)


COUNTS = np.random.default_rng(0).integers(0, 150, (4, 6))


@pytest.mark.parametrize("compared", [False, True], ids=["cosine", "inliers"])
@pytest.mark.parametrize("config", [
    SearchConfig(neighbours=1), SearchConfig(neighbours=4, temperature=0.2, rerank=3, margin=0.5, whiten=0.0),
    SearchConfig(neighbours=50, temperature=1.0, rerank=50, whiten=0.0), SearchConfig(whiten=2.0),
    SearchConfig(neighbours=3, penalty=0.7, margin=1.0, whiten=0.1),
])  # fmt: skip
def test_the_rule_is_that_of_a_loop(landmarks, photos, monkeypatch, config, compared):
    """Fails when a term is left out or of another image, whitening reaches one side only, or k above n is an error."""
    searcher = search(landmarks, config, object() if compared else None)
    row_of = {image_id: i for i, image_id in enumerate(photos.ids)}
    monkeypatch.setattr(searcher, "matches", lambda photos, i, row: np.zeros((COUNTS[row_of[i], row], 4)))
    others = np.abs(np.random.default_rng(5).normal(size=(12, 48)))
    others = (others / np.linalg.norm(others, axis=1, keepdims=True)).astype(np.float32)
    searcher.others = replace(searcher.index, ids=[str(i) for i in range(12)], vectors=others)
    findings, queries = searcher.search(photos), searcher.embed(photos).vectors
    index = searcher.index.vectors
    if searcher.config.whiten:
        white = WithinWhitening.fit(index, searcher.landmark, searcher.config.whiten, shrink=SHRINK)
        queries, index, others = white(queries), white(index), white(others)
    queries, index = queries.astype(float), index.astype(float)
    for i, query in enumerate(queries):
        order = sorted(range(6), key=lambda row: -query @ index[row])
        scores = []
        for place, row in enumerate(order):
            like = [
                sum(sorted((v @ o for o in others), reverse=True)[:n]) / n for v, n in ((query, 10), (index[row], 5))
            ]
            inliers = min(COUNTS[i, row], config.enough) / config.enough if compared and place < config.rerank else 0
            scores.append((query @ index[row] - config.penalty * sum(like) + inliers, row))
        scores.sort(key=lambda pair: -pair[0])
        votes = {}
        for score, row in scores[: config.neighbours]:
            label = int(searcher.landmark[row])
            votes[label] = votes.get(label, 0) + math.exp((score - 1) / config.temperature)
        soft = sorted(((1 + config.temperature * math.log(v), label) for label, v in votes.items()), reverse=True)
        second = soft[1][0] if len(soft) > 1 else 0
        assert findings.landmark[i] == soft[0][1]
        assert findings.score[i] == pytest.approx(soft[0][0] - config.margin * max(second, 0), abs=1e-4)
        assert findings.neighbours.rows[i].tolist() == [row for _, row in scores]
        np.testing.assert_allclose(findings.cosine[i], [query @ index[row] for _, row in scores], atol=1e-5)
        want = [COUNTS[i, row] if compared and order.index(row) < config.rerank else -1 for _, row in scores]
        assert findings.inliers[i].tolist() == want


def test_only_new_images_are_embedded(landmarks, photos):
    """Fails when the index is embedded anew for each search, or the vector of a file that has changed is believed."""
    first = Thumb()
    before = search(landmarks, embedder=first).index
    assert first.seen == 6
    draw(landmarks / "20/new.png", 7)
    draw(landmarks / "30/5.png", 8)
    again = Thumb()
    searcher = search(landmarks, embedder=again)
    assert again.seen == 2
    names = [searcher.gallery.name(i) for i in searcher.index.ids]
    old = [names.index(f"10/{n}.png") for n in range(3)]
    assert np.array_equal(searcher.index.vectors[old], before.vectors[:3])
    assert searcher.landmark.tolist() == [int(name.split("/")[0]) for name in names]
    other = Thumb()
    other.network = "another"
    search(landmarks, embedder=other)
    assert other.seen == 7


def test_features_of_another_network_are_refused(landmarks, photos):
    """Fails when vectors of two networks are compared, whose products mean nothing."""
    searcher = search(landmarks)
    with pytest.raises(InputError, match="another network"):
        searcher.answer(replace(searcher.embed(photos), network="x"), photos)
    queries = searcher.embed(photos)
    broken = replace(queries, vectors=queries.vectors * np.nan)
    with pytest.raises(InputError, match="queries: row 0 is not finite"):
        searcher.answer(broken, photos)


def test_what_cannot_be_read_is_told(landmarks, photos, tmp_path, log_lines):
    """Fails when a bad photograph ends a search, moves another's answer, or a bad image of the index is hidden."""
    (tmp_path / "bad.png").write_bytes(b"<html>")
    mixed = open_photos([tmp_path / "bad.png", *photos.names.values()])
    (landmarks / "10/0.png").write_bytes(b"")
    searcher = search(landmarks)
    findings = searcher.search(mixed)
    assert findings.ids == photos.ids and list(findings.bad) == mixed.ids[:1]
    assert findings.landmark[1] == 20 and any("10/0.png: empty file" in line for line in log_lines)
    with pytest.raises(InputError, match="none of 1 images can be read: .*bad.png: not an image"):
        searcher.search(open_photos([tmp_path / "bad.png"]))


def test_leave_one_out_never_finds_the_image_itself(landmarks):
    """Fails when an image answers its own query, or the ranking is not whole."""
    searcher = search(landmarks, SearchConfig(neighbours=2))
    findings = searcher.leave_one_out(depth=100)
    for i, rows in enumerate(findings.neighbours.rows.tolist()):
        assert i not in rows and sorted(rows) == sorted([-1, *(j for j in range(6) if j != i)])
    ids = searcher.index.ids
    ranked = {ids[i]: [ids[j] for j in rows if j >= 0] for i, rows in enumerate(findings.neighbours.rows.tolist())}
    label = dict(zip(ids, searcher.landmark.tolist(), strict=True))
    relevant = {a: {b for b in ids if b != a and label[a] == label[b]} for a in ids}
    assert mean_average_precision(ranked, relevant) > 0.6


def test_leave_one_out_has_learnt_nothing_from_the_image(landmarks):
    """Fails when whitening that an image was learnt from brings it near its landmark, or folds get mixed up."""
    for config in (SearchConfig(neighbours=1, margin=0.0), SearchConfig(neighbours=1, margin=0.0, whiten=0.0)):
        searcher = search(landmarks, config)
        findings, mark = searcher.leave_one_out(), searcher.landmark
        for i in range(6):
            learnt = [row for row in range(6) if row % FOLDS != i % FOLDS]
            vectors = searcher.index.vectors
            if config.whiten:
                vectors = WithinWhitening.fit(vectors[learnt], mark[learnt], config.whiten, shrink=SHRINK)(vectors)
            near = max((vectors[i] @ vectors[row], row) for row in range(6) if row != i)
            assert findings.score[i] == pytest.approx(near[0], abs=1e-5) and findings.landmark[i] == mark[near[1]]
            assert findings.ids[i] == searcher.index.ids[i] and findings.neighbours.rows[i, 0] == near[1]
        some = searcher.leave_one_out(np.array([4, 1]))
        assert some.ids == [searcher.index.ids[4], searcher.index.ids[1]] and some.landmark[0] == 20


def test_the_threshold_reaches_the_precision(landmarks, log_lines):
    """Fails when a landmark's only image may be right, images without a landmark are left out, or given is not taken."""
    searcher = search(landmarks, SearchConfig(precision=0.6))
    findings = searcher.leave_one_out()
    right = findings.landmark == searcher.landmark
    assert not right[searcher.landmark == 30].any()
    expected = plain_threshold(Answers(findings.score, right, np.array([0, 0, 0, 0, 0, 1])), 0.6)
    assert searcher.threshold == expected and right[findings.score >= expected].mean() >= 0.6
    assert search(landmarks, SearchConfig(threshold=-3.0)).threshold == -3
    searcher = search(landmarks, SearchConfig(precision=0.6, penalty=0.0), keep=False)
    searcher.others = replace(searcher.index, vectors=searcher.index.vectors[::-1])
    searcher.gallery = replace(searcher.gallery, others=searcher.gallery)
    assert searcher.threshold > expected, "as many distractors that look like landmarks"


def test_one_image_a_class_has_no_threshold(tmp_path, photos, log_lines):
    """Fails when a folder with one image a landmark answers nothing, or is an error."""
    for seed in (1, 3, 4):
        draw(tmp_path / f"single/{seed}/a.png", seed)
    searcher = search(tmp_path / "single")
    findings = searcher.search(photos)
    assert searcher.threshold == -math.inf and findings.landmark[:3].tolist() == [1, 3, 4]
    assert any("no landmark has two images" in line for line in log_lines)


def test_local_features_decide(tmp_path, log_lines):
    """Fails when matches are of another image, or places are not shares of width and height."""
    from tests.retrieval.local.test_features import texture

    for number, seed in enumerate((0, 1, 2)):
        (tmp_path / f"g/{number}").mkdir(parents=True)
        Image.fromarray(texture(seed)).save(tmp_path / f"g/{number}/a.png")
    Image.fromarray(np.roll(texture(1), (48, 64), (0, 1))).save(tmp_path / "q.png")
    photos = open_photos([tmp_path / "q.png"])
    searcher = search(tmp_path / "g", SearchConfig(neighbours=1), Sift())
    findings = searcher.search(photos)
    assert findings.landmark.tolist() == [1] and findings.inliers[0, 0] > 100
    matches = searcher.matches(photos, photos.ids[0], int(findings.neighbours.rows[0, 0]))
    np.testing.assert_allclose(np.median(matches[:, :2] - matches[:, 2:], axis=0), [0.1, 0.1], atol=0.005)
    (tmp_path / "q.png").unlink()
    searcher._features.clear()
    assert not len(searcher.matches(photos, photos.ids[0], 0)) and any("no local features" in x for x in log_lines)


def test_what_was_looked_at_stays_in_bounds(landmarks, photos, monkeypatch):
    """Fails when the local features of a large index pile up in memory."""
    searcher = search(landmarks, local=Sift())
    searcher.search(photos)
    sizes = [found.descriptors.nbytes for found in searcher._features.values()]
    monkeypatch.setattr(recognise, "_HELD", max(sizes) + min(sizes))
    searcher = search(landmarks, local=Sift())
    searcher.search(photos)
    kept = [found.descriptors.nbytes for found in searcher._features.values()]
    assert sum(kept) == searcher._held <= max(sizes) + min(sizes) and 0 < len(kept) < len(sizes)
    assert torch.is_grad_enabled()


def test_the_threshold_is_measured_once(landmarks, monkeypatch):
    """Fails when each search measures it anew, or one of other settings, labels or images is believed."""
    measured = []
    monkeypatch.setattr(Searcher, "_measure", lambda self, several: measured.append(1) or len(measured) / 4)
    config = SearchConfig(precision=0.6)
    assert search(landmarks, config).threshold == search(landmarks, config).threshold == 0.25
    assert search(landmarks, SearchConfig(precision=0.7)).threshold == 0.5
    assert search(landmarks, config, Sift()).threshold == 0.75
    assert search(landmarks, config, keep=False).threshold == 1.0
    (landmarks / "30").rename(landmarks / "40")
    assert search(landmarks, config).threshold == 1.25
    for path in (landmarks / ".landmark/thresholds").iterdir():
        path.write_text("{")
    assert search(landmarks, config).threshold == 1.5
    draw(landmarks / "20/3.png", 9)
    assert search(landmarks, config).threshold == 1.75 and len(measured) == 7
