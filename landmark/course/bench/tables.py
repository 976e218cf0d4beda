"""How fast the train table is read at its full size, against the plain pandas way, measured side by side."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from landmark.data import tables
from landmark.data.csv.train import Cache
from landmark.utils.errors import InputError
from landmark.utils.files import atomic_path

ROWS, LANDMARKS, MIN_IMAGES = 4_132_914, 203_094, 100
_SIZES: list[tuple[float, float]] = [  # rank of a landmark, images
    (1, 10_000), (30, 1200), (500, 330), (6512, 100), (60_000, 17), (LANDMARKS, 2.7),
]  # fmt: skip
_TAIL = np.log(_SIZES)
_WORDS = "Church Castle Bridge Tower Palace Temple Museum Abbey Fort Lake Station Old Saint North Grand Royal".split()
_PLACES = "Delhi K%C3%B6ln Lyon Kyoto Lima Oslo Krak%C3%B3w Cairo Austin Perth %E4%BA%AC%E9%83%BD Siena".split()
_PREFIX = "https://upload.wikimedia.org/wikipedia/commons/"
_SLICE = 1 << 18
_CHILD = "import sys; from landmark.course.bench import tables; tables.measure(sys.argv[1], sys.argv[2])"


def _plain(path: Path) -> pd.DataFrame:
    """Read the table as it is usually written: nothing is checked, and an id may become a number."""
    train = pd.read_csv(path)
    sizes = train["landmark_id"].value_counts()
    return train[train["landmark_id"].isin(sizes[sizes >= MIN_IMAGES].index)]


_COLUMNS = ("id", "landmark_id")  # what training reads
_WAYS = {
    "plain": _plain,
    "first": lambda path: tables.read_train(path, min_images=MIN_IMAGES, columns=_COLUMNS),
    "later": lambda path: tables.read_train(path, min_images=MIN_IMAGES, columns=_COLUMNS),
    "later_with_url": lambda path: tables.read_train(path, min_images=MIN_IMAGES),
}


def landmark_sizes(rows: int, landmarks: int) -> np.ndarray:
    """Compute how many images each landmark has, largest first, in the shape of GLDv2's long tail; they sum to `rows`.

    >>> sizes = landmark_sizes(4_132_914, 203_094)
    >>> int(sizes.sum()), int(sizes[0]), int((sizes >= 100).sum())
    (4132914, 10411, 6889)
    """
    if not 1 <= landmarks <= rows:
        raise InputError(f"{rows} rows of {landmarks} landmarks: give at least one landmark, and a row for each")
    rank = (np.arange(landmarks) + 0.5) * LANDMARKS / landmarks
    share = np.exp(np.interp(np.log(rank), *_TAIL.T)) - 1
    ends = np.cumsum(share) / share.sum() * (rows - landmarks)  # one image each, the others in proportion
    sizes = 1 + np.diff(np.round(ends), prepend=0).astype(np.int64)
    return np.sort(sizes)[::-1]


def _hexadecimal(numbers: np.ndarray) -> pa.Array:
    """Write each 64-bit number as 16 characters."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    octets = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    text = np.stack([digits[octets >> 4], digits[octets & 15]], axis=2)  # (n, 8, 2)
    offsets = np.arange(0, 16 * len(numbers) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def generate_train(path: str | Path, rows: int = ROWS, landmarks: int = LANDMARKS, seed: int = 0) -> Path:
    """Write a train.csv in the shape of GLDv2's: random ids, urls of a file server, a long tail, rows in any order.

    Raises:
        InputError: fewer rows than landmarks.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.permutation(landmarks), landmark_sizes(rows, landmarks))
    rng.shuffle(labels)
    numbers = rng.integers(0, 2**64, rows, dtype=np.uint64)  # that two are equal has a chance of 5e-7 at full size
    words, places = pa.array(_WORDS), pa.array(_PLACES)
    bar = tqdm(total=rows, unit="row", unit_scale=True, desc=f"write {Path(path).name}", leave=False, delay=1)
    with atomic_path(path) as part, part.open("wb") as file, bar:
        file.write(b"id,url,landmark_id\n")
        for start in range(0, rows, _SLICE):
            ids, label = _hexadecimal(numbers[start : start + _SLICE]), labels[start : start + _SLICE]
            quoted = pa.array(rng.random(len(ids)) < 0.01)
            first, second, third = (words.take(pa.array(rng.integers(0, len(words), len(ids)))) for _ in range(3))
            place, year = places.take(pa.array(label % len(places))), pc.cast(pa.array(1950 + label % 70), pa.string())
            name = pc.binary_join_element_wise(first, second, third, place, "_")
            name = pc.binary_join_element_wise(
                name, pc.if_else(quoted, ",_", "_"), year, pc.utf8_slice_codeunits(ids, 8, 12), ""
            )
            folder = pc.binary_join_element_wise(
                pc.utf8_slice_codeunits(ids, 0, 1), pc.utf8_slice_codeunits(ids, 0, 2), "/"
            )
            url = pc.binary_join_element_wise(_PREFIX, folder, "/", name, ".jpg", "")
            url = pc.if_else(quoted, pc.binary_join_element_wise('"', url, '"', ""), url)
            row = pc.binary_join_element_wise(ids, url, pc.cast(pa.array(label), pa.string()), ",")
            file.write(pc.binary_join_element_wise(row, "\n", "").buffers()[2])  # the rows' text, end to end
            bar.update(len(ids))
    return Path(path)


def _peak_gib() -> float:
    """Read the most memory this process has held; on Linux its own figure, for `ru_maxrss` counts the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def measure(way: str, path: str) -> None:
    """Load a table in one of the ways and print seconds, peak memory and what is left, as JSON.

    The seconds are those of the load alone: interpreter and imports, the same for every way, are over by then.
    """
    start = time.perf_counter()
    train = _WAYS[way](Path(path))
    seconds = time.perf_counter() - start
    counts = {"kept_rows": len(train), "kept_landmarks": train["landmark_id"].nunique()}
    print(json.dumps({"seconds": seconds, "peak_gib": _peak_gib()} | counts))


def _measured(way: str, path: Path) -> dict:
    """Run `measure` in a process of its own."""
    command = [sys.executable, "-c", _CHILD, way, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    if done.returncode:
        raise InputError(f"{way}: the measurement failed: {(done.stderr.splitlines() or ['killed'])[-1]}")
    return json.loads(done.stdout)


def bench_tables(rows: int = ROWS, repeats: int = 5, seed: int = 0, progress: bool = True) -> dict:
    """Measure time and memory of reading a train table of GLDv2's shape, filtered to landmarks of 100 images and more.

    Three ways, each in its own process, in turn: `plain` (pandas: read_csv, value_counts, isin), `first` (ours with
    every check, without a cache) and `later` (ours from the cache); `later_with_url` loads the column that training
    does not need. Seconds leave out interpreter and imports; peaks are of the whole process. Seconds are medians over
    the repeats, spreads are largest minus smallest, peaks the largest.

    Args:
        rows: of the table; landmarks in proportion.
        repeats: of each way.
        seed: of the table.
        progress: show a bar.

    Returns:
        `plain_seconds`, `first_seconds`, `later_seconds`, their `…_spread` and `peak_…_gib`, `ratio_first` = first /
        plain, `ratio_later` = plain / later, and the counts.

    Raises:
        InputError: too few rows or repeats, or a measurement that failed.
    """
    if repeats < 1:
        raise InputError(f"{repeats} repeats: give at least one")
    landmarks = max(1, round(rows * LANDMARKS / ROWS))
    results: dict[str, list[dict]] = {way: [] for way in _WAYS}
    with tempfile.TemporaryDirectory(prefix="landmark-bench-") as folder:
        path = generate_train(Path(folder, "train.csv"), rows, landmarks, seed)
        with tqdm(total=repeats * len(_WAYS), unit="load", desc="bench tables", disable=not progress) as bar:
            for way in list(_WAYS) * repeats:
                if way == "first":
                    Cache(path).file.path.unlink(missing_ok=True)
                results[way].append(_measured(way, path))
                bar.update()
    counts = {(one["kept_rows"], one["kept_landmarks"]) for runs in results.values() for one in runs}
    if len(counts) > 1:
        raise RuntimeError(f"the ways keep different rows: {sorted(counts)}")
    report = dict(zip(("kept_rows", "kept_landmarks"), counts.pop(), strict=True))
    report |= {"rows": rows, "landmarks": landmarks, "repeats": repeats}
    for way, runs in results.items():
        seconds = [one["seconds"] for one in runs]
        report[f"{way}_seconds"] = statistics.median(seconds)
        report[f"{way}_spread"] = max(seconds) - min(seconds)
        report[f"peak_{way}_gib"] = max(one["peak_gib"] for one in runs)
    plain = report["plain_seconds"]
    report["ratio_first"] = report["first_seconds"] / plain
    report["ratio_later"] = plain / report["later_seconds"]
    report["ratio_later_with_url"] = plain / report["later_with_url_seconds"]
    return report
