"""The vectors of an index as a search compares them: as a network gave them, or whitened within the landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landmark.evaluation.neighbours import Neighbours, find_nearest
from landmark.retrieval.vectors.likeness import pair_likeness
from landmark.retrieval.vectors.whitening import WithinWhitening

SHRINK = 3.0  # landmarks at 0 that the mean is drawn to: else two photographs of the only landmark become opposites


@dataclass(frozen=True)
class Space:
    """An index, and images without a landmark, in which queries find their neighbours."""

    index: np.ndarray  # (N, D) float32 of length 1
    others: np.ndarray | None  # (L, D) of images without a landmark; None where they do not count
    whitening: WithinWhitening | None

    @classmethod
    def fit(
        cls, index: np.ndarray, landmark: np.ndarray, others: np.ndarray | None = None, whiten: float = 0.0,
        without: np.ndarray | None = None,
    ) -> Space:  # fmt: skip
        """Learn whitening from an index and bring all vectors to it.

        Args:
            index: (N, D) of length 1.
            landmark: (N,) its landmarks.
            others: (L, D) of images without a landmark.
            whiten: share, see `WithinWhitening`; 0 for none.
            without: rows of the index that nothing is learnt from, since they are the queries.

        >>> index = np.array([[0.8, 0.6], [0.8, -0.6], [0.0, 1.0]], np.float32)  # the second number tells little of 7
        >>> spaces = [Space.fit(index, np.array([7, 7, 8]), whiten=share) for share in (0, 0.5)]
        >>> [space.near(np.array([[0.7, 0.714]]), 3)[0].rows.tolist() for space in spaces]
        [[[0, 2, 1]], [[0, 1, 2]]]
        """
        learnt = np.setdiff1d(np.arange(len(index)), [] if without is None else without)
        whitening = None
        if whiten and len(learnt):
            whitening = WithinWhitening.fit(index[learnt], landmark[learnt], whiten, shrink=SHRINK)
        if whitening is None:
            return cls(index, others, None)
        return cls(whitening(index), None if others is None else whitening(others), whitening)

    def near(
        self, queries: np.ndarray, depth: int, *, own: np.ndarray | None = None, other: np.ndarray | None = None
    ) -> tuple[Neighbours, np.ndarray]:
        """Find the nearest ones of queries, and how like images without a landmark they are.

        Args:
            queries: (Q, D) as the network gave them.
            depth: neighbours k of each.
            own: (Q,) row of the index that each query is itself, left out.
            other: (Q,) row of the images without a landmark that each query is itself, left out.

        Returns:
            The neighbours (Q, k), and the likeness (Q, k) of both sides, see `pair_likeness`: 0 without such images.
        """
        queries = self.whitening(queries) if self.whitening else queries
        near = find_nearest(queries, self.index, depth, own=own)
        if self.others is None:
            return near, np.zeros(near.rows.shape, np.float32)
        return near, pair_likeness(queries, self.index, self.others, near, other)
