"""Photographs that are alike, and some that only look it."""

import itertools
import tarfile

import numpy as np
import pytest

from landmark.data.archives import ImageStore
from landmark.data.images import image_path
from landmark.prepare import duplicates
from landmark.prepare.duplicates import connected, duplicate_groups, identical_files, pairs_between, torn_at_random
from landmark.prepare.inspection import RECORD


def test_likeness_of_shape_alone_is_no_duplicate():
    """Fails when a hash that two pictures share by chance is enough."""
    records = np.zeros(2, RECORD)
    records["readable"], records["hash"], records["digest"] = True, 5, [1, 2]
    records["tiles"][1, 3] = 30
    assert duplicate_groups(records) == ([], [])
    records["tiles"][1, 3] = 3
    assert duplicate_groups(records)[1] == [[0, 1]]


def test_groups_are_those_of_a_plain_search():
    """Fails when a chain of pairs is cut, two groups run together, or a lone image joins one."""
    random = np.random.default_rng(0)
    for count in (1, 5, 40):
        pairs = random.integers(0, count, (count // 2, 2))
        number = connected(pairs, count)
        for start in range(count):
            reached = {start}
            for _ in range(count):
                reached |= {x for pair in pairs.tolist() if reached & set(pair) for x in pair}
            assert reached == set(np.flatnonzero(number == number[start]))


def test_the_best_copy_comes_first():
    """Fails when a group does not begin with most pixels, then most bytes, then the first place, or groups change order."""
    records = np.zeros(7, RECORD)
    records["readable"], records["digest"] = True, [9, 1, 1, 2, 1, 2, 1]
    records["width"], records["height"] = 10, [1, 2, 3, 1, 3, 1, 3]
    records["size"] = [5, 5, 5, 5, 6, 5, 5]
    records["constant"] = True
    assert duplicate_groups(records) == ([[4, 2, 6, 1], [3, 5]], [])


def made_up(count, seed):
    """Records of images that often share a hash, grey tiles or all their bytes."""
    random, records = np.random.default_rng(seed), np.zeros(count, RECORD)
    base = np.random.default_rng(9).integers(0, 2**63, 6).astype(np.uint64)
    records["hash"] = base[random.integers(0, 6, count)]
    for _ in range(2):
        records["hash"] ^= np.uint64(1) << random.integers(0, 64, count).astype(np.uint64)
    records["digest"] = random.integers(0, 40, count)
    records["tiles"] = random.choice([100, 108, 115], (count, 1))
    records["readable"], records["constant"] = random.random(count) < 0.9, random.random(count) < 0.1
    return records


@pytest.mark.parametrize("at_once", [1, 7, 1 << 22])
def test_pairs_between_two_sets_are_those_of_a_plain_loop(monkeypatch, at_once):
    """Fails when a pair across is missed, comes twice, or is called near and is the very same file."""
    monkeypatch.setattr(duplicates, "_AT_ONCE", at_once)
    first, second = made_up(70, 0), made_up(90, 1)
    exact, near = [], []
    for i, j in itertools.product(range(70), range(90)):
        a, b = first[i], second[j]
        if a["readable"] and b["readable"]:
            bits = (int(a["hash"]) ^ int(b["hash"])).bit_count()
            levels = max(abs(int(x) - int(y)) for x, y in zip(a["tiles"], b["tiles"], strict=True))
            if a["digest"] == b["digest"]:
                exact.append([i, j])
            elif not a["constant"] and not b["constant"] and bits <= 4 and levels <= 12:
                near.append([i, j])
    assert len(exact) > 20 and len(near) > 20
    assert [pairs.tolist() for pairs in pairs_between(first, second)] == [exact, near]


def test_no_pair_is_lost_in_a_crowd():
    """Fails when hundreds of other images with the same hash stand between two that are alike."""
    first, second = np.zeros(1, RECORD), np.zeros(600, RECORD)
    for side in (first, second):
        side["readable"], side["hash"], side["digest"] = True, 5, np.arange(len(side)) + len(side)
    second["tiles"][1:] = 200
    assert [pairs.tolist() for pairs in pairs_between(first, second)] == [[], [[0, 0]]]
    assert [pairs.shape for pairs in pairs_between(first[:0], second)] == [(0, 2), (0, 2)]


def test_pairs_that_a_random_split_tears_apart():
    """Fails when the expectation is not the mean over all ways to hold images out."""
    pairs = [(0, 1), (0, 2), (4, 5)]
    for held_out in range(8):
        torn = [sum((a in dev) != (b in dev) for a, b in pairs) for dev in itertools.combinations(range(7), held_out)]
        assert torn_at_random(3, 7, held_out) == pytest.approx(np.mean(torn))
    assert torn_at_random(0, 0, 0) == torn_at_random(0, 1, 0) == 0


def put(root, split, image_id, content):
    path = image_path(root, split, image_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def identical(root):
    return identical_files(ImageStore(root, "test"), ImageStore(root, "train"))


@pytest.mark.parametrize("packed", [False, True])
def test_identical_files_are_those_of_a_plain_loop(tmp_path, monkeypatch, packed):
    """Fails when a pair is missed, files of one size are taken for one, or what was kept outlives a change."""
    random, content = np.random.default_rng(0), {}
    monkeypatch.setattr(duplicates, "_FILES", 3)
    for split, count in (("test", 12), ("train", 30)):
        for i in range(count):
            content[split, f"{split[1]}{i:04}"] = random.choice([b"", b"ab", b"ba", b"c", b"dd", b"eee"])
            put(tmp_path, split, f"{split[1]}{i:04}", content[split, f"{split[1]}{i:04}"])
    if packed:
        with tarfile.open(tmp_path / "train" / "images_000.tar", "w") as tar:
            for path in sorted((tmp_path / "train").rglob("*.jpg")):
                tar.add(path, path.relative_to(tmp_path / "train"))
                path.unlink()

    def loop():
        return [(a, b) for (one, a), (other, b) in itertools.product(sorted(content), repeat=2)
                if (one, other) == ("test", "train") and content[one, a] == content[other, b] != b""]  # fmt: skip

    assert identical(tmp_path) == loop() != []
    (saved,) = (tmp_path / ".landmark" / "identical").iterdir()
    monkeypatch.setattr(ImageStore, "read", None)
    assert identical(tmp_path) == loop(), "nothing is read again"
    monkeypatch.undo()
    content["test", "e0003"] = b"dd" if content["test", "e0003"] != b"dd" else b"ab"
    put(tmp_path, "test", "e0003", content["test", "e0003"])
    assert identical(tmp_path) == loop()
    saved.write_text("[1")
    assert identical(tmp_path) == loop()


def test_identical_files_where_there_are_none(tmp_path):
    """Fails when a folder without images, or without one of the splits, is an error."""
    assert identical(tmp_path) == []
    put(tmp_path, "test", "aaa0", b"ab")
    assert identical(tmp_path) == []
