"""Tables large enough for a cache, images in TARs."""

import numpy as np
import pandas as pd
import pytest

from landmark.data import tables
from landmark.data.csv import train as train_csv
from tests.tars import member, pictures, write_tar


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A table of 900 rows that counts as large, in blocks of about 20 rows; ids as awkward as they come."""
    monkeypatch.setattr(tables, "CACHED_FROM", 0)
    monkeypatch.setattr(train_csv, "_BLOCK", 1000)
    odd = ["1234567890123e45", "0000000000000007", "null", "nan", "NaN", "007", "1e5", "-0x", "Infinity", "true"]
    ids = odd + [f"{i:015x}f" for i in range(890)]
    rows = zip(ids, ["", 'a,"b"', "ü"] * 300, np.random.default_rng(0).geometric(0.05, 900), strict=True)
    table = pd.DataFrame(rows, columns=["id", "url", "landmark_id"])
    table.to_csv(tmp_path / "train.csv", index=False)
    return tmp_path / "train.csv", table


@pytest.fixture
def data(tmp_path):
    """Thirty images in three TARs, and what they hold."""
    held = pictures(30)
    names = sorted(held)
    for i in range(3):
        write_tar(
            tmp_path / f"d/train/images_{i:03d}.tar",
            {member(n): held[n] for n in np.random.default_rng(i).permutation(names[i::3])},
        )
    return tmp_path / "d", held
