"""gld23k: 203 landmarks with a real long tail, 23,080 photographs, picked out of GLDv2's 500 train TARs."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from landmark.data.archives import MAX_BYTES, ImageStore
from landmark.data.csv.attribution import ATTRIBUTION, read_attribution
from landmark.data.csv.strict import check_rows, is_image_id, parse_landmark_id, read_strict
from landmark.data.images import image_path
from landmark.data.tables import read_categories, read_hierarchy, read_test, read_train
from landmark.data.tar_index import tar_index
from landmark.prepare.download import fetch_data
from landmark.prepare.sources import GLD23K_TABLES, SHARDS, Item, gld23k, gld23k_tars, write_numbers
from landmark.prepare.subsets.layout import LABELS, PARTS, check_tables, sweep, write_tables
from landmark.utils.errors import ArchiveError, InputError, TableError, file_errors
from landmark.utils.files import atomic_path, write_json
from landmark.utils.locks import alone, lock_of

NOTE = "gld23k.json"  # in the folder: which TARs are done, and how many of its images each held
_TRAIN, _TEST = GLD23K_TABLES
_log = logging.getLogger(__name__)


@file_errors(advice="put it right; the same command goes on")
def fetch_gld23k(
    data: str | Path, *, shards: str = "", source: str | Path | None = None, mirror: str = "",
    md5_file: str | Path | None = None, yes: bool = False, dry_run: bool = False, workers: int = 4,
    progress: bool = True,
) -> None:  # fmt: skip
    """Fetch gld23k into a folder in the GLDv2 layout: its tables, then its images, of train and test alike.

    All images lie in train TARs of GLDv2, and which one holds an image is published nowhere. So TAR after TAR is
    fetched and checked, the images are copied out of it, and it is deleted. `gld23k.json` notes each TAR that is done
    and how many of the images it held: the same call goes on with the others, and the numbers can be given to another
    machine as `shards`.

    A label is the `landmark_id` of GLDv2's train.csv, by image id. The `class` of the published split, 0 to 202, is a
    number of this subset alone, which names no landmark in any other table.

    Args:
        data: folder to fill.
        shards: numbers of TARs such as "0-9" or "0,3,7-9"; all 500 when empty. The tables list all images.
        source: folder of GLDv2, TARs or loose images, to copy from; then nothing but the two tables of the split is
            fetched.
        mirror: address of a server with the layout of the public one and the two tables.
        md5_file: lines "<md5>  train/images_000.tar" that stand in for the published sums.
        yes: do not ask before fetching.
        dry_run: log each file with its size, and fetch nothing.
        workers: TARs at a time.
        progress: show a bar.

    Raises:
        DownloadError, InputError: as of `fetch_data`; a folder with tables of another data set.

    Source: Hsu, Qi and Brown, Federated Visual Classification with Real-World Data Distribution, ECCV 2020.
    """
    data, origin = Path(data), None if source is None else Path(source)
    tables = [item for item in gld23k(data, mirror=mirror) if origin is None or item.root == data]
    tars = gld23k_tars(data, shards, mirror, md5_file) if origin is None else []
    if origin is not None and not (origin / "train.csv").is_file():
        raise InputError(f"{origin / 'train.csv'}: no such table: give a folder of GLDv2 to copy from")
    options: dict[str, Any] = {"yes": yes, "workers": workers, "progress": progress}
    if dry_run:
        note = _Note(data)
        fetch_data([*([] if note.images else tables), *note.without_done(tars)], dry_run=True, **options)
        return
    data.mkdir(parents=True, exist_ok=True)
    with alone(lock_of(data / NOTE), waiting=f"{data}: another process fetches into it: waiting for it"):
        note = _Note(data)
        sweep(data)
        if not note.images:
            fetch_data(tables, **options)
            _lay_out(data, origin or data / PARTS, note)
        for number in note.shards:  # of a process that was killed before it deleted one
            (data / PARTS / f"train/images_{number:03}.tar").unlink(missing_ok=True)
        places = _places(data)
        missing = [i for i, paths in places.items() if not all(path.is_file() for path in paths)]
        try:
            if origin is not None:
                _copy(ImageStore(origin, "train", progress), missing, places, progress)
            elif missing and (todo := note.without_done(tars)):
                share = len(places) / note.images["of"]
                fetch_data(todo, take=lambda item: _pick(item, places, note), share=share, **options)
            if not any((data / PARTS).rglob("*.part")):
                shutil.rmtree(data / PARTS, ignore_errors=True)
        finally:
            _log.info(_summary(data, places, note))


class _Note:
    """What is done, in `gld23k.json`: images by split once the tables are there, and images of each TAR."""

    def __init__(self, data: Path):
        self.path, self.lock = data / NOTE, threading.Lock()
        self.images: dict[str, int] = {}  # train, test, and those of GLDv2 that they are part of
        self.shards: dict[int, int] = {}  # number of a TAR that is done → images of the subset in it
        if not self.path.exists():
            if (data / "train.csv").exists():
                raise InputError(f"{data / 'train.csv'}: a table of another data set: choose another folder")
            return
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self.images = {str(name): int(count) for name, count in content["images"].items()}
            self.shards = {int(number): int(count) for number, count in content["shards"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.path}: damaged ({error}): delete {data} and start again") from None

    def save(self) -> None:
        write_json(self.path, {"images": self.images, "shards": {str(n): self.shards[n] for n in sorted(self.shards)}})

    def add(self, number: int, count: int) -> None:
        with self.lock:
            self.shards[number] = count
            self.save()

    def without_done(self, tars: Sequence[Item]) -> list[Item]:
        return [tar for tar in tars if _number(tar) not in self.shards]


def _number(tar: Item) -> int:
    return int(tar.path.stem.removeprefix("images_"))


def _lay_out(data: Path, origin: Path, note: _Note) -> None:
    """Write the tables of the layout from those of the split and of GLDv2, and note how many images they list."""
    note.save()  # from here on the tables in this folder are ours
    split = {"train": _read_split(data / _TRAIN, ("user_id", "image_id", "class")),
             "test": _read_split(data / _TEST, ("image_id", "class"))}  # fmt: skip
    classes = split["train"] | split["test"]
    every = read_train(origin / "train.csv", columns=("id", "landmark_id"))
    landmarks = every.loc[every["id"].isin(classes), "landmark_id"].unique().tolist()
    if not landmarks:
        raise TableError(f"{origin / 'train.csv'}: none of the {len(classes)} images of gld23k: is it GLDv2's?")
    rows = read_train(origin / "train.csv", landmarks=landmarks)
    rows = rows[rows["id"].isin(classes)]
    if absent := len(classes) - len(rows):
        _log.warning("%s: lacks %d of the %d images of gld23k: left out", origin / "train.csv", absent, len(classes))
    pairs = set(zip(rows["id"].map(classes), rows["landmark_id"], strict=True))
    if not len(pairs) == len(landmarks) == len({number for number, _ in pairs}):
        _log.warning("the classes of gld23k are not landmarks of train.csv one by one: labels are those of train.csv")
    train, test = (rows[rows["id"].isin(split[side])] for side in ("train", "test"))
    frames: dict[str, pd.DataFrame] = {}
    for name, read in zip(LABELS, (read_categories, read_hierarchy), strict=True):
        if (origin / name).exists():
            names = read(origin / name)
            frames[name] = names[names["landmark_id"].isin(landmarks)]
    if (origin / ATTRIBUTION).exists():
        frames[ATTRIBUTION] = read_attribution(origin / ATTRIBUTION, rows["id"])
    solution = test[["id", "landmark_id"]].rename(columns={"landmark_id": "landmarks"}).assign(Usage="Public")
    frames |= {"recognition_solution_v2.1.csv": solution, "test.csv": test[["id"]], "train.csv": train}
    texts = {name: frame.to_csv(index=False, lineterminator="\n") for name, frame in frames.items()}
    check_tables(data, texts)
    write_tables(data, texts)
    note.images = {"train": len(train), "test": len(test), "of": len(every)}
    note.save()


def _read_split(path: Path, columns: tuple[str, ...]) -> dict[str, int]:
    """Read a table of the published split: image id → class."""
    lines, cells = read_strict(path, columns)
    check_rows(path, lines)
    for line, image_id in zip(lines, cells["image_id"], strict=True):
        if not is_image_id(image_id):
            raise TableError(f"{path}: line {line}: id {image_id!r} is not an image id (16 hex characters)")
    numbers = [parse_landmark_id(path, line, cell) for line, cell in zip(lines, cells["class"], strict=True)]
    return dict(zip(cells["image_id"], numbers, strict=True))


def _places(data: Path) -> dict[str, list[Path]]:
    """List where each image belongs: one place, or two where both tables name it."""
    places: dict[str, list[Path]] = {}
    for split, table in (("train", read_train(data / "train.csv")), ("test", read_test(data / "test.csv"))):
        for image_id in table["id"]:
            places.setdefault(image_id, []).append(image_path(data, split, image_id))
    return places


def _pick(tar: Item, places: dict[str, list[Path]], note: _Note) -> None:
    """Copy the images of the subset out of a TAR by their offsets, and note that it is done."""
    index, count = tar_index(tar.path), 0
    with tar.path.open("rb") as file:
        for name, offset, size in zip(index.ids.tolist(), index.offsets.tolist(), index.sizes.tolist(), strict=True):
            if name.decode() not in places or size > MAX_BYTES:
                continue
            content = os.pread(file.fileno(), size, offset)
            if len(content) != size:
                raise ArchiveError(f"{tar.path}: it changes while it is read: give the same command again")
            _write(places[name.decode()], content)
            count += 1
    note.add(_number(tar), count)


def _copy(store: ImageStore, ids: Sequence[str], places: dict[str, list[Path]], progress: bool) -> None:
    """Copy images out of a folder of GLDv2; those that it lacks are left out."""
    for image_id in tqdm(ids, "copy", unit="image", disable=not progress):
        if image_id in store:
            _write(places[image_id], store.read(image_id))


def _write(paths: Sequence[Path], content: bytes) -> None:
    for path in paths:
        if not path.is_file() or path.stat().st_size != len(content):
            with atomic_path(path) as part:
                part.write_bytes(content)


def _summary(data: Path, places: dict[str, list[Path]], note: _Note) -> str:
    here = {split: sum(data / split in path.parents and path.is_file() for paths in places.values() for path in paths)
            for split in ("train", "test")}  # fmt: skip
    line = f"{data}: {here['train']} of {note.images['train']} train and {here['test']} of {note.images['test']} test "
    line += "images are here"
    if note.shards:
        held = [number for number, count in note.shards.items() if count]
        line += f"; TARs that are done: {write_numbers(note.shards)}, with images of gld23k: {write_numbers(held)}"
    if any(here[split] < note.images[split] for split in here) and len(note.shards) == SHARDS["train"]:
        line += f"; to go through a TAR again, take its number out of {NOTE}"
    return line
