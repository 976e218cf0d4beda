"""The tables of the data set: read exactly, or refused with file and line."""

import bz2
import csv
import gzip
import io
import lzma
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from landmark.data import tables
from landmark.evaluation import submission
from landmark.utils.errors import InputError, TableError

ID = "00a1b2c3d4e5f607"
HEAD = "id,url,landmark_id\n"


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
    with pytest.raises(TableError, match=words) as caught:
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
    with pytest.raises(TableError, match="line 2"):
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
    for read in (tables.read_train, tables.read_test, tables.read_clean, tables.read_solution, submission.read_submission,
                 tables.read_categories, tables.read_hierarchy):  # fmt: skip
        with pytest.raises(TableError, match=rf"{path.name}: compressed \({kind}\): unpack it$"):
            read(path)


def test_a_packed_table_beside_its_place_is_named(put):
    """Fails when train.csv.zip is there and all that is told is that there is no train.csv."""
    path = put(zipped(b"id"))
    path.rename(path.with_name("train.csv.zip"))
    with pytest.raises(TableError, match=r"train\.csv: no such table \(unpack train\.csv\.zip\)"):
        tables.read_train(path.with_name("train.csv"))


def test_filter_by_hand():
    """Fails when the filter keeps less than its limit or drops exactly it."""
    table = pd.DataFrame({"id": list("abcdef"), "landmark_id": [7, 7, 7, 8, 8, 9]})
    assert set(tables.filter_min_images(table, 2)["landmark_id"]) == {7, 8}
    with pytest.raises(ValueError, match="3"):
        tables.filter_min_images(table, 4)


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
    with pytest.raises(TableError, match=words) as caught:
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
    with pytest.raises(TableError, match="line"):
        tables.read_hierarchy(put(HIERARCHY + row))


def test_tables_load_without_torch():
    """Fails when reading a table costs the memory of a framework."""
    code = "import sys; from landmark.data import tables; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
