"""The order of training: a permutation, pure, few TARs at a time; the same for any number of workers."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from landmark.data.dataset import LandmarkDataset, train_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.loader import EpochSampler, check_coverage, make_loader, mixing, shuffled
from landmark.utils.errors import InputError

HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def test_batches_do_not_depend_on_workers(folder):
    """Fails when augmentation uses a worker's own random numbers, or skipping batches changes the rest."""
    data = GoogleLandmarks(folder)
    dataset = LandmarkDataset(data.train, folder, "train", LabelMap(range(3)), *train_transform(32, **HALF), seed=4)
    passes = [list(make_loader(dataset, 5, shuffle=True, workers=w, seed=4, epochs=range(2))) for w in (0, 2)]
    for a, b in zip(*passes, strict=True):
        assert a.ids == b.ids and torch.equal(a.images, b.images)
    skipped = list(make_loader(dataset, 5, shuffle=True, seed=4, epochs=range(2), skip=2))
    assert torch.equal(skipped[0].images, passes[0][2].images)
    epochs = [[b.ids for b in passes[0][:3]], [b.ids for b in passes[0][3:]]]
    assert epochs[0] != epochs[1] and sorted(sum(epochs[0], [])) == sorted(sum(epochs[1], []))


def test_workers_below_none_are_refused(folder):
    """Fails when a number of processes that cannot be meant ends in another library's words."""
    dataset = LandmarkDataset(pd.DataFrame({"id": ["0" * 16]}), folder)
    with pytest.raises(InputError, match="-1 workers: give 0 or more"):
        make_loader(dataset, 2, workers=-1)


def test_coverage_says_where_the_images_are(folder):
    """Fails when a whole split without images trains on what is left."""
    table = GoogleLandmarks(folder).train
    check_coverage(table, folder, "train", 1)
    with pytest.raises(InputError, match="1 of 12"):
        check_coverage(table, folder, "train", 0)
    with pytest.raises(InputError, match="mixed up"):
        check_coverage(table, folder, "test", 3)


@settings(max_examples=80, deadline=None)
@given(
    shards=st.lists(st.integers(-1, 6), min_size=1, max_size=80).map(np.array),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
    window=st.integers(1, 9),
)
def test_a_pure_permutation(shards, seed, epoch, window):
    """Fails when an image is lost or repeated, or the order depends on anything but the arguments."""
    order = shuffled(shards, seed, epoch, window)
    assert sorted(order.tolist()) == list(range(len(shards)))
    np.random.default_rng(1).random(9)
    np.random.seed(3)
    assert (shuffled(shards, seed, epoch, window) == order).all()
    assert all(value >= 0 for value in mixing(order, shards, 4).values())


def test_epochs_and_seeds_differ():
    """Fails when every epoch, or every seed, sees the same order."""
    shards = np.repeat(np.arange(20), 10)
    orders = {shuffled(shards, seed, epoch).tobytes() for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_a_window_of_shards_is_in_play():
    """Fails when an epoch begins or ends within one shard, or many more TARs than the window are read at a time."""
    shards = np.repeat(np.arange(100), 200)
    order = shuffled(shards, seed=0, epoch=0, window=8)
    in_play = [len(np.unique(shards[order[i : i + 200]])) for i in range(0, len(order), 200)]
    assert min(in_play) >= 7 and max(in_play) <= 10
    rounds = np.diff(np.flatnonzero(np.bincount(shards[order[:4000]], minlength=100)))
    assert (rounds > 1).any(), "shards come in a random order, not by number"


@pytest.mark.parametrize("count", [1, 4])
def test_few_shards_give_every_order_the_same_chance(count):
    """Fails when an image's chance of a place is uneven although all shards fit into the window."""
    shards = np.arange(6) % count
    places = np.zeros((6, 6))
    for epoch in range(3000):
        places[np.arange(6), shuffled(shards, 0, epoch)] += 1
    assert np.abs(places / 500 - 1).max() < 0.2  # four standard deviations


def test_mixing_of_known_orders():
    """Fails when a uniform order does not measure as 1, or a sorted one as the least mixed there is."""
    shards = np.repeat(np.arange(50), 200)
    uniform = mixing(np.random.default_rng(0).permutation(10_000), shards, 50)
    assert all(abs(value - 1) < 0.05 for value in uniform.values()), uniform
    ordered = mixing(np.arange(10_000), shards, 50)
    expected = 50 * (1 - np.prod([(9800 - i) / (10_000 - i) for i in range(50)]))  # distinct shards in a uniform batch
    assert ordered["distinct"] == pytest.approx(1 / expected)
    assert ordered["together"] == pytest.approx(9999 / 199) and ordered["spread"] == pytest.approx(0.02, rel=0.01)
    windows = [mixing(shuffled(shards, 0, 0, window), shards, 50) for window in (1, 4, 16, 50)]
    for name in ("distinct", "spread"):
        assert sorted(values := [w[name] for w in windows]) == values and values[-1] == pytest.approx(1, abs=0.05)
    assert windows[1]["spread"] == pytest.approx(4 / 50, rel=0.1)


def plain_batches(count, batch_size, shuffle, seed, epochs, skip):
    """The plain form: every list of every epoch at once."""
    found = []
    for epoch in epochs:
        order = np.random.default_rng((seed, epoch)).permutation(count) if shuffle else np.arange(count)
        batches = [order[i : i + batch_size].tolist() for i in range(0, count, batch_size)]
        if shuffle and len(batches) > 1 and len(batches[-1]) == 1:
            single = batches.pop()
            batches[-1] += single
        found += [[(epoch, index) for index in batch] for batch in batches]
    return found[skip:]


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 30),
    batch_size=st.integers(1, 8),
    shuffle=st.booleans(),
    first=st.integers(0, 3),
    epochs=st.integers(0, 3),
    skip=st.integers(0, 40),
    in_shards=st.booleans(),
)
def test_sampler_equals_its_plain_form(count, batch_size, shuffle, first, epochs, skip, in_shards):
    """Fails when a batch, its epoch, the number of batches or what is skipped differs from the plain form."""
    arguments = (count, batch_size, shuffle, 7, range(first, first + epochs), skip)
    sampler = EpochSampler(*arguments, shards=np.zeros(count, int) if in_shards else None)
    expected = plain_batches(*arguments)
    assert list(sampler) == expected and len(sampler) == len(expected)
    assert list(sampler) == expected, "a second pass"


def test_sampler_keeps_to_the_shards():
    """Fails when the sampler shuffles over all shards although it was told where the images lie."""
    shards = np.repeat(np.arange(100), 20)
    sampler = EpochSampler(2000, 20, True, 3, range(2), shards=shards)
    batches = list(sampler)
    assert [index for batch in batches for _, index in batch] == [
        index for epoch in range(2) for index in shuffled(shards, 3, epoch).tolist()
    ]
    assert list(EpochSampler(2000, 20, True, 3, range(2), 137, shards)) == batches[137:]


def test_millions_of_rows_stay_an_array():
    """Fails when the sampler makes lists of epochs that nobody has asked for yet."""
    sampler = EpochSampler(4_132_914, 100, False, 0, range(10**6))
    assert len(sampler) == 41_330 * 10**6
    assert next(iter(sampler)) == [(0, index) for index in range(100)]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_same_order_for_any_number_of_workers(workers):
    """Fails when workers change what comes or when."""
    sampler = EpochSampler(61, 5, True, 1, range(2), shards=np.arange(61) // 7)
    loader = DataLoader(Echo(), batch_sampler=sampler, collate_fn=list, num_workers=workers)
    assert list(loader) == list(sampler)


class Echo:
    """A dataset whose items are their keys."""

    def __getitem__(self, key):
        return key
