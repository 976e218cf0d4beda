"""The tables of the data set: read exactly, or refused with file and line."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark import tables

ID = "00a1b2c3d4e5f607"
HEAD = "id,url,landmark_id\n"


@pytest.fixture
def put(tmp_path):
    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_ids_stay_text(put):
    """Fails when an id is read as a number: 0012e45 is not 12·10^45, and leading zeros count."""
    ids = ["0000000000000012", "00000000000012e4", "7777777777777777"]
    table = tables.read_train(put(HEAD + "".join(f"{i},u,3\n" for i in ids)))
    assert table["id"].tolist() == ids and table["landmark_id"].tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "required: id,url,landmark_id"),
        (HEAD, "no rows"),
        ("id,landmark\n" + ID + ",3\n", "required"),
        (HEAD + f"{ID},u,3\n{ID},u,4\n", "line"),
        (HEAD + f"{ID},u,three\n", "line 2"),
        (HEAD + f"{ID},u,3.0\n", "line 2"),
        (HEAD + f"{ID},u,-3\n", "line 2"),
        (HEAD + f"{ID},u,\n", "line 2"),
        (HEAD + f"{ID},u,99999999999999999999\n", "line 2"),
        (HEAD + f"{ID},u\n", "line 2"),
        (HEAD + f"{ID},u,3,4\n", "line 2"),
        (HEAD + "../../etc/passwd,u,3\n", "line 2"),
        (HEAD + f'{ID},"u,3\n', "line"),
        ((HEAD + f"{ID},u,3\n").encode("utf-16"), "UTF-8"),
        (HEAD.encode() + b"\xff\xfe,u,3\n", "UTF-8"),
        (HEAD + f"{ID},u\0,3\n", "NUL"),
    ],
)  # fmt: skip
def test_bad_train_tables_are_refused(put, text, words):
    """Fails when a row is guessed, shifted or dropped instead of named."""
    path = put(text)
    with pytest.raises(tables.TableError, match=words) as caught:
        tables.read_train(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_harmless_forms_are_read(put):
    """Fails when a byte order mark, Windows line ends, a blank last line or another column order is refused."""
    text = f"\ufefflandmark_id,id,url\r\n3,{ID},u\r\n\r\n"
    assert tables.read_train(put(text)).loc[0, "landmark_id"] == 3


def test_solution(put):
    """Fails when an empty cell is a missing value instead of no landmark, or several landmarks become one."""
    rows = "id,landmarks,Usage\naaaaaaaaaaaaaaaa,,Public\nbbbbbbbbbbbbbbbb,3 5,Private\n"
    table = tables.read_solution(put(rows))
    assert [tuple(x) for x in table["landmarks"]] == [(), (3, 5)] and table["Usage"].tolist() == ["Public", "Private"]
    with pytest.raises(tables.TableError, match="line 2"):
        tables.read_solution(put("id,landmarks,Usage\naaaaaaaaaaaaaaaa,3,Secret\n"))


@pytest.mark.parametrize("cell", ["3", "x 0.5", "3 half", "3 nan", "3 0.5 4", "-1 0.5"])
def test_bad_submission_cells(put, cell):
    """Fails when a prediction without a score, or with one that cannot be ranked, goes through."""
    with pytest.raises(tables.TableError, match="line 2"):
        tables.read_submission(put(f"id,landmarks\n{ID},{cell}\n"))


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
    tables.write_submission(path, ids, [a and a[0] for a in answers], [a and a[1] for a in answers])
    back = tables.read_submission(path)
    assert back["id"].tolist() == ids
    found = [None if pd.isna(k) else (int(k), s) for k, s in zip(back["landmark_id"], back["score"], strict=True)]
    assert found == answers


def test_a_bad_submission_is_not_half_written(tmp_path):
    """Fails when a NaN score is written, or leaves a truncated file over a good one."""
    path = tmp_path / "s.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="b"):
        tables.write_submission(path, ["a" * 16, "b" * 16], [1, 2], [0.5, float("nan")])
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["s.csv"]


def test_filter_by_hand():
    """Fails when the filter keeps less than its limit or drops exactly it."""
    table = pd.DataFrame({"id": list("abcdef"), "landmark_id": [7, 7, 7, 8, 8, 9]})
    assert set(tables.filter_min_images(table, 2)["landmark_id"]) == {7, 8}
    with pytest.raises(ValueError, match="3"):
        tables.filter_min_images(table, 4)
