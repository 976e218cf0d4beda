"""What the command shows as defaults of preparing data: plain values that load at once."""

from __future__ import annotations

SPLITS = ("train", "index", "test")  # of GLDv2
QUALITY = 85  # of the JPEGs of a reduced data set
