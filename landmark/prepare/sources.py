"""What there is to fetch: Google Landmarks v2, subsets of it, ImageNet weights."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from landmark.data.csv.attribution import ATTRIBUTION
from landmark.prepare.config import SPLITS
from landmark.prepare.subsets.landmarks50 import unpack
from landmark.prepare.subsets.layout import LABELS, PARTS, keep_attribution
from landmark.utils.errors import DownloadError, InputError
from landmark.utils.files import cache_path, data_root
from landmark.utils.http.fetch import has_receipt
from landmark.utils.http.web import Web

BUCKET = "https://s3.amazonaws.com/google-landmark"
LANDMARKS50 = "https://udacity-dlnfd.s3-us-west-1.amazonaws.com/datasets/landmark_images.zip"
GLD23K = "https://storage.googleapis.com/tff-datasets-public"
GLD23K_TABLES = {
    "mini_gld_train_split.csv": "9fd62cf79a67046fdd673d3a0ac52841",
    "mini_gld_test.csv": "298e9d19d66357236f66fe8e22920933",
}  # with their published MD5 sums
SHARDS = dict(zip(SPLITS, (500, 100, 20), strict=True))  # TARs of about 1 GB, 850 MB and 500 MB
TABLES = (
    "metadata/train.csv",
    "metadata/test.csv",
    "ground_truth/recognition_solution_v2.1.csv",
    "metadata/train_label_to_category.csv",
    "metadata/train_label_to_hierarchical.csv",
    "metadata/train_attribution.csv",
    "metadata/train_clean.csv",
)
ABSENT = {403, 404, 410}  # S3 answers 403 for what it lacks
_SUM = re.compile(r"([0-9a-fA-F]{32})\s+[*]?(\S+)")


@dataclass(frozen=True)
class Item:
    """One file to fetch to `root/name`."""

    url: str
    root: Path
    name: str
    optional: bool = False  # a server may lack it
    md5: str = ""
    md5_url: str = ""  # where the sum is published
    sha256: str = ""  # how it begins
    advice: str = "run the same command again"
    then: Callable[..., str] | None = None  # what to do with (path, progress=…); returns a line to print

    @property
    def path(self) -> Path:
        """Where it goes."""
        return self.root / self.name

    @property
    def receipt(self) -> Path:
        """Where it is noted that it was checked."""
        return cache_path(self.root, f"download/{self.name}.json")

    def there(self) -> bool:
        """Check whether it is here and was checked."""
        return has_receipt(self.receipt, self.url, self.path, self.md5, self.sha256)


def gldv2(
    data: str | Path,
    *,
    splits: Sequence[str] = ("train", "test"),
    shards: str = "",
    mirror: str = "",
    md5_file: str | Path | None = None,
) -> list[Item]:
    """List the tables and the TARs of Google Landmarks v2.

    Args:
        data: folder to fill: tables in it, TARs in `data/<split>/`.
        splits: of "train", "index", "test".
        shards: numbers of TARs such as "0-9" or "0,3,7-9", of each split those that exist; all when empty.
        mirror: address of a server with the layout of the public one.
        md5_file: lines "<md5>  train/images_000.tar" that stand in for the published sums.

    Raises:
        InputError: no such split, shard or sum.

    >>> [item.path.as_posix() for item in gldv2("data", splits=["test"], shards="7-8")[-2:]]
    ['data/test/images_007.tar', 'data/test/images_008.tar']
    """
    unknown = [split for split in splits if split not in SHARDS]
    if unknown or not splits:
        raise InputError(f"no split {' '.join(unknown) or 'given'}: choose of {', '.join(SHARDS)}")
    data, base = Path(data), _base(mirror, BUCKET)
    items = _tables(data, base)
    if "index" in splits:
        items.append(Item(f"{base}/metadata/index.csv", data, "index.csv", optional=True))
    return items + _tars("gldv2", data, data, splits, shards, mirror, md5_file)


def gld23k(data: str | Path, *, mirror: str = "") -> list[Item]:
    """List the tables of gld23k, into the folder, and those of GLDv2 that they are joined with, into `PARTS` in it.

    Args:
        data: folder of the subset.
        mirror: address of a server that has all of them; their sums are not asked of it.
    """
    items = [Item(f"{_base(mirror, GLD23K)}/{name}", Path(data), name, md5="" if mirror else md5)
             for name, md5 in GLD23K_TABLES.items()]  # fmt: skip
    wanted = {"train.csv", ATTRIBUTION, *LABELS}
    return items + [item for item in _tables(Path(data, PARTS), _base(mirror, BUCKET)) if item.name in wanted]


def gld23k_tars(data: str | Path, shards: str = "", mirror: str = "", md5_file: str | Path | None = None) -> list[Item]:
    """List the train TARs that the images of gld23k lie in, into `PARTS`; arguments as of `gldv2`."""
    return _tars("gld23k", Path(data), Path(data, PARTS), ["train"], shards, mirror, md5_file)


def attribution(data: str | Path, *, mirror: str = "") -> list[Item]:
    """List GLDv2's table of authors and licences, of which the rows of a folder's images stay; nothing if it has one.

    Args:
        data: folder in the GLDv2 layout, such as landmarks50.
        mirror: address of a server with the layout of the public one.
    """
    url = f"{_base(mirror, BUCKET)}/metadata/{ATTRIBUTION}"
    item = Item(url, Path(data, PARTS), ATTRIBUTION, then=partial(keep_attribution, data=data))
    return [] if Path(data, ATTRIBUTION).exists() else [item]


def _tars(
    what: str, data: Path, root: Path, splits: Sequence[str], shards: str, mirror: str, md5_file: str | Path | None
) -> list[Item]:
    """List TARs of some splits, into `root`."""
    base, sums = _base(mirror, BUCKET), _read_sums(md5_file, splits) if md5_file else {}
    command = ["landmark", "download", what, str(data), "--yes", *(["--mirror", mirror] if mirror else [])]
    wanted, items = read_numbers(shards, max(SHARDS[split] for split in splits)), []
    for split, number in ((s, n) for s in dict.fromkeys(splits) for n in wanted if n < SHARDS[s]):
        name = f"{split}/images_{number:03}.tar"
        of_split = ["--splits", split] if what == "gldv2" else []
        again = shlex.join([*command, *of_split, "--shards", str(number)])
        sums_at = f"{base}/md5sum/{split}/"
        advice = (
            f"{again}; wrong again, the published file changed: fetch its sum from {sums_at}, give it with --md5-file"
        )
        md5_url = f"{sums_at}md5.images_{number:03}.txt"
        optional = bool(mirror) and split != "train"  # a mirror may hold a part
        items.append(Item(f"{base}/{name}", root, name, optional, sums.get(name, ""), md5_url, advice=advice))
    return items


def gldv2_clean(data: str | Path, *, mirror: str = "") -> list[Item]:
    """List the tables of Google Landmarks v2 with that of the cleaned train images, and no images."""
    return _tables(Path(data), _base(mirror, BUCKET), clean_too=True)


def landmarks50(data: str | Path, *, mirror: str = "") -> list[Item]:
    """List the course-size subset: 50 landmarks, about 600 MB, converted into the GLDv2 layout once it is here."""
    url = f"{_base(mirror)}/landmark_images.zip" if mirror else LANDMARKS50
    return [Item(url, Path(data), "landmark_images.zip", then=partial(unpack, data=data))]


def weights(facts: Iterable[Mapping], folder: str | Path | None = None, *, mirror: str = "") -> list[Item]:
    """List the ImageNet weights of backbones.

    Args:
        facts: "url" and "sha256" (its beginning) of each, as in `recipes.BACKBONES`; without a "url" there is nothing
            to fetch.
        folder: where to; `data_root()/weights` when left out.
        mirror: address of a server that has the files under their own names.
    """
    folder = Path(folder or data_root() / "weights")
    items = []
    for line in facts:
        if "url" not in line:
            continue
        name = line["url"].rsplit("/", 1)[1]
        url = f"{_base(mirror)}/{name}" if mirror else line["url"]
        items.append(Item(url, folder, name, sha256=line["sha256"]))
    return items


def fetch_md5(web: Web, item: Item) -> str:
    """Fetch the MD5 sum that the server publishes for a file.

    Raises:
        DownloadError: it publishes none.
    """
    try:
        text = web.text(item.md5_url)
    except DownloadError as error:
        if error.status in ABSENT:
            raise DownloadError(f"{item.md5_url}: no sum for {item.path.name}: give one with --md5-file") from None
        raise
    for match in _SUM.finditer(text):
        if match[2].rsplit("/", 1)[-1] == item.path.name:
            return match[1].lower()
    raise DownloadError(f"{item.md5_url}: no MD5 sum of {item.path.name} in it: give one with --md5-file")


def _tables(data: Path, base: str, clean_too: bool = False) -> list[Item]:
    needed = {"train.csv", "test.csv"} | ({"train_clean.csv"} if clean_too else set())
    names = [(place, place.rsplit("/", 1)[1]) for place in TABLES]
    return [Item(f"{base}/{place}", data, name, optional=name not in needed) for place, name in names]


def _base(mirror: str, otherwise: str = "") -> str:
    """Check the address to fetch from, and take a slash off its end."""
    try:
        parts = urlsplit(mirror or otherwise)
        sound = parts.scheme in {"https", "http"} and bool(parts.netloc)
    except ValueError:  # of brackets that are no IPv6 address
        sound = False
    if not sound:
        raise InputError(f"{mirror}: not an address of a mirror: begin with https://")
    return (mirror or otherwise).rstrip("/")


def read_numbers(shards: str, count: int) -> list[int]:
    """Read numbers of TARs, sorted; all where none are given.

    >>> read_numbers("7-9,0", 500), read_numbers("", 3)
    ([0, 7, 8, 9], [0, 1, 2])
    """
    if not shards:
        return list(range(count))
    wanted: set[int] = set()
    for part in shards.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if not match or (last := int(match[2] or match[1])) < int(match[1]):
            raise InputError(f"shards {shards!r}: write numbers and ranges such as 0-9 or 0,3,7-9")
        if last >= count:
            raise InputError(f"shards {shards!r}: there is no TAR {last}, the last one is {count - 1}")
        wanted.update(range(int(match[1]), last + 1))
    return sorted(wanted)


def write_numbers(numbers: Iterable[int]) -> str:
    """Write numbers of TARs as `read_numbers` reads them.

    >>> write_numbers([9, 0, 7, 8])
    '0,7-9'
    """
    rows: list[list[int]] = []
    for number in sorted(numbers):
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return ",".join(str(row[0]) if len(row) == 1 else f"{row[0]}-{row[-1]}" for row in rows)


def _read_sums(path: str | Path, splits: Sequence[str]) -> dict[str, str]:
    """Read MD5 sums by "<split>/<name>"; the split may be left out when only one is fetched."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of sums ({error})") from None
    sums = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _SUM.fullmatch(line.strip())
        name = match[2] if match else ""
        if match and "/" not in name and len(splits) == 1:
            name = f"{splits[0]}/{name}"
        if not match or "/" not in name:
            raise InputError(f'{path}: line {number}: write "<md5>  train/images_000.tar"')
        sums["/".join(name.split("/")[-2:])] = match[1].lower()
    return sums
