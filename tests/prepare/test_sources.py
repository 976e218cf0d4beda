"""What there is to fetch: shards, splits and mirrors, written out."""

import pytest

from landmark.prepare import sources
from landmark.utils.errors import InputError


@pytest.mark.parametrize("shards", ["9-0", "a", "-1", "500", "1,,2", "1-2-3", "0x1", "99999"])
def test_bad_shards(shards):
    """Fails when a typing error fetches other TARs than those meant."""
    with pytest.raises(InputError, match="shards"):
        sources.gldv2("d", shards=shards)


def test_shards_splits_and_mirrors():
    """Fails when TARs are numbered otherwise than published, or an odd address is tried."""
    names = [i.name for i in sources.gldv2("d", shards="0,18-21,499") if i.md5_url]
    assert names == [f"train/images_{n:03}.tar" for n in (0, 18, 19, 20, 21, 499)] + [
        f"test/images_{n:03}.tar" for n in (0, 18, 19)
    ]
    assert len(sources.gldv2("d", splits=["train", "index", "test"])) == 500 + 100 + 20 + 8
    assert all(i.url.startswith("https://") for i in sources.gldv2("d") + sources.landmarks50("d"))
    for mirror in ("ftp://host", "host/folder", "file:///tmp"):
        with pytest.raises(InputError, match="not an address"):
            sources.gldv2("d", mirror=mirror)
    with pytest.raises(InputError, match="no split val"):
        sources.gldv2("d", splits=["val"])


def test_gld23k_is_checked_by_the_published_sums():
    """Fails when a table of the split goes unchecked, a TAR of another split is asked for, or 500 GB land in the data."""
    tables = {item.name: item for item in sources.gld23k("d")}
    for name, md5 in sources.GLD23K_TABLES.items():
        assert tables[name].url == f"https://storage.googleapis.com/tff-datasets-public/{name}"
        assert tables[name].md5 == md5 and len(md5) == 32 and tables[name].path.as_posix() == f"d/{name}"
    others = {name for name, item in tables.items() if item.root.name == sources.PARTS}
    assert others == tables.keys() - sources.GLD23K_TABLES.keys() and "train_attribution.csv" in others
    tars = sources.gld23k_tars("d", "3,498-499")
    assert [tar.path.as_posix() for tar in tars] == [
        f"d/gldv2-parts/train/images_{n}.tar" for n in ("003", "498", "499")
    ]
    assert all(tar.md5_url and "gld23k d --yes --shards" in tar.advice and "--splits" not in tar.advice for tar in tars)
    assert len(sources.gld23k_tars("d")) == 500
    assert not any(item.md5 for item in sources.gld23k("d", mirror="https://example.org"))


def test_numbers_are_read_as_they_were_written():
    """Fails when a list of TARs that was noted names others once it is given again."""
    for numbers in ([], [0], [3, 1, 2], [0, 2, 4], [7, 8, 10, 11, 12, 499]):
        written = sources.write_numbers(numbers)
        assert sources.read_numbers(written, 500) == (sorted(numbers) if numbers else list(range(500)))
    assert sources.write_numbers([7, 8, 10, 11, 12, 499]) == "7-8,10-12,499"
