"""A floor under all networks: what colours alone answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landmark.course.answers import truth_of
from landmark.course.runs import min_images
from landmark.course.samples import pictures
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.neighbours import find_nearest

SIZE = 64  # pixels of the longer side; more change a histogram little


def colour_vectors(images: Sequence[np.ndarray], levels: int = 8) -> np.ndarray:
    """Describe images by the roots of their shares of colours, so that a product is Σ_i √(p_i q_i), 1 for like shares.

    Args:
        images: pictures (H, W, 3) of bytes.
        levels: of each of red, green and blue.

    Returns:
        (N, levels³) float32, each of length 1.

    >>> red, blue = np.full((2, 2, 3), (250, 9, 9), np.uint8), np.full((2, 2, 3), (9, 9, 250), np.uint8)
    >>> x = colour_vectors([red, blue, np.concatenate([red, blue])])
    >>> (x @ x.T).astype(float).round(2).tolist()
    [[1.0, 0.0, 0.71], [0.0, 1.0, 0.71], [0.71, 0.71, 1.0]]

    Source: Bhattacharyya, "On a measure of divergence between two statistical populations", 1943.
    """
    shares = np.zeros((len(images), levels**3), np.float32)
    for row, image in zip(shares, images, strict=True):
        pixels = image.reshape(-1, 3)
        row[:] = np.histogramdd(pixels, levels, [(0, 256)] * 3)[0].ravel() / len(pixels)
    return np.sqrt(shares)


def colour_answers(data: GoogleLandmarks) -> dict[str, tuple[int, float]]:
    """Answer the scored test images with the landmark of the train image whose colours are most alike.

    Args:
        data: with the test set and its solution; its train images are those of the course's filter.

    Returns:
        image_id → (landmark_id, likeness of the colours).
    """
    train, truth = data.labelled(min_images()), truth_of(data)
    asked = data.test[data.test["id"].isin(truth)]
    index = colour_vectors(pictures(train, data.root, size=SIZE))
    near = find_nearest(colour_vectors(pictures(asked, data.root, "test", SIZE)), index, 1)
    found = train["landmark_id"].to_numpy()[near.rows[:, 0]].tolist()
    return dict(zip(asked["id"], zip(found, near.similarity[:, 0].tolist(), strict=True), strict=True))
