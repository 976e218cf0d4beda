"""The tables of the data set: read exactly, or refused with file and line."""

import bz2
import contextlib
import csv
import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark import bigtable, tables
from landmark.runtime import InputError

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


def zipped(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", data)
    return out.getvalue()


@pytest.mark.parametrize("size", [1, 3000])
@pytest.mark.parametrize(
    ("kind", "pack"),
    [("ZIP", zipped), ("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress),
     ("zstd", pa.Codec("zstd").compress)],
)  # fmt: skip
def test_a_compressed_table_is_called_so(put, monkeypatch, kind, pack, size):
    """Fails when a table that was not unpacked is called latin-1, by any reader, or by the one of large tables."""
    monkeypatch.setattr(tables, "CACHED_FROM", 50)
    text = HEAD + "".join(f"{i:016x},u{i},3\n" for i in range(size))
    path = put(bytes(pack(text.encode())))
    for read in (tables.read_train, tables.read_test, tables.read_clean, tables.read_solution, tables.read_submission,
                 tables.read_categories, tables.read_hierarchy):  # fmt: skip
        with pytest.raises(tables.TableError, match=rf"{path.name}: compressed \({kind}\): unpack it$"):
            read(path)


def test_a_packed_table_beside_its_place_is_named(put):
    """Fails when train.csv.zip is there and all that is told is that there is no train.csv."""
    path = put(zipped(b"id"))
    path.rename(path.with_name("train.csv.zip"))
    with pytest.raises(tables.TableError, match=r"train\.csv: no such table \(unpack train\.csv\.zip\)"):
        tables.read_train(path.with_name("train.csv"))


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


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A table of 900 rows that counts as large, in blocks of about 20 rows; ids as awkward as they come."""
    monkeypatch.setattr(tables, "CACHED_FROM", 0)
    monkeypatch.setattr(bigtable, "_BLOCK", 1000)
    odd = ["1234567890123e45", "0000000000000007", "null", "nan", "NaN", "007", "1e5", "-0x", "Infinity", "true"]
    ids = odd + [f"{i:015x}f" for i in range(890)]
    rows = zip(ids, ["", 'a,"b"', "ü"] * 300, np.random.default_rng(0).geometric(0.05, 900), strict=True)
    table = pd.DataFrame(rows, columns=["id", "url", "landmark_id"])
    table.to_csv(tmp_path / "train.csv", index=False)
    return tmp_path / "train.csv", table


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
    except tables.TableError as error:
        expected = str(error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigtable, "_BLOCK", block)
        with contextlib.suppress(bigtable.Unsure):
            fast = pa.concat_tables(list(bigtable.parse(path))).to_pandas()
            assert not isinstance(expected, str), f"the strict reader says {expected}"
            pd.testing.assert_frame_equal(fast, expected)
        if isinstance(expected, str):
            with pytest.raises(tables.TableError) as caught:
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
    monkeypatch.setattr(tables, "_strict", no_parsing)
    monkeypatch.setattr(bigtable, "_BLOCK", 64)
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
    monkeypatch.setattr(bigtable, "parse", no_parsing)
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
    new = pa.table({n: columns.get(n, old[n].to_pylist()) for n in old.column_names}, schema=bigtable.SCHEMA)
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
    DAMAGE[how](bigtable.Cache(path).file.path)
    pd.testing.assert_frame_equal(tables.read_train(path), table)


def test_a_bad_large_table_leaves_no_cache(cached):
    """Fails when rows from before the fault are kept, or the message has lost its line."""
    path, _ = cached
    path.write_text(path.read_text() + "0000000000000007,u,5\n")
    with pytest.raises(tables.TableError, match=r"line 902: id 0000000000000007 again \(first on line 3\)"):
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


@pytest.mark.parametrize("large", [True, False])
def test_filters_against_a_loop(cached, monkeypatch, large):
    """Fails when a filter counts other rows than those that are left, changes the order, or loads other columns."""
    path, table = cached
    monkeypatch.setattr(tables, "CACHED_FROM", 0 if large else 2**40)
    listed = table[table.index % 3 > 0]
    clean = path.parent / "train_clean.csv"
    joined = listed.groupby("landmark_id")["id"].agg(" ".join).rename("images").reset_index()
    joined.to_csv(clean, index=False)
    for least, use_clean, only in [(20, None, None), (20, clean, None), (1, clean, [2, 3, 500]), (25, None, {1, 4})]:
        rows = [r for r in table.itertuples(index=False) if use_clean is None or r.id in set(listed["id"])]
        sizes = {k: sum(r.landmark_id == k for r in rows) for k in set(table["landmark_id"])}
        rows = [r for r in rows if sizes[r.landmark_id] >= least and (only is None or r.landmark_id in only)]
        found = tables.read_train(
            path, min_images=least, clean=use_clean, landmarks=only, columns=("landmark_id", "id")
        )
        assert found.columns.tolist() == ["landmark_id", "id"]
        assert found["id"].tolist() == [r.id for r in rows]
        assert found["landmark_id"].tolist() == [r.landmark_id for r in rows] and rows
    assert tables.filter_min_images(table, 20)["id"].tolist() == tables.read_train(path, min_images=20)["id"].tolist()


def test_nothing_left_is_said(cached):
    """Fails when an empty table is returned, to break something else later."""
    path, table = cached
    with pytest.raises(InputError, match=r"0 images left after filter min_images=901: the largest landmark has \d+"):
        tables.read_train(path, min_images=901)
    with pytest.raises(InputError, match="0 images left of the 2 landmarks"):
        tables.read_train(path, landmarks=[10**6, 10**7])
    largest = np.array([2**63 - 1, 5, 2**63 - 1])
    assert (
        tables.filter_min_images(pd.DataFrame({"landmark_id": largest}), 2)["landmark_id"].tolist() == [2**63 - 1] * 2
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("landmark_id,images\n", "no rows"),
        ("landmark_id,images\n3,\n", "line 2: landmark_id 3 has no images"),
        ("landmark_id,images\n3,007 007\n", "line 2: id 007 again"),
        ("landmark_id,images\n3,007\n4,nan 007\n", "line 3: id 007 again"),
        ("landmark_id,images\n3,007\n3,nan\n", "line 3: landmark_id 3 again"),
        ("landmark_id,images\n3,007 ../x\n", "line 2: id '../x'"),
        ("landmark_id,images\nx,007\n", "line 2: landmark_id 'x'"),
        ("landmark_id,images\n3,unknown1 unknown2\n", "2 ids are not in .*train.csv, such as unknown1, unknown2"),
        ("landmark_id,images\n99999,007\n", "1 ids have another landmark .* such as 007: 99999, not"),
    ],
)  # fmt: skip
def test_bad_clean_lists_are_refused(cached, put, text, words):
    """Fails when a clean list of another release, or a damaged one, goes through."""
    clean = put(text, "train_clean.csv")
    with pytest.raises(tables.TableError, match=words) as caught:
        tables.read_train(cached[0], clean=clean)
    assert str(clean) in str(caught.value) and "\n" not in str(caught.value)


def test_the_largest_clean_landmark(put):
    """Fails when a cell of 10,000 ids is over a limit of the csv module, or that limit stays changed."""
    csv.field_size_limit(131_072)
    ids = [f"{i:016x}" for i in range(10_000)]
    table = tables.read_clean(put(f"landmark_id,images\n5,{' '.join(ids)}\n6,{ID}\n"))
    assert table["id"].tolist() == [*ids, ID] and table["landmark_id"].tolist() == [5] * 10_000 + [6]
    assert csv.field_size_limit() == 131_072


HIERARCHY = "landmark_id,category,supercategory,hierarchical_label,natural_or_human_made\n"


def test_names(put, tmp_path):
    """Fails when a name loses its script, keeps a line break, or a missing table stops the others."""
    assert tables.label_names(tmp_path).empty
    wiki = "http://commons.wikimedia.org/wiki/Category:"
    put(f"landmark_id,category\n7,{wiki}Saint-%C3%89tienne_(Caen)\n2,{wiki}%E6%B8%85%E6%B0%B4%E5%AF%BA\n"
        f'5,"{wiki}<b>A,_B%0AC%1b[0m</b>"\n', "train_label_to_category.csv")  # fmt: skip
    names = tables.label_names(tmp_path)
    assert names.to_dict() == {"name": {2: "清水寺", 5: "<b>A, B C [0m</b>", 7: "Saint-Étienne (Caen)"}}
    put(f"{HIERARCHY}7,{wiki}Saint-%C3%89tienne_(Caen),Church,church,human-made\n9,{wiki}Lac:Bleu,,lake,natural\n",
        "train_label_to_hierarchical.csv")  # fmt: skip
    names = tables.label_names(tmp_path)
    assert names.index.tolist() == [2, 5, 7, 9] and names.index.name == "landmark_id"
    assert names.loc[7].tolist() == ["Saint-Étienne (Caen)", "human-made", "Church"]
    assert names.loc[9].tolist() == ["Lac:Bleu", "natural", ""] and names.loc[2].tolist() == ["清水寺", "", ""]
    (tmp_path / "train_label_to_category.csv").unlink()
    assert tables.label_names(tmp_path)["name"].to_dict() == {7: "Saint-Étienne (Caen)", 9: "Lac:Bleu"}


@pytest.mark.parametrize("row", ["7,c,s,h\n", "7,c,s,h,n\n7,c,s,h,n\n", "1.5,c,s,h,n\n"])
def test_bad_hierarchies_are_refused(put, row):
    """Fails when a landmark gets two names, or a shifted row gives it another one's."""
    with pytest.raises(tables.TableError, match="line"):
        tables.read_hierarchy(put(HIERARCHY + row))


def test_tables_load_without_torch():
    """Fails when reading a table costs the memory of a framework."""
    code = "import sys; from landmark import tables; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
