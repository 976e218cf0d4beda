"""Oracles: plain loops over pairs of points; points of a scene that two cameras see."""

import cv2
import numpy as np
import pytest

from landmark.evaluation.neighbours import unit
from landmark.retrieval.local import matching
from landmark.retrieval.local.matching import fit_inliers, mutual_pairs, ratio_pairs
from landmark.utils.errors import InputError


@pytest.fixture
def descriptors():
    rng = np.random.default_rng(0)
    first = unit(rng.normal(size=(60, 8)))
    second = unit(np.concatenate([first[::2] + rng.normal(0, 0.1, (30, 8)), rng.normal(size=(25, 8))]))
    return first, np.concatenate([second, second[:4]])  # four are there twice


def test_mutual_pairs_are_those_of_a_loop(descriptors):
    """Fails when one side's nearest is enough, a cosine that is too low counts, or a point is matched twice."""
    first, second = descriptors
    cosine = first @ second.T
    for least in (-1, 0.82):
        expected = []
        for i in range(len(first)):
            j = max(range(len(second)), key=lambda j: cosine[i, j])
            if max(range(len(first)), key=lambda row: cosine[row, j]) == i and cosine[i, j] > least:
                expected.append([i, j])
        assert mutual_pairs(first, second, least).tolist() == expected and len(expected) > 20
    alike = mutual_pairs(np.eye(2)[[0, 0, 1]], np.eye(2)[[0, 1, 1]])
    assert alike.tolist() == [[0, 0], [2, 1]], "of equal ones the lower row"


def test_ratio_pairs_are_those_of_a_loop(descriptors):
    """Fails when the ratio is of squared distances, the second nearest is the nearest, or a point is matched twice."""
    first, second = descriptors[0], descriptors[1][:-4]
    for ratio in (0.5, 0.8, 0.95):
        best = {}
        for i, row in enumerate(first):
            distance = sorted((float(np.linalg.norm(row - other)), j) for j, other in enumerate(second))
            (near, j), (next_one, _) = distance[:2]
            if near < ratio * next_one and near < best.get(j, (9, 0))[0]:
                best[j] = near, i
        assert ratio_pairs(first, second, ratio).tolist() == sorted([i, j] for j, (_, i) in best.items())
    assert not len(ratio_pairs(*descriptors)[np.isin(ratio_pairs(*descriptors)[:, 1], range(4))]), "two are as near"


@pytest.mark.parametrize("pairs", [mutual_pairs, ratio_pairs])
@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (0, 0)])
def test_no_points_make_no_pairs(pairs, n, m):
    """Fails when a blank picture ends in an error of NumPy's."""
    assert pairs(np.zeros((n, 4), np.float32), np.zeros((m, 4), np.float32)).shape == (0, 2)
    assert ratio_pairs(np.eye(3), np.eye(3)[:1]).shape == (0, 2), "of one point none is the second nearest"


def two_views(rng, count):
    """Points (count, 2) of a scene as two cameras see it."""
    scene = np.c_[rng.uniform(-2, 2, (count, 2)), rng.uniform(4, 8, count)]
    camera = np.array([[400, 0, 320], [0, 400, 240], [0, 0, 1.0]])
    turn, _ = cv2.Rodrigues(np.array([0.02, 0.2, 0.01]))
    views = [(scene @ r.T + t) @ camera.T for r, t in ((np.eye(3), 0), (turn, np.array([-1.0, 0.1, 0.2])))]
    return [view[:, :2] / view[:, 2:] for view in views]


def test_inliers_are_what_one_scene_explains():
    """Fails when outliers are counted, inliers are not, or two calls differ."""
    rng = np.random.default_rng(0)
    first, second = two_views(rng, 60)
    second[40:] = rng.uniform(0, 480, (20, 2))
    inside = fit_inliers(first, second, "fundamental", 1.0)
    assert inside[:40].mean() > 0.9 and inside[40:].mean() < 0.3
    assert all(np.array_equal(fit_inliers(first, second, "fundamental", 1.0), inside) for _ in range(3))
    plane = first[:40] * 1.2 + (5, -9)
    moved = np.concatenate([plane, rng.uniform(0, 480, (20, 2))])
    inside = fit_inliers(first, moved, "homography", 3.0)
    assert inside[:40].mean() > 0.9 and not inside[40:].any()
    off = np.where(np.arange(60)[:, None] < 40, moved + rng.choice([-3, 3], (60, 2)), moved)
    assert fit_inliers(first, off, "homography", 8.0)[:40].mean() > 0.9
    assert fit_inliers(first, off, "homography", 1.0)[:40].mean() < 0.5


LINE = np.stack([np.arange(40.0), 3 * np.arange(40.0)], axis=1)
RANDOM = np.random.default_rng(1).uniform(0, 480, (40, 2))
POOR = {
    "none": (RANDOM[:0], RANDOM[:0]),
    "fewer than five": (RANDOM[:4], RANDOM[:4] + 1),
    "on a line": (LINE, LINE + 5),
    "on a line in one of them": (RANDOM, LINE),
    "one place": (np.full((40, 2), 7.0), np.full((40, 2), 9.0)),
    "one place in one of them": (RANDOM, np.full((40, 2), 9.0)),
    "not finite": (RANDOM, np.full((40, 2), np.nan)),
}


@pytest.mark.parametrize("geometry", ["fundamental", "homography"])
@pytest.mark.parametrize("case", POOR)
def test_degenerate_geometry_has_no_inliers(case, geometry):
    """Fails when points that any geometry explains count as the same scene, or OpenCV's error gets out."""
    first, second = POOR[case]
    assert fit_inliers(first, second, geometry).tolist() == [False] * len(first)


def test_a_refusal_of_the_estimator_is_no_inliers(monkeypatch):
    """Fails when the exception that OpenCV has for poor sets ends a search."""

    def refuse(*args, **more):
        raise cv2.error("poor")

    monkeypatch.setattr(matching.cv2, "findFundamentalMat", refuse)
    monkeypatch.setattr(matching.cv2, "findHomography", lambda *args, **more: (None, None))
    assert not fit_inliers(RANDOM, RANDOM, "fundamental").any() and not fit_inliers(RANDOM, RANDOM, "homography").any()


def test_bad_input_is_one_line():
    """Fails when points that do not pair, or a misspelt geometry, surface as OpenCV's own error."""
    for first, second, geometry, words in (
        (RANDOM, RANDOM[:5], "fundamental", r"points \(40, 2\) and \(5, 2\)"),
        (RANDOM, RANDOM, "affine", "no geometry 'affine'"),
    ):
        with pytest.raises(InputError, match=f"^{words}[^\n]*$"):
            fit_inliers(first, second, geometry)
