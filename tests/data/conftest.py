"""Tables large enough for a cache."""

import numpy as np
import pandas as pd
import pytest

from landmark.data import tables, train_csv


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
