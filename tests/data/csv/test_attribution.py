"""Credits: the rows of a table that was written by thousands of people, and lines that name author and licence."""

import pytest

from landmark.data.csv.attribution import ATTRIBUTION, credit_lines, licence_name, read_attribution
from landmark.utils.errors import TableError

A, B, C = ("a" * 16, "b" * 16, "c" * 16)
HEAD = "id,url,author,license,title\n"
ROWS = (
    f'{A},https://example.org/wiki/File:Dom.jpg,"Ada ""A"", of Cologne",https://creativecommons.org/licenses/by-sa/3.0/de/,'
    "File:Kölner  Dom.jpg\n"
    f'{B},https://example.org/b,"Ben\nof two lines",Public domain,"A ""tower"", at night.JPG"\n'
    "short,row\n"
    f"{C},https://example.org/c,,,\n"
)


def test_rows_of_the_images_that_are_asked_for(put):
    """Fails when a quoted comma or line end shifts a row, a row that is cut ends the page, or another image is named."""
    table = read_attribution(put("\ufeff" + HEAD + ROWS), [C, B, "d" * 16, "short"])
    assert table["id"].tolist() == [B, C] and table.loc[0, "author"] == "Ben\nof two lines"
    assert table.loc[0, "title"] == 'A "tower", at night.JPG' and table.loc[1, "author"] == ""
    assert read_attribution(put(HEAD + ROWS + ROWS), [A])["id"].tolist() == [A]


@pytest.mark.parametrize("text", ["", "id,url,landmark_id\n", f"{A},https://example.org,x,y,z\n"])
def test_another_table(put, text):
    """Fails when columns are guessed, or an empty file ends in a traceback."""
    with pytest.raises(TableError, match="required: id,url,author,license,title"):
        read_attribution(put(text), [A])


def test_no_table(tmp_path):
    """Fails when a table that is not there is a traceback."""
    with pytest.raises(TableError, match=r"gone\.csv"):
        read_attribution(tmp_path / "gone.csv", [A])


def test_lines_number_the_pictures_of_the_figure(put, tmp_path):
    """Fails when a line has another picture's number, an image without a row is credited, or a world without a table."""
    assert credit_lines(tmp_path, [A, B]) == []
    put(HEAD + ROWS, ATTRIBUTION)
    assert credit_lines(tmp_path, [C, "d" * 16, A, B, A]) == [
        "1. https://example.org/c: author not named, licence not named",
        '3. Kölner Dom: Ada "A", of Cologne, CC BY-SA 3.0 DE',
        '4. A "tower", at night: Ben of two lines, Public domain',
        '5. Kölner Dom: Ada "A", of Cologne, CC BY-SA 3.0 DE',
    ]
    assert credit_lines(tmp_path, ["d" * 16]) == []


@pytest.mark.parametrize(
    ("licence", "name"),
    [
        ("http://creativecommons.org/licenses/by/2.0", "CC BY 2.0"),
        ("https://creativecommons.org/licenses/by-sa/4.0/deed.en", "CC BY-SA 4.0"),
        ("CC-BY-SA-3.0\n", "CC-BY-SA-3.0"),
        ("", "licence not named"),
    ],
)
def test_names_of_licences(licence, name):
    """Fails when version or share-alike is lost, or a text that is no address is taken for one."""
    assert licence_name(licence) == name
