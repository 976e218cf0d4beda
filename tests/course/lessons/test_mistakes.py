"""The wrong ways against plain loops and the sound metrics: each must be wrong in its own way and in no other."""

import numpy as np
import pytest
import torch
from PIL import Image

from landmark.course.lessons import mistakes
from landmark.evaluation.metrics import global_average_precision
from landmark.models.layers import CompactBilinearPooling
from landmark.models.net import create_model
from landmark.utils.errors import InputError

RANDOM = np.random.default_rng(0)
SCORE = RANDOM.random(41)
CORRECT = RANDOM.random(41) < 0.4
SHOWS = CORRECT | (RANDOM.random(41) < 0.5)
IDS = [f"{i:02}" for i in range(41)]
SOLUTION = {i: [1] if shows else [] for i, shows in zip(IDS, SHOWS, strict=True)}
PREDICTIONS = {i: (1 if right else 2, s) for i, right, s in zip(IDS, CORRECT, SCORE, strict=True)}


def test_the_sound_part_is_the_metric():
    """Fails when a tie, an image without an answer or the order of the rows counts otherwise than in GAP."""
    assert mistakes.precision_sum(SCORE, CORRECT) / SHOWS.sum() == pytest.approx(
        global_average_precision(PREDICTIONS, SOLUTION)
    )
    silent = np.where(np.arange(41) % 3 == 0, np.nan, SCORE.round(1))
    some = {i: (PREDICTIONS[i][0], s) for i, s in zip(IDS, silent, strict=True) if s == s}
    right = CORRECT & ~np.isnan(silent)
    assert mistakes.precision_sum(silent, right) / SHOWS.sum() == pytest.approx(
        global_average_precision(some, SOLUTION)
    )


def test_batches_are_scored_one_by_one():
    """Fails when a batch without a landmark counts as 0, the last one is lost, or a tie is not broken by the id."""
    order = np.random.default_rng(3).permutation(41)
    tied = {i: (right, round(s, 1)) for i, (right, s) in PREDICTIONS.items()}
    for batch in (2, 4):
        parts = [[IDS[k] for k in order[start : start + batch]] for start in range(0, 41, batch)]
        parts = [part for part in parts if any(SOLUTION[i] for i in part)]
        for answers in (PREDICTIONS, tied):
            wanted = [global_average_precision({i: answers[i] for i in part}, {i: SOLUTION[i] for i in part})
                      for part in parts]  # fmt: skip
            assert mistakes.batched_gap(answers, SOLUTION, batch, seed=3) == pytest.approx(wanted)
        one = mistakes.mean_batch_gap(SCORE[order], CORRECT[order], SHOWS[order], batch)
        assert one == pytest.approx(mistakes.batched_gap(PREDICTIONS, SOLUTION, batch, seed=3).mean())
    assert len(mistakes.batched_gap(PREDICTIONS, SOLUTION, 2, seed=3)) < 21, "a batch shows no landmark"
    whole = global_average_precision(PREDICTIONS, SOLUTION)
    assert mistakes.batched_gap(PREDICTIONS, SOLUTION, 41) == pytest.approx([whole])
    assert mistakes.gap_by_rows(SCORE, CORRECT) == pytest.approx(whole * SHOWS.sum() / 41)
    with pytest.raises(InputError, match="at least one image"):
        mistakes.batched_gap(PREDICTIONS, SOLUTION, 0)


def test_known_images_join_the_train_images():
    """Fails when an unknown landmark or a distractor is trained on, or features and classes part."""
    x, y = torch.arange(3.0)[:, None], torch.tensor([4, 5, 6])
    features, classes = mistakes.train_on_asked(x, y, x + 10, torch.tensor([7, -1, 8]))
    assert features.flatten().tolist() == [0, 1, 2, 10, 12] and classes.tolist() == [4, 5, 6, 7, 8]
    assert mistakes.only_known(np.array([1, 0, 2, 0])).tolist() == [1, 3]


def test_the_neighbour_is_the_next_that_can_be_read():
    """Fails when the one before is taken, or an unreadable neighbour's row."""
    gone = RANDOM.random(41) < 0.6
    gone[-1] = True
    wanted = []
    for place in range(41):
        while gone[place % 41]:
            place += 1
        wanted.append(SCORE[place % 41])
    assert mistakes.neighbours_instead(SCORE, gone).tolist() == wanted
    with pytest.raises(InputError, match="no image can be read"):
        mistakes.neighbours_instead(SCORE, np.ones(41, bool))


def test_lost_activations_let_numbers_below_zero_through():
    """Fails when the network itself is damaged, another activation is lost, or a backbone without them is accepted."""
    sound = create_model("xception", 0).eval()
    damaged, x = mistakes.without_relus(sound), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert sound.forward_features(x).min() >= 0 > damaged.forward_features(x).min()
    kinds = [type(getattr(damaged.backbone, f"act{n}")).__name__ for n in range(1, 5)]
    assert kinds == ["ReLU", "Identity", "Identity", "Identity"]
    with pytest.raises(InputError, match="no activation act2"):
        mistakes.without_relus(create_model("resnet50", 0))


def test_input_is_that_of_imagenet():
    """Fails when the network's own mean and deviation are used, or channels change places."""
    grey = mistakes.imagenet_input(16)(Image.new("RGB", (20, 30), (51, 102, 204)))
    wanted = [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.8 - 0.406) / 0.225]
    assert grey.mean((1, 2)).tolist() == pytest.approx(wanted, abs=1e-5)


def test_the_sketch_of_a_pooled_vector_is_that_of_its_outer_product():
    """Fails when a root or a norm is taken after all, or the hashes are not the layer's."""
    x, layer = torch.randn(3, 6), CompactBilinearPooling(6, 16, seed=5)
    wanted = torch.zeros(3, 16)
    for i in range(6):
        for j in range(6):
            wanted[:, int(layer.h1[i] + layer.h2[j]) % 16] += layer.s1[i] * layer.s2[j] * x[:, i] * x[:, j]
    assert torch.allclose(mistakes.sketch_of_pooled(x, 16, seed=5), wanted, atol=1e-5)


def test_attention_weighs_places_of_the_vector():
    """Fails when maps and places change roles, or the weights of another image are used."""
    x = RANDOM.normal(size=(2, 12))
    wanted = np.zeros((2, 12))
    for row in range(2):
        sums = [sum(x[row, m * 4 + p] for m in range(3)) for p in range(4)]
        weights = np.exp(sums) / np.exp(sums).sum()
        for m in range(3):
            for p in range(4):
                wanted[row, m * 4 + p] = x[row, m * 4 + p] * weights[p]
    assert mistakes.attention_on_vector(torch.from_numpy(x), side=2).numpy() == pytest.approx(wanted)
    with pytest.raises(InputError, match="10 numbers do not divide"):
        mistakes.attention_on_vector(torch.zeros(1, 10))


def test_many_answers_all_take_ranks():
    """Fails when an image's further answers are dropped, take no rank, or an unread image answers."""
    scores, truth = RANDOM.random((9, 5)), np.array([0, 1, 2, 3, 4, -1, -2, -2, 0])
    scores[8], shows = np.nan, truth > -2
    rows = sorted(((scores[i, k], k == truth[i]) for i in range(8) for k in np.argsort(-scores[i])[:3]), reverse=True)
    hits, total = 0, 0.0
    for rank, (_, right) in enumerate(rows, 1):
        hits += right
        total += right * hits / rank
    assert mistakes.gap_of_many(scores, truth, shows, 3) == pytest.approx(total / 7)
    best = scores[:8].argmax(1) == truth[:8]
    assert mistakes.gap_of_many(scores, truth, shows, 1) == pytest.approx(
        mistakes.precision_sum(scores[:8].max(1), best) / 7
    )
