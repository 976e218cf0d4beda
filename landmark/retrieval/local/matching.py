"""Which points of two pictures belong together, and which of these lie as one scene would. No torch."""

from __future__ import annotations

import cv2
import numpy as np

from landmark.retrieval.config import GEOMETRIES, SearchConfig
from landmark.utils.errors import InputError

LIKENESS = SearchConfig.likeness  # least cosine of a match
RATIO = 0.8  # of the distances to the nearest and the second nearest point: Lowe's own, section 7.1
CONFIDENCE, TRIALS = 0.999, 1000
_LEAST = {"fundamental": 8, "homography": 5}  # matches that must agree: one more than the model needs


def mutual_pairs(first: np.ndarray, second: np.ndarray, likeness: float = LIKENESS) -> np.ndarray:
    """Pair points that are nearest to each other, by the cosine of their descriptors.

    Args:
        first: (N, D) of length 1.
        second: (M, D) of length 1.
        likeness: least cosine.

    Returns:
        (P, 2) rows of first and second, each at most once; of equal ones the lower row.

    >>> mutual_pairs(np.eye(3), np.eye(3)[[2, 0]]).tolist()
    [[0, 1], [2, 0]]
    """
    if not len(first) or not len(second):
        return np.zeros((0, 2), np.int64)
    cosine = first @ second.T  # (N, M)
    nearest = cosine.argmax(1)
    best = cosine[np.arange(len(first)), nearest]
    mutual = best >= cosine.max(0)[nearest]  # the maxima of columns are found ten times as fast as their places
    rows = np.flatnonzero(mutual & (best > likeness))
    return _each_once(rows, nearest[rows])


def ratio_pairs(first: np.ndarray, second: np.ndarray, ratio: float = RATIO) -> np.ndarray:
    """Pair points with the nearest one where that is much nearer than the second nearest.

    Args:
        first: (N, D) of length 1.
        second: (M, D) of length 1; of fewer than two points none can be told from the second nearest.
        ratio: of the two distances, below it the nearest one counts.

    Returns:
        (P, 2) rows of first and second, each at most once: of several for one point the nearest.

    Source: Lowe, "Distinctive image features from scale-invariant keypoints", 2004, section 7.1.
    """
    if not len(first) or len(second) < 2:
        return np.zeros((0, 2), np.int64)
    squared = (2 - 2 * (first @ second.T)).clip(0)  # (N, M)
    each, nearest = np.arange(len(first)), squared.argmin(1)
    best = squared[each, nearest]
    squared[each, nearest] = np.inf
    rows = np.flatnonzero(best < ratio**2 * squared.min(1))
    rows = rows[np.argsort(best[rows], kind="stable")]
    return _each_once(rows, nearest[rows])


def _each_once(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Pair rows and columns, in the order of the rows; of those with the same column the first is taken."""
    _, place = np.unique(columns, return_index=True)
    pairs = np.stack([rows[place], columns[place]], axis=1)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def fit_inliers(
    first: np.ndarray, second: np.ndarray, geometry: str = SearchConfig.geometry,
    distance: float = SearchConfig.tolerance,
) -> np.ndarray:  # fmt: skip
    """Find the matches that one geometry explains, by MAGSAC; the same ones in every call.

    Degenerate matches have none: too few of them, points that (nearly) lie on one line, which any geometry explains,
    or sets that the estimator refuses.

    Args:
        first, second: (P, 2) points of each match, in pixels.
        geometry: "fundamental", of any scene, or "homography", of a plane.
        distance: pixels by which a match may miss it. A fundamental matrix ties a point to a line, which many meet by
            chance, and so asks for fewer.

    Returns:
        (P,) bool.

    Raises:
        InputError: an unknown geometry, or points that do not pair.

    Source: Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator", CVPR 2020.
    """
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 2:
        raise InputError(f"points {first.shape} and {second.shape}: expected two of each match, (P, 2)")
    if geometry not in GEOMETRIES:
        raise InputError(f"no geometry {geometry!r}: choose one of {', '.join(GEOMETRIES)}")
    none, least = np.zeros(len(first), bool), _LEAST[geometry]
    if len(first) < least or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return none
    cv2.setRNGSeed(0)
    try:
        if geometry == "fundamental":
            _, mask = cv2.findFundamentalMat(first, second, cv2.USAC_MAGSAC, distance, CONFIDENCE, TRIALS)
        else:
            _, mask = cv2.findHomography(
                first, second, cv2.USAC_MAGSAC, distance, maxIters=TRIALS, confidence=CONFIDENCE
            )
    except cv2.error:  # of poor sets: no geometry was found
        return none
    if mask is None:
        return none
    inside = mask.ravel().astype(bool)
    if inside.sum() < least or _on_a_line(first[inside], distance) or _on_a_line(second[inside], distance):
        return none
    return inside


def _on_a_line(points: np.ndarray, distance: float) -> bool:
    """Check whether points lie on one line, but for the distance that a match may lie off."""
    across = np.linalg.svd(points - points.mean(0), compute_uv=False)[1] / np.sqrt(len(points))
    return bool(across < distance)
