"""Find photographs that are alike, by their perceptual hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from landmark.data.archives import ImageStore
from landmark.utils.errors import ImageError
from landmark.utils.files import CacheFile
from landmark.utils.process import usable_cpus

_AT_ONCE = 1 << 22  # pairs that are compared at a time
_FILES = 32  # that a thread reads at a time
_WAVES = np.cos(np.pi / 32 * np.outer(np.arange(9), np.arange(32) + 0.5))  # (9, 32), the slowest of a DCT


def perceptual_hash(image: Image.Image) -> int:
    """64 bits: signs of the slowest waves of the 32×32 grey thumbnail, its mean left out.

    X[u, v] = Σ_ij g[i, j] cos(π u (i + ½) / 32) cos(π v (j + ½) / 32)

    Survives saving at another quality, and small changes of size.

    >>> perceptual_hash(Image.new("RGB", (40, 30), "red"))
    0
    """
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.HAMMING), float)
    waves = (_WAVES @ grey @ _WAVES.T).flatten()[1:65]
    return int.from_bytes(np.packbits(waves > 1e-6).tobytes(), "big")  # a flat picture has waves of rounding errors


def near_pairs(hashes: np.ndarray, distance: int = 2) -> np.ndarray:
    """Find pairs of positions whose hashes differ in at most `distance` bits: one of `distance` + 1 bands is equal.

    Args:
        hashes: (N,) uint64.
        distance: bits.

    Returns:
        (M, 2) positions, the smaller first, sorted. One image is compared with no more than 200 that share a band
        with it: a flat sky shares one with many, and other bands remain.

    >>> near_pairs(np.array([0b0001, 0b111100, 0b0011], np.uint64)).tolist()
    [[0, 2]]
    """
    pairs = [np.zeros((0, 2), np.int64)]
    for part in _bands(hashes, distance):
        order = np.argsort(part, kind="stable")
        first = np.arange(len(order))
        for step in range(1, 201):  # those that share a band stand side by side
            first = first[first + step < len(order)]
            first = first[part[order[first]] == part[order[first + step]]]
            if not len(first):
                break
            pair = np.column_stack([order[first], order[first + step]])
            pairs.append(pair[np.bitwise_count(hashes[pair[:, 0]] ^ hashes[pair[:, 1]]) <= distance])
    return np.unique(np.concatenate(pairs), axis=0)


def _bands(hashes: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Cut hashes (N,) into `distance` + 1 bands of bits: two that differ in no more bits have one in common."""
    width = min(64 // (distance + 1) + 1, 64)
    for band in range(distance + 1):
        yield hashes >> np.uint64(band * width) & np.uint64((1 << width) - 1)


def duplicate_groups(records: np.ndarray, distance: int = 4) -> tuple[list[list[int]], list[list[int]]]:
    """Group images that are the same byte for byte, and those that look the same.

    Two look the same when their perceptual hashes differ in at most `distance` bits and their mean grey levels by at
    most twelve in each of 16 tiles. Pictures of one colour are left out there.

    Args:
        records: (N,) RECORD of `inspection`.
        distance: bits.

    Returns:
        Groups of positions, exact and near; in each the one to keep comes first: most pixels, then most bytes.
    """
    readable = np.flatnonzero(records["readable"])
    digest = records["digest"][readable]
    order = np.argsort(digest, kind="stable")
    same = np.flatnonzero(digest[order[1:]] == digest[order[:-1]])
    exact = np.column_stack([readable[order[same]], readable[order[same + 1]]])
    pictures = np.flatnonzero(records["readable"] & ~records["constant"])
    pairs = pictures[near_pairs(records["hash"][pictures], distance)]
    return _groups(exact, records), _groups(pairs[_alike(records, records, pairs)], records)


def _alike(first: np.ndarray, second: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Tell of pairs (M, 2) with near hashes which ones have the same grey tiles and are not the same file."""
    a, b = pairs.T
    apart = np.abs(first["tiles"][a].astype(np.int16) - second["tiles"][b]).max(1, initial=0)
    return (apart <= 12) & (first["digest"][a] != second["digest"][b])


def pairs_between(first: np.ndarray, second: np.ndarray, distance: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Find every pair of images, one of each set, that `duplicate_groups` would call duplicates; none is left out.

    Args:
        first: (N,) RECORD, such as those of the test images.
        second: (M,) RECORD, such as those of the train images.
        distance: bits.

    Returns:
        Pairs (K, 2) of positions in `first` and `second`, sorted: the same byte for byte, and those that look the same.
    """
    places = [np.flatnonzero(side["readable"]) for side in (first, second)]
    exact = [np.column_stack([places[0][a], places[1][b]])
             for a, b in _equal(first["digest"][places[0]], second["digest"][places[1]])]  # fmt: skip
    places = [np.flatnonzero(side["readable"] & ~side["constant"]) for side in (first, second)]
    hashes, near = [first["hash"][places[0]], second["hash"][places[1]]], []
    for bands in zip(*(_bands(side, distance) for side in hashes), strict=True):
        for a, b in _equal(*bands):
            close = np.bitwise_count(hashes[0][a] ^ hashes[1][b]) <= distance
            pairs = np.column_stack([places[0][a[close]], places[1][b[close]]])
            near.append(pairs[_alike(first, second, pairs)])
    none = np.zeros((0, 2), np.int64)
    return np.unique(np.concatenate([none, *exact]), axis=0), np.unique(np.concatenate([none, *near]), axis=0)


def _equal(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give the positions of all pairs of equal numbers of two columns, about `_AT_ONCE` pairs at a time."""
    order = np.argsort(second, kind="stable")
    start = np.searchsorted(second, first, "left", sorter=order)
    count = np.searchsorted(second, first, "right", sorter=order) - start
    before = np.concatenate([[0], np.cumsum(count)])  # pairs of the positions before each
    place = 0
    while place < len(first):
        stop = max(place + 1, int(np.searchsorted(before, before[place] + _AT_ONCE, "right")) - 1)
        part = count[place:stop]
        step = np.arange(before[stop] - before[place]) - np.repeat(before[place:stop] - before[place], part)
        yield np.repeat(np.arange(place, stop), part), order[np.repeat(start[place:stop], part) + step]
        place = stop


def identical_files(first: ImageStore, second: ImageStore) -> list[tuple[str, str]]:
    """Find every pair of image files, one of each split, that are the same byte for byte.

    Only files of a size that both splits have are read. The pairs are kept beside the data until a file changes.

    Args:
        first: such as the test images; their digests are held in memory.
        second: such as the train images.

    Returns:
        Pairs of image ids, sorted. Empty files and those that cannot be read are in none.
    """
    orders = [store.reading_order() for store in (first, second)]
    sizes = [store.sizes(order) for store, order in zip((first, second), orders, strict=True)]
    common = np.intersect1d(sizes[0], sizes[1])
    ids = [order[np.isin(size, common[common > 0])] for order, size in zip(orders, sizes, strict=True)]
    marks = [store.fingerprint(part.astype(str).tolist()) for store, part in zip((first, second), ids, strict=True)]
    saved = CacheFile(first.root, f"identical/{first.split}-{second.split}.json")
    if (pairs := saved.load(lambda path: _load_pairs(path, marks))) is not None:
        return pairs
    copies: dict[bytes, list[str]] = {}
    for image_id, digest in _digests(first, ids[0]):
        copies.setdefault(digest, []).append(image_id)
    pairs = sorted((copy, image_id) for image_id, digest in _digests(second, ids[1]) for copy in copies.get(digest, ()))
    saved.save(lambda part: part.write_text(json.dumps({"files": marks, "pairs": pairs})))
    return pairs


def _digests(store: ImageStore, ids: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Read files and give the digest of each; threads suffice, as reading and hashing let go of the interpreter."""

    def look(start: int) -> list[tuple[str, bytes]]:
        digests = []
        for image_id in ids[start : start + _FILES].astype(str).tolist():
            try:
                digests.append((image_id, hashlib.blake2b(store.read(image_id), digest_size=16).digest()))
            except ImageError:
                continue
        return digests

    with ThreadPoolExecutor(min(32, usable_cpus() + 4)) as pool:
        bar = tqdm(total=len(ids), desc=f"compare {store.split}", unit="img", delay=1)
        for start, digests in enumerate(pool.map(look, range(0, len(ids), _FILES))):
            bar.update(min(_FILES, len(ids) - start * _FILES))
            yield from digests
        bar.close()


def _load_pairs(path: Path, marks: list[str]) -> list[tuple[str, str]] | None:
    """Read what `identical_files` saved; None when files have changed since, or it is damaged."""
    try:
        content = json.loads(path.read_text())
        return [(str(a), str(b)) for a, b in content["pairs"]] if content["files"] == marks else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def torn_at_random(pairs: int, images: int, held_out: int) -> float:
    """Compute how many pairs a plain random split is expected to tear apart: one on each side.

    pairs · 2 h (n − h) / (n (n − 1)) for h of n images, all choices alike.

    Args:
        pairs: of images that belong together.
        images: n.
        held_out: h, such as the size of a dev set.

    >>> torn_at_random(3, images=4, held_out=2)
    2.0
    """
    return pairs * 2 * held_out * (images - held_out) / max(images * (images - 1), 1)


def connected(pairs: np.ndarray, count: int) -> np.ndarray:
    """Number the groups that pairs hold together: positions have the same number when a chain of pairs leads across.

    Args:
        pairs: (M, 2) positions.
        count: N, how many positions there are.

    Returns:
        (N,) whole numbers; a position in no pair is alone in its group.

    >>> connected(np.array([[0, 2], [2, 3]]), 5).tolist()
    [0, 1, 0, 0, 2]
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    edges = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    return connected_components(edges, directed=False)[1]


def _groups(pairs: np.ndarray, records: np.ndarray) -> list[list[int]]:
    """List the groups of positions that pairs hold together, the best picture of each first."""
    places = np.unique(pairs)
    pixels = records["width"][places].astype(np.int64) * records["height"][places]
    best = np.lexsort((places, -records["size"][places].astype(np.int64), -pixels))  # most pixels, then most bytes
    number = connected(np.searchsorted(places, pairs), len(places))
    groups: dict[int, list[int]] = {}
    for place in range(len(places)):  # groups in the order of their first position
        groups.setdefault(int(number[place]), [])
    for place in best:
        groups[int(number[place])].append(int(places[place]))
    return list(groups.values())
