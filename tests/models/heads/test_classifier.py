"""Oracles: plain loops over numbers, the usual head written out."""

import math

import pytest
import torch
from torch import nn

from landmark.models.heads.classifier import HEAD_LAYERS, CosineClassifier, EmbeddingNeck, build_head
from landmark.models.recipes import HEADS


@pytest.mark.parametrize("centres", [1, 3])
def test_cosines_are_the_plain_loop_in_float32(centres):
    """Fails when a length matters, sub-centres are averaged or of another class, or autocast rounds a cosine."""
    head, x = CosineClassifier(6, 4, centres, scale=10.0), torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    weights = head.weight.detach().view(4, centres, 6).double().tolist()

    def cosine(a, b):
        return sum(p * q for p, q in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    with torch.autocast("cpu", torch.bfloat16):
        found = head(7 * x)
    expected = [[10 * max(cosine(row, c) for c in group) for group in weights] for row in x.double().tolist()]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_an_embedding_by_hand():
    """Fails when the neck normalises over numbers and not over images, or cuts off what is negative."""
    neck = EmbeddingNeck(2, 1)
    with torch.no_grad():
        neck[0].weight.copy_(torch.tensor([[1.0, 2.0]]))
        neck[0].bias.zero_()
    found = neck.train()(torch.tensor([[1.0, 1.0], [3.0, 2.0]]))  # 3 and 7 → -1 and 1 → a quarter of what is negative
    torch.testing.assert_close(found, torch.tensor([[-0.25], [1.0]]), rtol=1e-4, atol=1e-4)


def test_the_usual_head_is_as_it_was():
    """Fails when older checkpoints no longer fit, or the first weights of a run are others than before."""
    torch.manual_seed(0)
    head = nn.Sequential(nn.LayerNorm(9), nn.Linear(9, 512), nn.ReLU(), nn.Identity(), nn.Linear(512, 3)).state_dict()
    torch.manual_seed(0)
    neck, found, size = build_head("mlp", 9, 3)
    assert neck == [] and size == 9 and list(found.state_dict()) == list(head)
    assert all(torch.equal(value, head[key]) for key, value in found.state_dict().items())
    assert HEAD_LAYERS.keys() == HEADS.keys()
