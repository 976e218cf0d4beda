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
    assert len(sources.gldv2("d", splits=["train", "index", "test"])) == 500 + 100 + 20 + 7
    assert all(i.url.startswith("https://") for i in sources.gldv2("d") + sources.landmarks50("d"))
    for mirror in ("ftp://host", "host/folder", "file:///tmp"):
        with pytest.raises(InputError, match="not an address"):
            sources.gldv2("d", mirror=mirror)
    with pytest.raises(InputError, match="no split val"):
        sources.gldv2("d", splits=["val"])
