"""Settings fitted on dev worlds: the same GAP as a search with them, the best of the grid."""

import pytest

from landmark.course.answers import truth_of
from landmark.course.retrieving.fitting import DevSearch, fit_search
from landmark.evaluation.metrics import global_average_precision
from landmark.retrieval.config import SearchConfig
from landmark.retrieval.embed import Embedder
from landmark.retrieval.gallery import open_gallery, open_test
from landmark.retrieval.local.features import Sift
from landmark.retrieval.recognise import Searcher
from landmark.utils.errors import InputError

CONFIG = SearchConfig(rerank=3, side=96, penalty=0.4, margin=0.3)


@pytest.mark.parametrize("local", [None, Sift()], ids=["none", "sift"])
def test_it_scores_what_a_search_answers(course, local):
    """Fails when what is fitted is not what `landmark search` does with the same settings."""
    run, data, _ = course
    embedder = Embedder(run.model(), 32)
    findings = Searcher(open_gallery(data.root), embedder, local, CONFIG, progress=False).search(open_test(data.root))
    answers = dict(
        zip(findings.ids, zip(findings.landmark.tolist(), findings.score.tolist(), strict=True), strict=True)
    )
    expected = global_average_precision(answers, truth_of(data))
    assert DevSearch(data, embedder, local, progress=False).gap(CONFIG) == pytest.approx(expected, abs=1e-6)


class World:
    """A dev world whose GAP is known."""

    def gap(self, config, share):
        return 1 - abs(config.margin - 0.75) - (config.neighbours - 3) ** 2 / 100


def test_the_best_of_each_setting_is_taken():
    """Fails when a setting is fitted without those before it, or moves without a gain."""
    grid = {"margin": (0.0, 0.75), "neighbours": (1, 3, 5), "penalty": (0.0, 1.0)}
    config, tried = fit_search([World()], SearchConfig(margin=0.0, neighbours=1), grid)
    assert (config.margin, config.neighbours, config.penalty) == (0.75, 3, SearchConfig.penalty)
    assert tried["taken"].sum() == 2 and tried["gap"].max() == 1


def test_what_cannot_be_fitted():
    """Fails when no world, or a setting that is none, is found out in a traceback."""
    with pytest.raises(InputError, match="0 dev worlds"):
        fit_search([])
    with pytest.raises(InputError, match="no setting 'luck'"):
        fit_search([World()], grid={"luck": (1,)})
