"""What recipes are made of: the vectors, answers and local features of runs on a data set, each worked out once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from landmark.course.answers import test_predictions
from landmark.course.retrieving.recipes import PartWeights
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.neighbours import Neighbours
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.embed import Embedder, Embeddings
from landmark.retrieval.fusion.ensemble import blend_answers, join_vectors
from landmark.retrieval.gallery import Photos, open_gallery, open_test
from landmark.retrieval.local.features import create_local
from landmark.retrieval.recognise import Searcher
from landmark.retrieval.scale.resumable import search_in_blocks
from landmark.retrieval.vectors.whitening import WithinWhitening
from landmark.retrieval.vote import expand_queries
from landmark.training.predict_run import predict_table
from landmark.training.run import Run
from landmark.utils.errors import InputError
from landmark.utils.files import CacheFile

DEPTH = 20  # neighbours that are kept of each query, at least
_BLOCK = 256  # queries whose inliers lie in a file


def sample_queries(data: GoogleLandmarks, count: int = 120) -> Photos:
    """Take test images evenly spread over the table; all where there are fewer."""
    photos = open_test(data.root)
    rows = np.unique(np.linspace(0, len(photos.ids) - 1, min(count, len(photos.ids))).round().astype(int))
    return replace(photos, ids=[photos.ids[row] for row in rows])


class Material:
    """Runs, or an embedder, on a data set: an ensemble where there are several.

    The index is all of train.csv: landmarks below the filter, which no classifier knows, are found as well. Vectors,
    neighbours and inliers are kept on disk, piece by piece; a pass that was stopped goes on.

    Args:
        systems: finished runs of networks that show embeddings, or embedders, which have no classifier.
        data: with train.csv and the test images.
        weights: of the systems; all the same when left out.
        search: settings of the search; the defaults when left out.
        parts: weights of the parts; the defaults when left out.
        count: test images that are answered, evenly spread; all when left out.
        progress: show bars.

    Raises:
        InputError: no system, weights that do not fit, or no image that can be read.
    """

    def __init__(
        self, systems: Sequence[Run | Embedder], data: GoogleLandmarks, weights: Sequence[float] | None = None, *,
        search: SearchConfig | None = None, parts: PartWeights | None = None, count: int | None = None,
        progress: bool = False,
    ):  # fmt: skip
        if not systems:
            raise InputError("no run: a recipe needs one at least")
        self.systems, self.data, self.progress = list(systems), data, progress
        self.weights = [1.0] * len(self.systems) if weights is None else list(weights)
        self.search, self.parts = search or SearchConfig(), parts or PartWeights()
        self.photos = open_test(data.root) if count is None else sample_queries(data, count)
        self._comparers: dict[str, Searcher] = {}  # by their local features
        self._answers: dict[bool, tuple[np.ndarray, np.ndarray]] = {}  # of the classifiers, without and with crops

    @cached_property
    def _searchers(self) -> list[Searcher]:
        gallery, search = open_gallery(self.data.root), replace(self.search, penalty=1.0)  # parts have their own weight
        embedders = [it if isinstance(it, Embedder) else Embedder(it.model(), it.config.size) for it in self.systems]
        made: dict[str, Searcher] = {}  # runs of one frozen network share their vectors
        for embedder in embedders:
            if embedder.network not in made:
                made[embedder.network] = Searcher(gallery, embedder, None, search, progress=self.progress)
        return [made[embedder.network] for embedder in embedders]

    @cached_property
    def _queries(self) -> list[Embeddings]:
        made = {id(searcher): searcher.embed(self.photos, keep=True) for searcher in set(self._searchers)}
        return [made[id(searcher)] for searcher in self._searchers]

    @property
    def ids(self) -> list[str]:
        """Test images that could be read."""
        return self._queries[0].ids

    @property
    def bad(self) -> dict[str, str]:
        """Test images that could not be read, and why."""
        return self._queries[0].bad

    @property
    def landmark(self) -> np.ndarray:
        """(N,) landmark_id of each image of the index."""
        return self._searchers[0].landmark

    @cached_property
    def _joined(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        others = [searcher.others for searcher in self._searchers]
        bare = None if None in others else join_vectors([it.vectors for it in others if it], self.weights)
        return (join_vectors([it.vectors for it in self._queries], self.weights),
                join_vectors([it.index.vectors for it in self._searchers], self.weights), bare)  # fmt: skip

    @cached_property
    def _whitened(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        queries, index, others = self._joined
        whitening = WithinWhitening.fit(index, self.landmark, self.parts.whiten)
        return whitening(queries), whitening(index), None if others is None else whitening(others)

    def vectors(self, whiten: bool = False, expand: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Give the vectors of queries (Q, D), index (N, D) and images without a landmark (L, D), None without any.

        Args:
            whiten: them within the landmarks of the index.
            expand: the queries.
        """
        queries, index, others = self._whitened if whiten else self._joined
        if expand:
            queries = expand_queries(queries, index, self.parts.expand, self.parts.alpha)
        return queries, index, others

    def near(self, whiten: bool = False, expand: bool = False) -> Neighbours:
        """Find the neighbours of the queries, kept on disk."""
        queries, index, _ = self.vectors(whiten, expand)
        depth = min(max(DEPTH, self.search.neighbours, self.search.rerank), len(index))
        basis = self._basis(
            ["within", self.parts.whiten] * whiten, [expand, self.parts.expand, self.parts.alpha] * expand
        )
        folder = CacheFile(self.data.root, "neighbours/x").path.parent
        return search_in_blocks(queries, index, depth, folder, basis=basis)

    def _basis(self, *more: object) -> str:
        """Hash what names queries and index: networks, weights, the images and their files."""
        first, gallery = self._searchers[0], self._searchers[0].gallery
        stamps = [self.photos.images.fingerprint(self.ids), gallery.images.fingerprint(first.index.ids)]
        networks = [searcher.index.network for searcher in self._searchers]
        parts = [networks, self.weights, self.ids, first.index.ids, stamps, *more]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _comparer(self, local: str) -> Searcher:
        """The first system's searcher, with local features: those of DELF are its network's own."""
        if local not in self._comparers:
            one = self._searchers[0]
            features = create_local(local, one.embedder, one.gallery, self.search.side)
            self._comparers[local] = Searcher(one.gallery, one.embedder, features, self.search, progress=self.progress)
        return self._comparers[local]

    def inliers(self, near: Neighbours, local: str | None = None) -> np.ndarray:
        """Count the inliers (Q, k) of the queries with their neighbours, kept on disk; -1 where none was compared.

        Args:
            near: of `near`.
            local: features by name; those of the part `local` when left out.
        """
        local = local or self.parts.local
        counts, search = [], self.search
        asked = [local, search.side, search.likeness, search.geometry, search.tolerance, search.rerank]
        for start in range(0, len(self.ids), _BLOCK):
            part = Neighbours(*(column[start : start + _BLOCK] for column in near))
            basis = self._basis(asked, part.rows.tolist())[:32]
            file = CacheFile(self.data.root, f"inliers/{basis}.npy")
            block = file.load(_stored)
            if block is None:
                block = self._comparer(local).compare(self.ids[start : start + _BLOCK], self.photos, part)
                file.save(partial(_store, block))
            counts.append(block)
        return np.concatenate(counts)

    def classify(self, crops: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Answer by the classifiers: landmark ids (Q,) and how sure they are (Q,); several are blended.

        Args:
            crops: each votes over views of an image.

        Raises:
            InputError: an embedder, which has no classifier.
        """
        if crops not in self._answers:
            self._answers[crops] = self._classified(crops)
        return self._answers[crops]

    def _classified(self, crops: bool) -> tuple[np.ndarray, np.ndarray]:
        labels, scores = [], []
        for system in self.systems:
            if isinstance(system, Embedder):
                raise InputError(f"{system.name}: a network without a classifier has no softmax: give a run")
            solved = (self.data.root / "recognition_solution_v2.1.csv").exists()
            if solved and not crops:
                record = test_predictions(system, self.data)  # the notebooks' own record of all test images
            else:
                table = self.data.test[self.data.test["id"].isin(self.photos.ids)][["id"]]
                record = predict_table(system, table, self.data.root, crops=crops)
            answers = record.mapping(system.labels)
            rows = [answers.get(image_id, (-1, -np.inf)) for image_id in self.ids]
            labels.append(np.array([row[0] for row in rows], np.int64))
            scores.append(np.array([row[1] for row in rows], float))
        return (labels[0], scores[0]) if len(labels) == 1 else blend_answers(labels, scores, self.weights)


def _store(block: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, block)


def _stored(path: Path) -> np.ndarray | None:
    """Read a block of inliers; a damaged one counts as none."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
