"""What subsets share: tables of others are left alone, credits are those of the folder's images."""

import pytest

from landmark.data.csv.attribution import read_attribution
from landmark.prepare import sources
from landmark.prepare.download import fetch_data
from landmark.prepare.subsets import layout
from landmark.utils.errors import InputError


def test_a_table_of_another_data_set(tmp_path):
    """Fails when a table that differs is overwritten, or one that is the same is refused."""
    mine = {"test.csv": layout.table_text(["id"], [("aaaa",), ("bbbb",)])}
    layout.write_tables(tmp_path, mine)
    assert (tmp_path / "test.csv").read_bytes() == b"id\naaaa\nbbbb\n"
    layout.check_tables(tmp_path, mine | {"train.csv": "absent"})
    with pytest.raises(InputError, match=r"test\.csv: a table of another data set"):
        layout.check_tables(tmp_path, {"test.csv": "id\naaaa\n"})


def test_debris_alone_is_swept(tmp_path):
    """Fails when a leftover stays, or a file of the data goes with it."""
    names = ("train.csv", ".train.csv.00aa.part", "train/a/b/c/abc.jpg", "train/a/b/c/.abc.jpg.00aa.part")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    layout.sweep(tmp_path)
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()} == set(names[::2])


def test_credits_of_a_folder(mirror, tmp_path, log_lines):
    """Fails when authors of other images are kept, the large table stays, or it is fetched a second time."""
    data = tmp_path / "d"
    fetch_data(sources.landmarks50(data, mirror=mirror.url), yes=True, progress=False)
    fetch_data(sources.attribution(data, mirror=mirror.url), yes=True, progress=False)
    ids = [line.split(",")[0] for name in ("train.csv", "test.csv") for line in (data / name).read_text().split()[1:]]
    kept = (data / "train_attribution.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in kept[1:]} == set(ids) and len(kept) == 1 + len(ids)
    whole = read_attribution(mirror.folder / "metadata/train_attribution.csv", ids)
    assert read_attribution(data / "train_attribution.csv", ids).equals(whole)
    assert not (data / layout.PARTS).exists() and f"of {len(ids)} of {len(ids)} images" in "\n".join(log_lines)
    assert sources.attribution(data, mirror=mirror.url) == []
