"""One query on its way through every stage of a search, for a notebook to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from landmark.course.answers import truth_of
from landmark.course.retrieving.answering import Answered
from landmark.course.retrieving.ladder import open_gap, table_of
from landmark.data.csv.attribution import credit_lines
from landmark.data.folder import GoogleLandmarks
from landmark.evaluation.neighbours import Neighbours
from landmark.evaluation.report.hits import Ranking, top1
from landmark.figures.pictures import nearest_neighbours
from landmark.figures.style import credit
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.embed import Embeddings
from landmark.retrieval.fusion.rule import Verdict, decide
from landmark.retrieval.gallery import Photos
from landmark.retrieval.recognise import Searcher
from landmark.retrieval.vectors.space import Space
from landmark.utils.errors import InputError

_LINES = 60  # of matches in a picture


@dataclass(frozen=True)
class Walk:
    """Queries that are searched stage by stage.

    Args:
        searcher: of the index, with or without local features; what its settings say is the last stage.
        photos: the queries.
        data: with their solution.
    """

    searcher: Searcher
    photos: Photos
    data: GoogleLandmarks

    @cached_property
    def _queries(self) -> Embeddings:
        return self.searcher.embed(self.photos, keep=True)

    @cached_property
    def _plain(self) -> Neighbours:
        """Neighbours (Q, k) of the first stage, by the vectors as the network gave them."""
        return Space(self.searcher.index.vectors, None, None).near(self._queries.vectors, self._depth)[0]

    @cached_property
    def _near(self) -> tuple[Neighbours, np.ndarray]:
        """Neighbours (Q, k) of the other stages, and likeness to no landmark of both sides (Q, k)."""
        return self.searcher.space.near(self._queries.vectors, self._depth)

    @cached_property
    def _inliers(self) -> np.ndarray:
        return self.searcher.compare(self._queries.ids, self.photos, self._near[0])

    @property
    def _depth(self) -> int:
        config = self.searcher.config
        return min(max(config.rerank, config.neighbours), len(self.searcher.index.ids))

    def stages(self) -> dict[str, SearchConfig]:
        """Name the stages, each with the settings of those before it: nearest, whiten, vote, margin, penalty, local."""
        config, made = replace(self.searcher.config, neighbours=1, margin=0.0, penalty=0.0, whiten=0.0), {}
        made["nearest"] = config
        steps = {"whiten": "whiten", "vote": "neighbours", "margin": "margin", "penalty": "penalty"}
        for name, setting in steps.items():
            config = replace(config, **{setting: getattr(self.searcher.config, setting)})
            made[name] = config
        return made | ({"local": config} if self.searcher.local else {})

    def verdict(self, stage: str) -> Verdict:
        """Decide as after a stage; InputError when there is none of that name."""
        stages = self.stages()
        if stage not in stages:
            raise InputError(f"no stage {stage!r}: choose one of {', '.join(stages)}")
        if stage == "nearest":
            return decide(self._plain, self.searcher.landmark, stages[stage])
        near, bare = self._near
        return decide(near, self.searcher.landmark, stages[stage], burden=stages[stage].penalty * bare,
                      inliers=self._inliers if stage == "local" else None)  # fmt: skip

    def scores(self, labels: list[int], share: float | None = None) -> pd.DataFrame:
        """Score all queries after each stage: open GAP, top-1 and right answers to known and to unknown landmarks.

        Args:
            labels: landmark ids of the label set, which tells unknown landmarks from known ones.
            share: of distractors at which GAP is taken; as it is when left out.
        """
        ids, rows = self._queries.ids, {}
        truth = {image_id: shown for image_id, shown in truth_of(self.data).items() if image_id in set(ids)}
        for stage in self.stages():
            verdict = self.verdict(stage)
            table = table_of(Answered(ids, verdict.landmark, verdict.score), truth, labels)
            hits = Ranking(table).hits(np.ones((1, len(table)), np.int32))
            right = [int(table.correct[table.kind == kind].sum()) for kind in (0, 1)]
            rows[stage] = {"gap": open_gap(table, share), "top1": float(top1(hits)[0])}
            rows[stage] |= dict(zip(("known", "unknown"), right, strict=True))
        return pd.DataFrame.from_dict(rows, orient="index")

    def changed(self) -> pd.DataFrame:
        """List the queries whose answer has changed between the first and the last stage, those now right first."""
        truth, ids = truth_of(self.data), self._queries.ids
        first, *_, last = (self.verdict(stage) for stage in self.stages())
        pairs = zip(ids, first.landmark.tolist(), last.landmark.tolist(), strict=True)
        rows = [[i, self._shown(i), self._name(a), self._name(b), a in truth.get(i, ()), b in truth.get(i, ())]
                for i, a, b in pairs if a != b]  # fmt: skip
        columns = ["id", "shown", "nearest", "at last", "right before", "right now"]
        return pd.DataFrame(rows, columns=columns).sort_values("right now", ascending=False, ignore_index=True)

    def neighbours(self, image_id: str, count: int = 5) -> pd.DataFrame:
        """List the neighbours of a query in the order of whitened vectors, with all that the stages know of each.

        Columns: landmark, right, plain (cosine of the vectors as the network gave them), cosine (of whitened ones),
        bare (likeness of both sides to images without a landmark), inliers, score (after the last stage), rank (then,
        from 1).
        """
        i, (near, bare), inliers = self._row(image_id), self._near, self._inliers
        plain = self.searcher.index.vectors[near.rows[i, :count]] @ self._queries.vectors[i]
        verdict, shown = self.verdict([*self.stages()][-1]), truth_of(self.data).get(image_id, ())
        rank = np.argsort(verdict.order[i])[:count]  # from 0
        marks = self.searcher.landmark[near.rows[i, :count]]
        return pd.DataFrame({
            "landmark": [self._name(mark) for mark in marks.tolist()], "right": np.isin(marks, list(shown)),
            "plain": plain, "cosine": near.similarity[i, :count], "bare": bare[i, :count],
            "inliers": inliers[i, :count], "score": verdict.ranked.similarity[i][rank], "rank": rank + 1,
        })  # fmt: skip

    def answers(self, image_id: str) -> pd.DataFrame:
        """Tell the answer to a query after each stage, its score, and whether it is right."""
        i, shown = self._row(image_id), truth_of(self.data).get(image_id, ())
        rows = {}
        for stage in self.stages():
            verdict = self.verdict(stage)
            mark = int(verdict.landmark[i])
            rows[stage] = {"answer": self._name(mark), "score": float(verdict.score[i]), "right": mark in shown}
        return pd.DataFrame.from_dict(rows, orient="index")

    def draw(self, ids: list[str], stage: str = "nearest", count: int = 5) -> Figure:
        """Draw queries with their neighbours after a stage, and the matches with the first one after the last stage."""
        truth, verdict, gallery = truth_of(self.data), self.verdict(stage), self.searcher.gallery
        pictures, near, right, captions, matches = [], [], [], [], []
        drawn: list[str] = []
        for image_id in ids:
            rows = [row for row in verdict.ranked.rows[self._row(image_id), :count].tolist() if row >= 0]
            marks = self.searcher.landmark[rows].tolist()
            drawn += [image_id, *(self.searcher.index.ids[row] for row in rows)]
            pictures.append(np.asarray(self.photos.picture(image_id)))
            near.append([np.asarray(gallery.picture(self.searcher.index.ids[row])) for row in rows])
            right.append([mark in truth.get(image_id, ()) for mark in marks])
            captions.append([self._name(mark) for mark in marks])
            pairs = self.searcher.matches(self.photos, image_id, rows[0]) if stage == "local" else np.zeros((0, 4))
            matches.append(pairs[:: -(-len(pairs) // _LINES) or 1])
        title = f"Neighbours after the stage {stage} (blue frame: right, orange: wrong)"
        titles = [self._shown(image_id) for image_id in ids]
        figure = nearest_neighbours(pictures, near, right, titles, captions, matches, title=title, tile=1.5)
        credit(figure, credit_lines(gallery.root, drawn))
        return figure

    def _row(self, image_id: str) -> int:
        if image_id not in self._queries.ids:
            raise InputError(f"{image_id}: none of the {len(self._queries.ids)} queries")
        return self._queries.ids.index(image_id)

    def _shown(self, image_id: str) -> str:
        return ", ".join(map(self._name, truth_of(self.data).get(image_id, ()))) or "no landmark"

    def _name(self, mark: int) -> str:
        return self.searcher.gallery.landmarks.get(mark) or str(mark)
