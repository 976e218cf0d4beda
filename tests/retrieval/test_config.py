"""Settings of a search: what cannot be meant is refused, and what is searched by default is the issue of no photograph."""

import pytest

from landmark.retrieval.config import SearchConfig
from landmark.utils.errors import InputError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"neighbours": 0}, "neighbours=0: give a whole number from 1 to 1000"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"rerank": 1.5}, "rerank=1.5: give a whole number"),
        ({"penalty": float("nan")}, "penalty=nan"),
        ({"precision": 0.0}, "precision=0.0"),
        ({"geometry": "affine"}, "no geometry 'affine': choose one of fundamental, homography"),
    ],
)
def test_bad_settings_are_one_line(settings, words):
    """Fails when a setting that cannot be meant is found out only in the middle of a search."""
    with pytest.raises(InputError, match=f"^{words}[^\n]*$"):
        SearchConfig(**settings)


def test_a_threshold_may_be_any_number_or_none():
    """Fails when a negative score cannot be a threshold, or leaving it out is refused."""
    assert SearchConfig(threshold=-0.5).threshold == -0.5 and SearchConfig().threshold is None
