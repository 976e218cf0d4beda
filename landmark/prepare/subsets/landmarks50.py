"""The course-size subset of 50 landmarks: its ZIP becomes a folder in the GLDv2 layout."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from landmark.data.csv.strict import ID
from landmark.data.images import image_path
from landmark.prepare.subsets.layout import check_tables, sweep, table_text, write_tables
from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import atomic_path, check_space
from landmark.utils.locks import alone, lock_of

MAX_BYTES = 1 << 28  # of one image
MAX_RATIO = 20  # of one image: a photograph does not shrink
MAX_TOTAL_RATIO = 4  # of the whole archive
_MEMBER = re.compile(
    rf"landmark_images/(train|test)/([0-9]{{1,9}})\.([^/\\\x00-\x1f]+)/({ID})\.jpe?g", re.IGNORECASE | re.ASCII
)


class _Image(NamedTuple):
    split: str
    landmark_id: int
    image_id: str
    member: zipfile.ZipInfo


@file_errors(advice="put it right; the same command goes on")
def unpack(archive: str | Path, data: str | Path, progress: bool = True) -> str:
    """Write the images and tables of `landmark_images/{train,test}/NN.Name/<id>.jpg` in the GLDv2 layout.

    The number NN is the landmark, Name its category, and every test image a Public query. Images already there are
    kept, so a stopped conversion goes on. Only regular files with such names are read, one by one; anything else in the
    archive is counted and passed over.

    Args:
        archive: the ZIP.
        data: folder to fill.
        progress: show a bar.

    Returns:
        One line: how many images, and what was passed over.

    Raises:
        InputError: a damaged archive, one that claims too much, or a folder with tables of another data set.
    """
    archive, data = Path(archive), Path(data)
    try:
        with alone(lock_of(archive)), zipfile.ZipFile(archive) as source:
            images, names, skipped = _contents(archive, source)
            tables = _tables(images, names)
            check_tables(data, tables)
            sweep(data)
            _check_space(data, images)
            for image in tqdm(images, "unpack", unit="image", disable=not progress):
                _write(source, image, image_path(data, image.split, image.image_id))
            write_tables(data, tables)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{archive}: damaged archive ({error}): delete it and fetch it again") from None
    count = Counter(image.split for image in images)
    passed = ", ".join(f"{number} {reason}" for reason, number in skipped.items())
    summary = f"{data}: {len(names)} landmarks, {count['train']} train and {count['test']} test images"
    return f"{summary}{f'; passed over: {passed}' if passed else ''}; {archive.name} is no longer needed"


def _contents(archive: Path, source: zipfile.ZipFile) -> tuple[list[_Image], dict[int, str], Counter]:
    """List images to write and names of landmarks, and count other members by reason; nothing is read yet."""
    members = source.infolist()
    claimed, size = sum(member.file_size for member in members), archive.stat().st_size
    if claimed > MAX_TOTAL_RATIO * size + (1 << 20):
        raise InputError(f"{archive}: {size} bytes that claim to hold {claimed}: refused, fetch it from another place")
    images, ids = [], set()
    names: dict[int, str] = {}
    skipped: Counter = Counter()
    for member in members:
        match = _MEMBER.fullmatch(member.filename)
        if member.is_dir():
            continue
        reason = _objection(member, match)
        if match and not reason and match[4].lower() in ids:
            reason = "with an id seen before"
        if reason or not match:
            skipped[reason] += 1
            continue
        ids.add(match[4].lower())
        number, name = int(match[2]), match[3]
        if names.setdefault(number, name) != name:
            raise InputError(f"{archive}: landmark {number} is called {names[number]} and {name}: fetch it again")
        images.append(_Image(match[1].lower(), number, match[4], member))
    if not any(image.split == "train" for image in images):
        raise InputError(f"{archive}: no landmark_images/train/NN.Name/<id>.jpg in it: is it another archive?")
    return images, names, skipped


def _objection(member: zipfile.ZipInfo, match: re.Match | None) -> str:
    """Say why a member is not read; empty when it is."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        return "links or devices"
    if match is None:
        return "not named landmark_images/{train,test}/NN.Name/<id>.jpg"
    if member.flag_bits & 1:
        return "encrypted"
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "compressed in an unusual way"
    if member.file_size > MAX_BYTES or member.file_size > MAX_RATIO * member.compress_size + (1 << 16):
        return "too large for an image"
    return ""


def _write(source: zipfile.ZipFile, image: _Image, path: Path) -> None:
    if path.is_file() and path.stat().st_size == image.member.file_size:
        if zlib.crc32(path.read_bytes()) == image.member.CRC:
            return
    with source.open(image.member) as file:
        content = file.read()  # raises when the CRC or the length is wrong
    with atomic_path(path) as part:
        part.write_bytes(content)


def _tables(images: list[_Image], names: dict[int, str]) -> dict[str, str]:
    """Write the text of the four tables, train.csv last: where it is, the others are."""
    train = sorted((i.landmark_id, i.image_id) for i in images if i.split == "train")
    test = sorted((i.image_id, i.landmark_id) for i in images if i.split == "test")
    return {
        "train_label_to_category.csv": table_text(("landmark_id", "category"), sorted(names.items())),
        "recognition_solution_v2.1.csv": table_text(("id", "landmarks", "Usage"), [(i, n, "Public") for i, n in test]),
        "test.csv": table_text(("id",), [(i,) for i, _ in test]),
        "train.csv": table_text(("id", "url", "landmark_id"), [(i, "", n) for n, i in train]),
    }


def _check_space(data: Path, images: list[_Image]) -> None:
    data.mkdir(parents=True, exist_ok=True)
    there = (image_path(data, image.split, image.image_id) for image in images)
    need = sum(image.member.file_size for image, path in zip(images, there, strict=True) if not path.exists())
    check_space(data, need)
