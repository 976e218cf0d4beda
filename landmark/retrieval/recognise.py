"""Photographs in, answers out: the nearest images, their local features, a vote, and whether it is any landmark."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from landmark.evaluation.neighbours import Neighbours
from landmark.evaluation.report.answers import Answers
from landmark.evaluation.report.risk import plain_threshold
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.embed import Embedder, Embeddings, embed_images
from landmark.retrieval.fusion.rule import decide
from landmark.retrieval.gallery import Gallery, PhotoFiles, Photos
from landmark.retrieval.local.features import Features, Local
from landmark.retrieval.local.matching import fit_inliers
from landmark.retrieval.vectors.space import Space
from landmark.utils.errors import ImageError, InputError
from landmark.utils.files import CacheFile
from landmark.utils.process import usable_cpus

log = logging.getLogger("landmark.retrieval")
SHOWN = 10  # neighbours of each query that are listed, at least
CALIBRATED = 100  # images of the index, and as many of no landmark, that the threshold is measured on
FOLDS = 5  # an image that is searched for in its own index takes no part in what is learnt from that
_RULE = 3  # of the score; a change of it, or of what the local features do, makes stored thresholds void
_HELD = 2**29  # bytes of local features that stay in memory: a picture has 0.2 MB with DELF, 1 MB with SIFT


@dataclass(frozen=True)
class Findings:
    """What a search says of each query that could be read, a row each."""

    ids: list[str]
    landmark: np.ndarray  # (Q,) landmark_id of the answer
    score: np.ndarray  # (Q,) how sure it is: any number, of which the order counts
    neighbours: Neighbours  # (Q, k) rows of the index in their last order, and their scores
    cosine: np.ndarray  # (Q, k) to each, -inf where it is missing
    inliers: np.ndarray  # (Q, k) of local features; -1 where they were not compared
    bad: dict[str, str]  # id → why an image could not be read


class Searcher:
    """Search a gallery: cosine, a penalty for what is like no landmark, inliers of local features, a soft vote.

    s_i = q · x_i − w (mean likeness of q + mean likeness of x_i to images without a landmark)
    of vectors that are whitened within the landmarks of the gallery, see `space.Space`,
    and then the rule of `fusion.rule.decide`

    Args:
        gallery: of `open_gallery`.
        embedder: of the queries and of the gallery, whose vectors are stored on disk.
        local: of `create_local`; None to compare no local features.
        config: the settings; the defaults when left out.
        workers: processes that decode, see `make_loader`.
        keep: read and write the cache of vectors and of the threshold.
        progress: show bars.

    Raises:
        InputError: no image of the gallery can be read.
    """

    def __init__(
        self, gallery: Gallery, embedder: Embedder, local: Local | None = None,
        config: SearchConfig | None = None, *, workers: int | None = None, keep: bool = True, progress: bool = True,
    ):  # fmt: skip
        self.gallery, self.embedder, self.local, self.config = gallery, embedder, local, config or SearchConfig()
        self.workers, self.keep, self.progress = workers, keep, progress
        self.index = self.embed(gallery, keep)
        if self.index.bad:
            first, reason = next(iter(self.index.bad.items()))
            log.warning("%d images of the index are left out: %s: %s", len(self.index.bad), gallery.name(first), reason)
        place = {image_id: row for row, image_id in enumerate(gallery.ids)}
        self.landmark = gallery.landmark[[place[image_id] for image_id in self.index.ids]]  # (N,)
        self.others = self._embed_others(keep)
        self._features: OrderedDict[tuple[str, str, str], Features] = OrderedDict()
        self._held = 0  # bytes of these
        self._one_at_a_time = threading.Lock()  # a network has the cores to itself; matching shares them

    def embed(self, photos: Photos, keep: bool = False) -> Embeddings:
        """Embed photographs as the gallery was; `keep` their vectors on disk."""
        files = photos.images if isinstance(photos.images, PhotoFiles) else None
        return embed_images(self.embedder, photos.ids, photos.root, photos.split, images=files, workers=self.workers,
                            keep=keep, progress=self.progress)  # fmt: skip

    def _embed_others(self, keep: bool) -> Embeddings | None:
        """Embed the images without a landmark, where there are and they count."""
        if self.gallery.others is None or not self.config.penalty:
            return None
        try:
            return self.embed(self.gallery.others, keep)
        except InputError as error:  # a table whose images were never fetched
            log.warning("no penalty by images without a landmark: %s", error)
            return None

    @cached_property
    def space(self) -> Space:
        """What queries are compared in."""
        return self._learn()

    def _learn(self, without: np.ndarray | None = None) -> Space:
        """Learn the space from the index, without some of its rows."""
        others = self.others.vectors if self.others else None
        return Space.fit(self.index.vectors, self.landmark, others, self.config.whiten, without)

    def search(self, photos: Photos, keep: bool = False) -> Findings:
        """Search with photographs; those that cannot be read are listed in `bad`.

        Raises:
            InputError: none of them can be read.
        """
        return self.answer(self.embed(photos, keep), photos)

    def answer(
        self, queries: Embeddings, photos: Photos, *, other: np.ndarray | None = None, depth: int = SHOWN
    ) -> Findings:
        """Search with vectors, of the same network as the gallery's.

        Args:
            queries: (Q, D), with the ids of `photos`.
            photos: whose pictures are looked at for local features.
            other: (Q,) row of the images without a landmark that each query is itself, left out.
            depth: neighbours that are listed; as many as vote or are compared, if those are more.

        Raises:
            InputError: vectors of another network.
        """
        if queries.network != self.index.network:
            raise InputError("the queries were embedded by another network, or at another size, than the index: "
                             "embed both with the same one")  # fmt: skip
        return self._decided(queries, photos, *self.space.near(queries.vectors, self._depth(depth), other=other))

    def _depth(self, depth: int) -> int:
        """Count the neighbours that are looked at: those that are asked for, that vote or that are compared."""
        return min(max(depth, self.config.neighbours, self.config.rerank if self.local else 0), len(self.index.ids))

    def _decided(self, queries: Embeddings, photos: Photos, near: Neighbours, bare: np.ndarray) -> Findings:
        """Answer queries with their neighbours, of which `bare` is the likeness to images without a landmark."""
        inliers = self.compare(queries.ids, photos, near)
        verdict = decide(near, self.landmark, self.config, inliers=inliers, burden=self.config.penalty * bare)
        cosine, inliers = (np.take_along_axis(values, verdict.order, 1) for values in (near.similarity, inliers))
        return Findings(queries.ids, verdict.landmark, verdict.score, verdict.ranked, cosine, inliers, queries.bad)

    def compare(self, ids: list[str], photos: Photos, near: Neighbours) -> np.ndarray:
        """Count the inliers (Q, k) of each query of `photos` with its nearest ones; -1 for the others."""
        inliers = np.full(near.rows.shape, -1)
        if self.local is None:
            return inliers
        with ThreadPoolExecutor(usable_cpus()) as pool:
            for i, image_id in enumerate(tqdm(ids, "compare", unit="image", disable=not self.progress)):
                rows = [row for row in near.rows[i, : self.config.rerank].tolist() if row >= 0]
                count = len(rows)
                matches = pool.map(self.matches, [photos] * count, [image_id] * count, rows)
                inliers[i, :count] = [len(pairs) for pairs in matches]
        return inliers

    def matches(self, photos: Photos, image_id: str, row: int) -> np.ndarray:
        """Match a query with an image of the index: the pairs of points that one geometry explains.

        Returns:
            (M, 4): x and y in the query, x and y in the other, as shares of width and height.
        """
        if self.local is None:
            return np.zeros((0, 4))
        one, two = self.features(photos, image_id), self.features(self.gallery, self.index.ids[row])
        pairs = self.local.match(one, two, self.config.likeness)
        first, second = one.points[pairs[:, 0]], two.points[pairs[:, 1]]
        inside = fit_inliers(first, second, self.config.geometry, self.config.tolerance)
        return np.concatenate([first[inside] / one.size, second[inside] / two.size], axis=1)

    def features(self, photos: Photos, image_id: str) -> Features:
        """Find the local features of a picture; the last ones stay in memory. A picture that is gone has none."""
        assert self.local is not None
        key = (str(photos.root), photos.split, image_id)
        with self._one_at_a_time:
            if key in self._features:
                self._features.move_to_end(key)
                return self._features[key]
            try:
                picture = photos.picture(image_id)
            except ImageError as error:
                log.warning("%s: no local features", error)
                picture = Image.new("RGB", (32, 32))
            self._features[key] = features = self.local(picture, self.config.side)
            self._held += features.descriptors.nbytes
            while self._held > _HELD:
                self._held -= self._features.popitem(last=False)[1].descriptors.nbytes
            return features

    def leave_one_out(self, rows: np.ndarray | None = None, depth: int = SHOWN) -> Findings:
        """Search with images of the gallery, each of them left out of the index for its own query.

        Whitening is learnt without them too, a fold of the images at a time: what it has learnt from an image brings
        that nearer to its landmark than a photograph from elsewhere would come.

        Args:
            rows: of the index; all when left out.
            depth: neighbours that are listed.
        """
        rows = np.arange(len(self.index.ids)) if rows is None else rows
        queries = replace(
            self.index, ids=[self.index.ids[row] for row in rows], vectors=self.index.vectors[rows], bad={}
        )
        folds = min(FOLDS, len(rows)) if self.space.whitening else 1
        parts = [np.arange(first, len(rows), folds) for first in range(folds)]  # images of a landmark lie side by side
        spaces = (self._learn(rows[part]) if self.space.whitening else self.space for part in parts)
        found = [space.near(queries.vectors[part], self._depth(depth), own=rows[part])
                 for space, part in zip(spaces, parts, strict=True)]  # fmt: skip
        back = np.argsort(np.concatenate(parts))
        columns = zip(*((*near, bare) for near, bare in found), strict=True)
        places, similarity, bare = (np.concatenate(column)[back] for column in columns)
        return self._decided(queries, self.gallery, Neighbours(places, similarity), bare)

    @cached_property
    def threshold(self) -> float:
        """The lowest score at which the answers reach the wanted precision; `config.threshold` where it is given.

        It is measured on images of the gallery, each left out of the index for its own query, and on images without a
        landmark where there are. Of a landmark's only image every answer is wrong. Where no landmark has two images
        it cannot be measured and nothing is below it. It is stored on disk, bound to all that it depends on.
        """
        if self.config.threshold is not None:
            return self.config.threshold
        counts = dict(zip(*np.unique(self.landmark, return_counts=True), strict=True))
        several = np.array([counts[landmark] > 1 for landmark in self.landmark])
        if not several.any():
            log.warning("no landmark has two images, so no threshold can be measured: give --threshold")
            return -math.inf
        file = CacheFile(self.gallery.root, f"thresholds/{self._basis()}.json")
        threshold = file.load(_stored_number) if self.keep else None
        if threshold is None:
            threshold = self._measure(several)
            if self.keep:
                file.save(lambda path: path.write_text(json.dumps(threshold)))
        if math.isinf(threshold):
            log.warning(
                "no threshold reaches a precision of %g: nothing is answered; give a lower --precision, or --threshold",
                self.config.precision,
            )
        return threshold

    def _basis(self) -> str:
        """Hash what the threshold depends on: settings, network, local features, images and their landmarks."""
        parts: list[object] = [_RULE, asdict(self.config), self.index.network, self.local.name if self.local else None]
        for photos, embedded in ((self.gallery, self.index), (self.gallery.others, self.others)):
            if photos is not None and embedded is not None:
                parts.append([embedded.ids, photos.images.fingerprint(embedded.ids)])
        return hashlib.sha256(json.dumps([*parts, self.landmark.tolist()]).encode()).hexdigest()[:32]

    def _measure(self, several: np.ndarray) -> float:
        """Measure the threshold; `several`: (N,) whether another image shows the same landmark."""
        rows = _spread(len(self.index.ids))
        findings = self.leave_one_out(rows)
        score, kind = [findings.score], [np.where(several[rows], 0, 1)]
        right = [findings.landmark == self.landmark[rows]]
        if self.others is not None and self.gallery.others is not None:
            own = _spread(len(self.others.ids))
            strange = replace(self.others, ids=[self.others.ids[i] for i in own], vectors=self.others.vectors[own])
            score.append(self.answer(strange, self.gallery.others, other=own).score)
            kind.append(np.full(len(own), 2))
            right.append(np.zeros(len(own), bool))
        answers = Answers(np.concatenate(score), np.concatenate(right), np.concatenate(kind))
        return plain_threshold(answers, self.config.precision)


def _stored_number(path: Path) -> float | None:
    """Read the number in a file of the cache; a damaged one counts as none."""
    try:
        number = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return number if isinstance(number, float) and not math.isnan(number) else None


def _spread(count: int) -> np.ndarray:
    """Choose at most `CALIBRATED` rows of so many, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, CALIBRATED)).round().astype(np.int64))
