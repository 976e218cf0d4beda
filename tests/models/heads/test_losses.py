"""Oracles: plain loops over rows and classes, a rank of two for one."""

import math
from itertools import pairwise

import pytest
import torch

from landmark.models.heads.classifier import SCALE, CosineClassifier
from landmark.models.heads.losses import (
    ANGLE,
    COSINE,
    NONE,
    NOTHING,
    arcface,
    binary_cross_entropy,
    class_margins,
    cosface,
    create_loss,
    cross_entropy,
    rank_weights,
    uniform_for_none,
)
from landmark.models.recipes import BINARY, FOR_NONE, LOSSES
from landmark.utils import distributed
from landmark.utils.errors import InputError

SIZES = [3, 40, 1, 7]
TARGETS = [2, 0, NOTHING, 3, 0]
smoothed = pytest.mark.parametrize("smoothing", [0.0, 0.1])


def _logits(scale=1.0, seed=0):
    return scale * (2 * torch.rand(5, 4, generator=torch.Generator().manual_seed(seed)) - 1)


def _row(logits, target, smoothing=0.0):
    """Cross-entropy of one row; target None is every class alike."""
    total, count = math.log(sum(map(math.exp, logits))), len(logits)
    wanted = [
        1 / count if target is None else (1 - smoothing) * (k == target) + smoothing / count for k in range(count)
    ]
    return sum(w * (total - x) for w, x in zip(wanted, logits, strict=True))


def _sum(logits, targets, smoothing=0.0):
    rows = zip(logits.double().tolist(), targets, strict=True)
    return sum(_row(row, None if t == NONE else t, smoothing * (t != NONE)) for row, t in rows if t != NOTHING)


@smoothed
def test_cross_entropy_is_the_plain_loop(smoothing):
    """Fails when it is the mean, or a masked row counts, or the smoothing leaves out the right class."""
    found = cross_entropy(_logits(5), torch.tensor(TARGETS), smoothing)
    assert found.item() == pytest.approx(_sum(_logits(5), TARGETS, smoothing), rel=1e-5)


@smoothed
def test_uniform_targets_are_the_plain_loop(smoothing):
    """Fails when an image without a landmark is smoothed twice, counts K times, or takes a class from the end."""
    targets = [NONE, 0, NOTHING, 3, NONE]
    found = uniform_for_none(_logits(5), torch.tensor(targets), smoothing)
    assert found.item() == pytest.approx(_sum(_logits(5), targets, smoothing), rel=1e-5)


@pytest.mark.parametrize("ranked", [False, True])
def test_binary_cross_entropy_is_the_plain_loop(ranked):
    """Fails when an image without a landmark wants a class, ranks run the wrong way or count what is masked."""
    logits, targets = _logits(5), [NONE, 0, NOTHING, 3, NONE]
    rows = [(row, t) for row, t in zip(logits.double().tolist(), targets, strict=True) if t != NOTHING]
    expected = 0.0
    order = sorted(range(len(rows)), key=lambda i: -max(rows[i][0]))  # the most confident first
    for i, (row, target) in enumerate(rows):
        losses = [math.log1p(math.exp(-x if k == target else x)) for k, x in enumerate(row)]
        share = (len(rows) - order.index(i)) / len(rows)
        expected += sum(losses) + ranked * share * losses[row.index(max(row))]
    found = binary_cross_entropy(logits, torch.tensor(targets), ranked)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_ranks_are_those_of_all_processes(monkeypatch):
    """Fails when two processes weigh an image other than one does, or a process without images divides by nothing."""
    whole = torch.tensor([0.3, 0.9, 0.1, 0.7])
    alone = rank_weights(whole, torch.ones(4, dtype=torch.bool))
    assert alone.tolist() == [0.5, 1.0, 0.25, 0.75]
    monkeypatch.setattr(distributed, "gather", lambda mine: [mine, whole[1::2]])
    mine = rank_weights(torch.cat([whole[::2], torch.tensor([8.0])]), torch.tensor([True, True, False]))
    assert torch.equal(mine[:2], alone[::2])
    monkeypatch.setattr(distributed, "gather", lambda mine: [mine])
    assert rank_weights(whole, torch.zeros(4, dtype=torch.bool)).tolist() == [0, 0, 0, 0]


def _turned(cosine, m):
    return math.cos(math.acos(cosine) + m) if cosine > -math.cos(m) else cosine - m * math.sin(m)


@smoothed
@pytest.mark.parametrize("kind", ["one margin", "by class size", "cosface"])
def test_margins_are_the_plain_loop(kind, smoothing):
    """Fails when the margin is taken from another class, from all, added, or of a class that stands elsewhere."""
    cosines, margins = _logits(seed=1), class_margins(SIZES).tolist() if kind == "by class size" else [ANGLE] * 4
    cosines[0, 2], cosines[1, 0] = -0.99, 0.97  # beyond π with the margin, and nearly right
    changed = cosines.double()
    for row, target in zip(changed, TARGETS, strict=True):
        if target != NOTHING:
            cosine = row[target].item()
            row[target] = cosine - COSINE if kind == "cosface" else _turned(cosine, margins[target])
    logits, targets = SCALE * cosines, torch.tensor(TARGETS)
    if kind == "cosface":
        found = cosface(logits, targets, smoothing=smoothing)
    else:
        found = arcface(logits, targets, torch.tensor(margins), smoothing)
    assert found.item() == pytest.approx(_sum(SCALE * changed, TARGETS, smoothing), rel=1e-4)


def test_the_penalty_falls_with_the_cosine():
    """Fails when a worse angle is punished less, as cos(θ + m) would beyond π."""
    cosines = torch.linspace(-1, 1, 201)
    logits = torch.stack([cosines, torch.zeros(201)], 1)
    losses = [arcface(row[None], torch.tensor([0]), 0.5, scale=1.0).item() for row in logits]
    assert all(a > b for a, b in pairwise(losses))


def test_margins_by_class_size_by_hand():
    """Fails when large classes get the wide margin, or classes of one size divide by nothing."""
    low, high = 81**-0.25, 1.0
    expected = [0.05 + 0.45 * (n**-0.25 - low) / (high - low) for n in (1, 16, 81)]
    assert class_margins([1, 16, 81]).tolist() == pytest.approx(expected)
    assert class_margins([7, 7]).tolist() == pytest.approx([0.275, 0.275])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_at_the_ends(name, dtype):
    """Fails when a right angle of 0 or π has no gradient, a half-precision logit is not widened, or masks leak one."""
    logits = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [0.3, 0.2], [1.0001, -1.0]]) * SCALE
    logits = logits.to(dtype).requires_grad_()
    targets = torch.tensor([0, 0, 1, NOTHING, 0])
    loss = create_loss(name, sizes=[3, 5])(logits, targets)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all() and not logits.grad[3].any()
    assert logits.grad[1, 0] < 0, "the target's logit is to rise where it is wrong"
    nothing = create_loss(name, sizes=[3, 5])(logits, torch.full((5,), NOTHING))
    assert nothing.item() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_teaches_a_head(name):
    """Fails when a loss by name does not make its own targets likelier under autocast, or takes another's margin."""
    torch.manual_seed(0)
    x, targets = torch.eye(4), torch.tensor([0, 1, 2, NONE if name in FOR_NONE else 2])
    head = CosineClassifier(4, 3, 3 if name == "subcenter_arcface" else 1, SCALE)
    adam, loss = torch.optim.Adam(head.parameters(), 0.05), create_loss(name, sizes=[1, 1, 9], smoothing=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        values = []
        for _ in range(60):
            values.append(loss(head(x), targets))
            adam.zero_grad()
            values[-1].backward()
            adam.step()
    assert values[-1] < 0.2 * values[0] and values[0].dtype == torch.float32
    logits = head(x).detach()
    assert logits[:3].argmax(1).tolist() == [0, 1, 2]
    if name in FOR_NONE:
        assert logits[3].max() < 0 if name in BINARY else logits[3].max() - logits[3].min() < 5


def test_an_unknown_loss_is_one_line():
    """Fails when a typo surfaces as a KeyError, or a name of the table has no function."""
    with pytest.raises(InputError, match=r"^no loss 'hinge': choose one of " + ", ".join(LOSSES) + "$"):
        create_loss("hinge")
