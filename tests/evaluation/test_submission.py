"""Submissions: written and read back, refused with file and line, never half written."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark.evaluation import submission
from landmark.utils.errors import TableError

ID = "00a1b2c3d4e5f607"


@pytest.mark.parametrize("cell", ["3", "x 0.5", "3 half", "3 nan", "3 0.5 4", "-1 0.5"])
def test_bad_submission_cells(put, cell):
    """Fails when a prediction without a score, or with one that cannot be ranked, goes through."""
    with pytest.raises(TableError, match="line 2"):
        submission.read_submission(put(f"id,landmarks\n{ID},{cell}\n"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.none() | st.tuples(st.integers(0, 2**40), st.floats(allow_nan=False, allow_infinity=False)), max_size=12
    )
)
def test_submission_round_trip(tmp_path_factory, answers):
    """Fails when a score loses digits, or an image without a prediction gets one."""
    path = tmp_path_factory.mktemp("s") / "s.csv"
    ids = [f"{i:016x}" for i in range(len(answers))]
    if not ids:
        return
    submission.write_submission(path, ids, [a and a[0] for a in answers], [a and a[1] for a in answers])
    back = submission.read_submission(path)
    assert back["id"].tolist() == ids
    found = [None if pd.isna(k) else (int(k), s) for k, s in zip(back["landmark_id"], back["score"], strict=True)]
    assert found == answers


def test_a_bad_submission_is_not_half_written(tmp_path):
    """Fails when a NaN score is written, or leaves a truncated file over a good one."""
    path = tmp_path / "s.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="b"):
        submission.write_submission(path, ["a" * 16, "b" * 16], [1, 2], [0.5, float("nan")])
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["s.csv"]
