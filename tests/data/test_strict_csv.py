"""What is an image id: one rule for tables, paths, TARs and archives."""

import re

import pytest

from landmark.data.strict_csv import is_image_id
from landmark.data.tar_index import MEMBER
from landmark.data.train_csv import _ID_BYTES

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
