"""One rule of an image id for tables, paths, TARs and archives; a CSV is read as it is, or refused with its line."""

import re

import pytest

from landmark.data.csv.strict import is_image_id, parse_landmark_id, parse_unique_landmarks, read_strict
from landmark.data.csv.train import _ID_BYTES
from landmark.data.tar_index import MEMBER
from landmark.utils.errors import TableError

GOOD = ["abc", "0123456789abcdef", "A-_z", "-_-", "x" * 64]
BAD = ["", "ab", "x" * 65, "abc.", "a/bc", "../x", "abc\n", "abc ", "ab\u00e9", "ab\u212a", "abc\0"]


@pytest.mark.parametrize("text", GOOD + BAD, ids=ascii)
def test_every_reader_has_the_same_rule(text):
    """Fails when a table lets an id through that a TAR passes over, or one that leads out of the folder."""
    sound = text in GOOD
    assert is_image_id(text) == sound
    member = "/".join([*text[:3], text]) + ".jpg"
    assert (MEMBER.fullmatch(member) is not None) == sound
    assert (3 <= len(text) <= 64 and not text.encode().translate(None, _ID_BYTES)) == sound


def test_the_letters_are_those_of_the_rule():
    """Fails when the fast reader of large tables knows other letters than the strict one."""
    assert _ID_BYTES == bytes(code for code in range(256) if re.match(r"[\w-]", chr(code), re.ASCII))


def test_cells_come_with_their_lines(tmp_path):
    """Fails when a quoted line break shifts the lines below it, or another order of columns the cells."""
    (tmp_path / "t.csv").write_text('b,a\n"1\n2",x\n\n3,y\n')
    assert read_strict(tmp_path / "t.csv", ("a", "b")) == ([3, 5], {"a": ["x", "y"], "b": ["1\n2", "3"]})
    (tmp_path / "t.csv").write_text("a,b\n1\n")
    with pytest.raises(TableError, match="line 2: 1 fields, expected 2"):
        read_strict(tmp_path / "t.csv", ("a", "b"))


@pytest.mark.parametrize("cell", ["-1", "1.0", "1e3", " 1", "²", "", str(2**63)])
def test_landmark_ids_are_whole_numbers(cell):
    """Fails when Python's own spellings of a number, or one that wraps round in 64 bits, is a landmark."""
    with pytest.raises(TableError, match="t.csv: line 7: landmark_id"):
        parse_landmark_id("t.csv", 7, cell)
    assert parse_landmark_id("t.csv", 7, str(2**63 - 1)) == 2**63 - 1


def test_a_landmark_given_twice_names_both_lines():
    """Fails when 1 and 01 are two landmarks, or the first line is not told."""
    with pytest.raises(TableError, match=r"line 4: landmark_id 01 again \(first on line 2\)"):
        parse_unique_landmarks("t.csv", [2, 4], ["1", "01"])
