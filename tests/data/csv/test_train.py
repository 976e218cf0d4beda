"""The fast reader of a large train.csv, against the strict one; its cache, against the file."""

import contextlib
import csv
import io
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark.data import tables
from landmark.data.csv import train as train_csv
from landmark.evaluation import submission
from landmark.utils.errors import TableError

ID = "00a1b2c3d4e5f607"
HEAD = "id,url,landmark_id\n"


def no_parsing(*arguments):
    raise AssertionError("parsed again")


URLS = ["", "u", "a,b", "x\ny", "x\r\ny", 'q"q', '"', "ü", " ", "\ufeff", "NA", "\r"]
ODD = ["ab", "a b", "ü-ü", "null", "-1", "007", "+7", " 7", "7.0", "0x7", "1e3", "٣", "9" * 19, "9" * 18, "0" * 16, ""]
BYTES = [b'"', b'""', b",", b"\n", b"\r", b"\n\n", b" \n", b"\0", b"\xff", b"\xef\xbb\xbf", b" ", b"7", b""]


@settings(max_examples=400, deadline=None)
@given(
    urls=st.lists(st.sampled_from(URLS), max_size=12),
    odd=st.lists(st.tuples(st.integers(0, 11), st.sampled_from([0, 2]), st.sampled_from(ODD)), max_size=1),
    order=st.permutations([0, 1, 2]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    damage=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(BYTES)), max_size=1),
    block=st.integers(1, 120),
)
def test_fast_and_strict_agree(urls, odd, order, quoting, end, bom, damage, block):
    """Fails when the fast reader takes what the strict one refuses, or reads a cell differently, at any block size."""
    rows = [["id", "url", "landmark_id"], *([f"{i:016x}", url, str(i // 3)] for i, url in enumerate(urls))]
    for row, column, cell in odd:
        rows[1 + row % len(urls) if urls else 0][column] = cell
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator=end).writerows([row[k] for k in order] for row in rows)
    raw = b"\xef\xbb\xbf" * bom + text.getvalue().encode()
    for place, extra in damage:
        place %= len(raw) + 1
        raw = raw[:place] + extra + raw[place + (not extra) :]
    with tempfile.TemporaryDirectory() as folder:
        agree(Path(folder, "train.csv"), raw, block)


def agree(path, raw, block):
    """Write a table and read it in every way: the same values, or the same words."""
    path.write_bytes(raw)
    try:
        expected = tables._strict_train(path).to_pandas()
    except TableError as error:
        expected = str(error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_csv, "_BLOCK", block)
        with contextlib.suppress(train_csv.UnsureError):
            fast = pa.concat_tables(list(train_csv.parse(path))).to_pandas()
            assert not isinstance(expected, str), f"the strict reader says {expected}"
            pd.testing.assert_frame_equal(fast, expected)
        if isinstance(expected, str):
            with pytest.raises(TableError) as caught:
                tables.read_train(path)
            assert str(caught.value) == expected
        else:
            pd.testing.assert_frame_equal(tables.read_train(path), expected)


@pytest.mark.parametrize("block", [1, 10, 1000])
@pytest.mark.parametrize(
    "rows",
    [
        '\n\n', 'aaa,"u"x,3\n', 'aaa,"u" ,3\n', 'aaa,u"x,3\n', 'aaa, "u",3\n', 'aaa,"u,3\n', 'aaa,"u""",3', '"aaa","","3"', 'aaa,"x\r\ny",3\n',
        "aaa,u,3\n\ufeffbbb,u,3\n", "aaa,u,3\rbbb,u,3\r", "aaa,u,3\r\r\n", "aaa,u,3\n \nbbb,u,3\n", "aaa,u,3\n\n\n\nbbb,u,3\n\n",
        "aaa,u,3\n   ", "aa,u,3\n", "a" * 65 + ",u,3\n", "aaa,u,\n", "aaa,u,00000000000000000003\n", "aaa,u,9223372036854775807\n",
        "aaa,u,9223372036854775808\n", b"aaa,\xff,3\n", b"aaa,\xed\xa0\x80,3\n", "aaa,u,3\naab,u,3\naaa,u,3\n", "aaa,u,3,\n", "aaa,3\n",
    ],
)  # fmt: skip
def test_hard_cases_agree(tmp_path, rows, block):
    """Fails when one of the forms on which CSV readers differ is judged by the lenient one."""
    agree(tmp_path / "train.csv", HEAD.encode() + (rows if isinstance(rows, bytes) else rows.encode()), block)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_usual_forms_are_fast(tmp_path, monkeypatch, end, bom, quoting):
    """Fails when a form that real tables have is left to the slow reader: quoted urls, CRLF, BOM, blank last lines."""
    monkeypatch.setattr(tables, "read_strict", no_parsing)
    monkeypatch.setattr(submission, "read_strict", no_parsing)
    monkeypatch.setattr(train_csv, "_BLOCK", 64)
    rows = [(f"{i:016x}", ["u", "a,b", 'q"ü', ""][i % 4], i) for i in range(40)]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        file.write(bom)
        csv.writer(file, quoting=quoting, lineterminator=end).writerows([("id", "url", "landmark_id"), *rows])
        file.write(end * 100)
    assert list(tables.read_train(tmp_path / "t.csv").itertuples(index=False, name=None)) == rows


def test_the_cache_gives_the_same_table(cached, monkeypatch):
    """Fails when an id changes on its way through Parquet, or the table is parsed at every load."""
    path, table = cached
    first = tables.read_train(path)
    monkeypatch.setattr(train_csv, "parse", no_parsing)
    again = tables.read_train(path)
    for found in (first, again):
        pd.testing.assert_frame_equal(found, table)
    assert again["id"].map(type).eq(str).all() and again["landmark_id"].dtype == "int64"


def test_small_tables_leave_no_cache(put, tmp_path):
    """Fails when a miniature world gets files that are not its own."""
    tables.read_train(put(HEAD + f"{ID},u,3\n"))
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_an_edited_table_is_read_anew(cached):
    """Fails when the cache outlives its table, even one of the same length."""
    path, _ = cached
    tables.read_train(path)
    found = path.stat()
    path.write_bytes(path.read_bytes().replace(b"1234567890123e45", b"1234567890123e46"))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert tables.read_train(path)["id"][0] == "1234567890123e46"


def planted(cache, **columns):
    """Rewrite a cache with other values under its own stamp."""
    old = pq.read_table(cache)
    new = pa.table({n: columns.get(n, old[n].to_pylist()) for n in old.column_names}, schema=train_csv.SCHEMA)
    pq.write_table(new.replace_schema_metadata(old.schema.metadata), cache)


DAMAGE = {
    "empty": lambda cache: cache.write_bytes(b""),
    "cut": lambda cache: cache.write_bytes(cache.read_bytes()[:-100]),
    "flipped byte": lambda cache: cache.write_bytes(cache.read_bytes().replace(b"null", b"nulk")),
    "other columns": lambda cache: pq.write_table(pa.table({"id": ["abc"]}), cache),
    "no stamp": lambda cache: pq.write_table(pq.read_table(cache).replace_schema_metadata(None), cache),
    "path as id": lambda cache: planted(cache, id=["../../../etc/passwd"] * 900),
    "a folder": lambda cache: (cache.unlink(), cache.mkdir()),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_cache_is_made_again(cached, how):
    """Fails when a flipped byte, a cut file or a planted one is believed, or ends the load."""
    path, table = cached
    tables.read_train(path)
    DAMAGE[how](train_csv.Cache(path).file.path)
    pd.testing.assert_frame_equal(tables.read_train(path), table)


def test_a_bad_large_table_leaves_no_cache(cached):
    """Fails when rows from before the fault are kept, or the message has lost its line."""
    path, _ = cached
    path.write_text(path.read_text() + "0000000000000007,u,5\n")
    with pytest.raises(TableError, match=r"line 902: id 0000000000000007 again \(first on line 3\)"):
        tables.read_train(path)
    assert not [p for p in path.parent.rglob("*") if p.is_file() and p != path]


def test_a_read_only_folder_is_left_as_it_is(cached, monkeypatch, tmp_path_factory):
    """Fails when a cache is written into a read-only data set, or a table cannot be read for want of one."""
    path, table = cached
    elsewhere = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("LANDMARK_DATA", str(elsewhere))
    path.parent.chmod(0o555)
    try:
        pd.testing.assert_frame_equal(tables.read_train(path), table)
        assert list(path.parent.iterdir()) == [path] and len(list(elsewhere.rglob("train.parquet"))) == 1
        shutil.rmtree(elsewhere)
        elsewhere.write_text("not a folder")
        pd.testing.assert_frame_equal(tables.read_train(path), table)
    finally:
        path.parent.chmod(0o755)


def test_many_readers_at_once(cached):
    """Fails when readers that all find no cache disturb each other's."""
    path, table = cached
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(tables.read_train, [path] * 8):
            pd.testing.assert_frame_equal(found, table)
