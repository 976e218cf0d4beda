"""The score that checks a map, on a network of which it is known what it looks at."""

import numpy as np
import pytest
import torch

from landmark.evaluation import saliency
from landmark.utils.errors import InputError
from tests.evaluation.saliency.planted import Planted


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Planted()


def test_the_right_map_deletes_sooner(net):
    """Fails when deletion starts with the least salient pixels, or the score cannot tell a map from noise."""
    x = torch.rand(3, 3, 16, 16)
    right = torch.zeros(3, 16, 16)
    right[:, :8, :8] = 1
    score = saliency.deletion_score(net, x, right, 1)
    assert (score <= saliency.deletion_score(net, x, 1 - right, 1) + 1e-6).all()
    curve = saliency.deletion_curve(net, x, right, 1, steps=4)
    assert torch.allclose(curve[:, 0], net(x).softmax(1)[:, 1])
    assert torch.allclose(curve[:, 1], curve[:, -1], atol=0.02), "a quarter of the pixels is all it depends on"
    assert torch.allclose(curve[:, -1], net(saliency.blurred(x)).softmax(1)[:, 1])


def test_the_blur_is_three_boxes():
    """Fails when the box is not square, not centred, or black joins the picture at its border."""
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    near = [[min(max(i + d, 0), 15) for d in range(-2, 3)] for i in range(16)]  # a box of 5; the border goes on outside
    expected = x
    for _ in range(3):
        rows = [[expected[..., a, :][..., b].mean((-2, -1)) for b in near] for a in near]
        expected = torch.stack([torch.stack(row, -1) for row in rows], -2)
    assert torch.allclose(saliency.blurred(x), expected)


def test_bad_maps_are_named(net):
    """Fails when a map of another size, or one with NaN, is sorted all the same."""
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(InputError, match="shape"):
        saliency.deletion_curve(net, x, torch.rand(1, 8, 8))
    with pytest.raises(InputError, match="finite"):
        saliency.deletion_curve(net, x, torch.full((1, 16, 16), float("nan")))
    with pytest.raises(InputError, match="steps=0: give 1 or more"):
        saliency.deletion_curve(net, x, torch.rand(1, 16, 16), steps=0)


def test_the_table_compares_picture_by_picture():
    """Fails when the areas are not means of trapezia, or the difference is taken of means of other pictures."""
    curves = {
        "map": torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.1, 0.1]]),
        "random": torch.tensor([[1.0, 0.4, 0.0], [0.5, 0.5, 0.1]]),
    }
    table = saliency.deletion_table(curves, "random")
    areas = {"map": (0.25, 0.2), "random": (0.45, 0.4)}  # by hand: half of (first + 2 middle + last) / 2
    for name, (first, second) in areas.items():
        assert np.isclose(table.loc[name, "score"], (first + second) / 2)
        assert np.isclose(table.loc[name, "low"], second) and np.isclose(table.loc[name, "high"], first)
    # Every picture differs by 0.2, so that a paired interval has no width
    assert np.allclose(table.loc["map", ["difference", "difference_low", "difference_high"]].astype(float), -0.2)
    assert (table.loc["random", ["difference", "difference_low", "difference_high"]] == 0).all()


def test_a_table_of_other_pictures_is_refused():
    """Fails when curves of other pictures are paired, or a rival that is not there ends in a KeyError."""
    curves = {"map": torch.ones(3, 2), "random": torch.ones(2, 2)}
    with pytest.raises(InputError, match="of different images"):
        saliency.deletion_table(curves, "random")
    with pytest.raises(InputError, match="no curves of 'chance': there are map, random"):
        saliency.deletion_table(curves, "chance")
