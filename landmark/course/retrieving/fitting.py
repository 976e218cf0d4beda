"""Settings of a search fitted on dev worlds: what did best there is the default everywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from landmark.course.answers import truth_of
from landmark.course.retrieving.material import sample_queries
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.neighbours import Neighbours
from landmark.evaluation.report.answers import tabulate
from landmark.evaluation.report.hits import Ranking, gap
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.embed import Embedder
from landmark.retrieval.fusion.rule import decide
from landmark.retrieval.gallery import Photos, open_gallery
from landmark.retrieval.local.features import Features, Local
from landmark.retrieval.local.matching import fit_inliers
from landmark.retrieval.recognise import Searcher
from landmark.retrieval.vectors.space import Space
from landmark.utils.errors import InputError

GRID: dict[str, tuple] = {
    "side": (320, 480, 640, 800),
    "geometry": ("fundamental", "homography"),
    "tolerance": (1.0, 2.0, 3.0, 5.0, 8.0),
    "likeness": (0.65, 0.7, 0.76, 0.82, 0.88),
    "enough": (25, 50, 100, 200, 400),
    "rerank": (5, 10, 20, 50),
    "whiten": (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
    "penalty": (0.0, 0.25, 0.5, 0.75, 1.0),
    "margin": (0.0, 0.25, 0.5, 0.75, 1.0),
    "neighbours": (1, 2, 3, 5, 10),
    "temperature": (0.03, 0.07, 0.15, 0.3),
}
"""What each setting may be, in the order in which they are fitted: how points are compared, then what is made of it."""


class DevSearch:
    """A dev world that is searched with many settings: what they share is worked out once.

    Its test images are the queries, its train images the index.

    Args:
        data: of a dev world, with its solution.
        embedder: of both.
        local: of `create_local`; None to compare no local features.
        count: test images that are searched with, evenly spread; all where there are fewer.
        progress: show bars.
    """

    def __init__(
        self, data: GoogleLandmarks, embedder: Embedder, local: Local | None = None, *, count: int = 10_000,
        progress: bool = True,
    ):  # fmt: skip
        self.local = local
        self.searcher = Searcher(open_gallery(data.root), embedder, None, SearchConfig(penalty=1.0), progress=progress)
        self.photos = sample_queries(data, count)
        self.queries = self.searcher.embed(self.photos, keep=True)
        asked = set(self.queries.ids)
        self.truth = {image_id: shown for image_id, shown in truth_of(data).items() if image_id in asked}
        self._near: dict[float, tuple[Neighbours, np.ndarray]] = {}  # by how far vectors are whitened
        self._features: dict[tuple, Features] = {}
        self._matches: dict[tuple, np.ndarray] = {}  # (M, 5): points of both, and the cosine
        self._inliers: dict[tuple, int] = {}

    def gap(self, config: SearchConfig, share: float | None = None) -> float:
        """Compute the open GAP of the world's queries.

        Args:
            config: of the search.
            share: of distractors, see `hits.gap`; as it is when left out.
        """
        near, bare = self._neighbours(config.whiten)
        inliers = self._count(config, near) if self.local else None
        verdict = decide(near, self.searcher.landmark, config, inliers=inliers, burden=config.penalty * bare)
        rows = zip(verdict.landmark.tolist(), verdict.score.tolist(), strict=True)
        answers = {i: row for i, row in zip(self.queries.ids, rows, strict=True) if i in self.truth}
        table = tabulate(answers, self.truth, set(self.searcher.landmark.tolist()))
        return float(gap(Ranking(table).hits(np.ones((1, len(table)), np.int32)), share=share)[0])

    def _neighbours(self, whiten: float) -> tuple[Neighbours, np.ndarray]:
        """Find the neighbours of the queries, and how like images without a landmark both sides are."""
        if whiten not in self._near:
            index, others = self.searcher.index.vectors, self.searcher.others
            space = Space.fit(index, self.searcher.landmark, others.vectors if others else None, whiten)
            self._near[whiten] = space.near(self.queries.vectors, max(GRID["rerank"]))
        return self._near[whiten]

    def _count(self, config: SearchConfig, near: Neighbours) -> np.ndarray:
        """Count the inliers (Q, k) of the nearest ones; -1 for the others."""
        counts = np.full(near.rows.shape, -1)
        for i, rows in enumerate(near.rows[:, : config.rerank].tolist()):
            for j, row in enumerate(rows):
                key = (i, row, config.side, config.likeness, config.geometry, config.tolerance)
                if row >= 0 and key not in self._inliers:
                    pairs = self._pairs(i, row, config.side)
                    pairs = pairs[pairs[:, 4] > config.likeness] if self.local and self.local.by_likeness else pairs
                    inside = fit_inliers(pairs[:, :2], pairs[:, 2:4], config.geometry, config.tolerance)
                    self._inliers[key] = int(inside.sum())
                counts[i, j] = self._inliers[key] if row >= 0 else -1
        return counts

    def _pairs(self, i: int, row: int, side: int) -> np.ndarray:
        """Match a query with an image of the index, at the least likeness of the grid."""
        if (i, row, side) not in self._matches:
            assert self.local is not None
            one = self._points(self.photos, self.queries.ids[i], side)
            two = self._points(self.searcher.gallery, self.searcher.index.ids[row], side)
            pairs = self.local.match(one, two, min(GRID["likeness"]))
            first, second = pairs[:, 0], pairs[:, 1]
            cosine = (one.descriptors[first] * two.descriptors[second]).sum(1)
            self._matches[i, row, side] = np.column_stack([one.points[first], two.points[second], cosine])
        return self._matches[i, row, side]

    def _points(self, photos: Photos, image_id: str, side: int) -> Features:
        if (photos.split, image_id, side) not in self._features:
            assert self.local is not None
            self._features[photos.split, image_id, side] = self.local(photos.picture(image_id), side)
        return self._features[photos.split, image_id, side]


def fit_search(
    worlds: Sequence[DevSearch], start: SearchConfig | None = None, grid: Mapping[str, Sequence] = GRID,
    *, share: float | None = None,
) -> tuple[SearchConfig, pd.DataFrame]:  # fmt: skip
    """Fit the settings of a search, one after the other: each takes the value with the largest mean open GAP.

    Of values that are as good the one before stays. The inliers' weight is fitted like any other setting.

    Args:
        worlds: dev worlds, none of which is reported on.
        start: settings to begin with; the defaults when left out.
        grid: what each setting may be, in the order of fitting.
        share: of distractors at which GAP is taken; as it is when left out.

    Returns:
        The settings, and what was tried: setting, value, gap and whether it was taken.

    Raises:
        InputError: no dev world, or a setting that a search has not.
    """
    if not worlds:
        raise InputError("0 dev worlds: give one to fit the settings of a search on")
    config, tried = start or SearchConfig(), []

    def mean(settings: SearchConfig) -> float:
        return float(np.mean([world.gap(settings, share) for world in worlds]))

    best = mean(config)
    for name, values in grid.items():
        if not hasattr(config, name):
            raise InputError(f"a search has no setting {name!r}: choose one of {', '.join(GRID)}")
        before = getattr(config, name)
        scores = {value: best if value == before else mean(replace(config, **{name: value})) for value in values}
        winner = max(scores, key=lambda value: (round(scores[value], 9), value == before))
        if scores[winner] > best:
            config, best = replace(config, **{name: winner}), scores[winner]
        tried += [{"setting": name, "value": value, "gap": score, "taken": getattr(config, name) == value}
                  for value, score in scores.items()]  # fmt: skip
    return config, pd.DataFrame(tried)
