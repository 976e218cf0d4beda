"""Find photographs that are alike, by their perceptual hashes."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
    """Pairs of positions whose hashes differ in at most `distance` bits: equal in at least one of `distance` + 1 bands.

    Args:
        hashes: (N,) uint64.
        distance: bits.

    Returns:
        (M, 2) positions, the smaller first, sorted. One image is compared with no more than 200 that share a band
        with it: a flat sky shares one with many, and other bands remain.

    >>> near_pairs(np.array([0b0001, 0b111100, 0b0011], np.uint64)).tolist()
    [[0, 2]]
    """
    bands = distance + 1
    width = min(64 // bands + 1, 64)
    found = [np.zeros((0, 2), np.int64)]
    for band in range(bands):
        part = hashes >> np.uint64(band * width) & np.uint64((1 << width) - 1)
        order = np.argsort(part, kind="stable")
        first = np.arange(len(order))
        for step in range(1, 201):  # those that share a band stand side by side
            first = first[first + step < len(order)]
            first = first[part[order[first]] == part[order[first + step]]]
            if not len(first):
                break
            pair = np.column_stack([order[first], order[first + step]])
            found.append(pair[np.bitwise_count(hashes[pair[:, 0]] ^ hashes[pair[:, 1]]) <= distance])
    return np.unique(np.concatenate(found), axis=0)


def duplicate_groups(facts: np.ndarray, distance: int = 4) -> tuple[list[list[int]], list[list[int]]]:
    """Images that are the same byte for byte, and those that look the same.

    Alike are two whose perceptual hashes differ in at most `distance` bits and whose mean grey levels differ by at most
    twelve in each of 16 tiles. Pictures of one colour are left out there.

    Args:
        facts: (N,) FACTS.
        distance: bits.

    Returns:
        Groups of positions, exact and near; in each the one to keep comes first: most pixels, then most bytes.
    """
    readable = np.flatnonzero(facts["readable"])
    digest = facts["digest"][readable]
    order = np.argsort(digest, kind="stable")
    same = np.flatnonzero(digest[order[1:]] == digest[order[:-1]])
    exact = np.column_stack([readable[order[same]], readable[order[same + 1]]])
    alive = np.flatnonzero(facts["readable"] & ~facts["constant"])
    pairs = alive[near_pairs(facts["hash"][alive], distance)]
    tiles = facts["tiles"].astype(np.int16)
    close = np.abs(tiles[pairs[:, 0]] - tiles[pairs[:, 1]]).max(1, initial=0) <= 12
    other = facts["digest"][pairs[:, 0]] != facts["digest"][pairs[:, 1]]
    return _groups(exact, facts), _groups(pairs[close & other], facts)


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


def _groups(pairs: np.ndarray, facts: np.ndarray) -> list[list[int]]:
    """Sets of positions that the pairs hold together, the best picture of each first."""
    places = np.unique(pairs)
    pixels = facts["width"][places].astype(np.int64) * facts["height"][places]
    best = np.lexsort((places, -facts["size"][places].astype(np.int64), -pixels))  # most pixels, then most bytes
    number = connected(np.searchsorted(places, pairs), len(places))
    groups: dict[int, list[int]] = {}
    for place in range(len(places)):  # groups in the order of their first position
        groups.setdefault(int(number[place]), [])
    for place in best:
        groups[int(number[place])].append(int(places[place]))
    return list(groups.values())
