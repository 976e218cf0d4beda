"""A data set made small: every image reduced, in TARs of the same layout."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from landmark.data.archives import ImageStore
from landmark.data.images import read_with_header
from landmark.prepare.config import QUALITY
from landmark.utils.errors import ArchiveError, ImageError, InputError, file_errors
from landmark.utils.files import atomic_path, check_same, check_space, write_json
from landmark.utils.locks import LOCK, alone
from landmark.utils.process import in_order, usable_cpus

_Images = Generator[tuple[int, str, bytes], None, None]  # number in the reading order, id, JPEG
_TOGETHER = 16  # images that a worker hands over at once
_NEXT = "the same command goes on after the last complete TAR"


@dataclass(frozen=True)
class Shrunk:
    """What `shrink_data` has written, and the images it left out: split, id and reason of each."""

    images: int
    tars: int
    bytes: int
    bad: list[dict[str, str]]


def shrink_image(data: bytes, size: int, quality: int) -> bytes:
    """Reduce an image to a JPEG whose shorter side has `size` pixels, or as many as before: never enlarged.

    Args:
        data: an image file of any format that `read_image` takes.
        size: shorter side in pixels.
        quality: of the JPEG, 1-95.

    Raises:
        ImageError: see `read_image`.
    """
    image, header = read_with_header(data, at_least=size)
    sides = header.upright  # the reduced decoding has rounded them
    if min(sides) > size:
        width, height = (round(side * size / min(sides)) for side in sides)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=quality)
    return packed.getvalue()


def shrink_data(
    root: str | Path,
    out: str | Path,
    size: int = 256,
    *,
    splits: tuple[str, ...] = ("train", "test"),
    quality: int = QUALITY,
    shard_bytes: int = 1 << 30,
    workers: int | None = None,
    progress: bool = True,
) -> Shrunk:
    """Write the reduced version of a GLDv2 folder: TARs of about `shard_bytes` in the same layout, and its tables.

    Images come in the order in which they lie on the disk; the bytes depend on the images and the settings alone. A
    call that was stopped goes on after the last complete TAR whose images are still the same files. Images that cannot
    be read are left out and listed with their reasons in `out/shrink.json`.

    Args:
        root: GLDv2 folder, images loose or in TARs.
        out: new folder, or one that the same call began.
        size: shorter side in pixels.
        splits: those without images are passed over.
        quality: of the JPEGs, 1-95.
        shard_bytes: size of a TAR.
        workers: processes, else one for each core.
        progress: show a bar.

    Raises:
        InputError: no images, another shrink or other files in `out`, too little space.
    """
    root, out = Path(root), Path(out)
    if size < 8 or not 1 <= quality <= 95:
        raise InputError(f"size {size}, quality {quality}: give at least 8 pixels and a quality of 1 to 95")
    if not os.path.isdir(root):
        raise InputError(f"{root}: no such folder")
    busy = f"{out}: another shrink is writing there: wait for it to end"
    with _errors_in_one_line(out), alone(out / LOCK, busy):
        state = _State(out, {"size": size, "quality": quality, "shard_bytes": shard_bytes})
        stores = {split: ImageStore(root, split, progress) for split in splits}
        orders = {split: order for split, store in stores.items() if len(order := store.reading_order())}
        if not orders:
            raise InputError(f"{root}: no images in {' or '.join(splits)}, neither TARs nor a/b/c/<id>.jpg")
        for split, order in orders.items():
            state.begin(split, order, stores[split])
        rest = sum(len(order) - state.next(split) for split, order in orders.items())
        check_space(out, rest * size * size // 10, "make room or give a folder on another disk")
        for table in sorted(root.glob("[!.]*.csv")):
            with atomic_path(out / table.name) as part:
                shutil.copyfile(table, part)
        for split, order in orders.items():
            reduced = _Reduced(stores[split], order, size, quality)
            bad: list[tuple[int, str, str]] = []
            processes = usable_cpus() if workers is None else workers
            with contextlib.closing(_images(reduced, state.next(split), processes, bad, progress)) as images:
                _write(state, split, images, shard_bytes, bad)
            state.add(split, len(order), bad)
    return state.shrunk()


class _Reduced:
    """Reduce an image by its number in a split's reading order: (id, JPEG or reason), or an error that ends all."""

    def __init__(self, store: ImageStore, order: np.ndarray, size: int, quality: int):
        self.store, self.order, self.size, self.quality = store, order, size, quality

    def __call__(self, number: int) -> tuple[str, bytes | str] | ArchiveError:
        image_id = self.order[number].decode()
        try:
            return image_id, shrink_image(self.store.read(image_id), self.size, self.quality)
        except ImageError as error:
            return image_id, error.reason
        except ArchiveError as error:  # as a value: raised in a worker it would come back as a page of traceback
            return error


def _images(reduced: _Reduced, start: int, workers: int, bad: list, progress: bool) -> _Images:
    """Yield (number, id, JPEG) in order; the unreadable go to `bad`."""
    numbers, label = range(start, len(reduced.order)), f"shrink {reduced.store.split}"
    with (
        contextlib.closing(in_order(reduced, numbers, workers, chunk=_TOGETHER)) as items,
        tqdm(total=len(reduced.order), desc=label, initial=start, unit="img", disable=not progress) as bar,
    ):
        for number, item in zip(numbers, items, strict=True):
            if isinstance(item, ArchiveError):
                raise item
            image_id, data = item
            bar.update()
            if isinstance(data, str):
                bad.append((number, image_id, data))
            else:
                yield number, image_id, data


def _write(state: _State, split: str, images: _Images, shard_bytes: int, bad: list) -> None:
    """Write TAR after TAR; each appears whole, then the state takes note of it."""
    item = next(images, None)
    while item:
        target, count = state.next_tar(split), 0
        with atomic_path(target) as part, part.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                while item and (not count or tar.offset + len(item[2]) + 2 * tarfile.BLOCKSIZE <= shard_bytes):
                    _, image_id, data = item
                    info = tarfile.TarInfo(f"{'/'.join(image_id[:3])}/{image_id}.jpg")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
                    tar.members.clear()  # type: ignore[attr-defined]  # undeclared: it would keep every header
                    item, count = next(images, None), count + 1
            file.flush()
            os.fsync(file.fileno())  # the state must not know of a TAR that a power cut can still empty
        state.add(split, item[0] if item else state.count(split), bad, target, count)


class _State:
    """`out/shrink.json`: the settings, and for each split the complete TARs, where to go on and the bad images."""

    def __init__(self, out: Path, settings: dict[str, int]):
        self.out, self.path = out, out / "shrink.json"
        self.orders: dict[str, np.ndarray] = {}
        self.stores: dict[str, ImageStore] = {}
        if not self.path.exists():
            others = sorted(name for name in os.listdir(out) if not name.startswith("."))
            if others:
                raise InputError(f"{out}: holds {others[0]}, which no shrink wrote: give a new folder")
            self.content: dict[str, Any] = {"settings": settings, "splits": {}}  # written by `begin`
        try:
            if self.path.exists():
                self.content = json.loads(self.path.read_text())
            before = dict(self.content["settings"])
            for split in self.content["splits"]:
                self._keep_whole(split)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{self.path}: damaged: delete {out} and start again") from None
        check_same(out, before, settings, "shrink")
        for leftover in [*out.glob(".*.part"), *out.glob("*/.images_*.part")]:  # of a call that was killed
            leftover.unlink()

    def _keep_whole(self, split: str) -> None:
        """Forget the first TAR that is no longer what was written, and all after it: they are made again."""
        record = self.content["splits"][split]
        if not 0 <= record["next"] <= record["count"]:
            raise ValueError(split)
        for number, tar in enumerate(record["tars"]):
            path = self.out / split / f"images_{number:03d}.tar"
            if not path.is_file() or path.stat().st_size != tar["bytes"]:
                self._cut(split, number)
                return

    def _cut(self, split: str, number: int) -> None:
        """Forget all after the first `number` TARs."""
        record = self.content["splits"][split]
        del record["tars"][number:]
        record["next"] = record["tars"][-1]["next"] if number else 0
        record["bad"] = [item for item in record["bad"] if item["number"] < record["next"]]

    def begin(self, split: str, order: np.ndarray, store: ImageStore) -> None:
        """Bind a split to its images, refused when these are others than before; forget TARs made of other files.

        Images after the last TAR were all bad: they are looked at again.
        """
        bound = {"count": len(order), "sha256": hashlib.sha256(order.tobytes()).hexdigest()}
        record = self.content["splits"].setdefault(split, bound | {"next": 0, "tars": [], "bad": []})
        if {key: record[key] for key in bound} != bound:
            counts = f"{record['count']} images then, {len(order)} now"
            raise InputError(f"{self.out}: the images of {split} have changed since ({counts}): give a new folder")
        self.orders[split], self.stores[split] = order, store
        start = 0
        for number, tar in enumerate(record["tars"]):
            if tar.get("made_of") not in (None, self._fingerprint(split, start, tar["next"])):  # older states lack it
                self._cut(split, number)
                break
            start = tar["next"]
        else:
            self._cut(split, len(record["tars"]))
        self._save()

    def _fingerprint(self, split: str, start: int, stop: int) -> str:
        """Hash the files that images of a split lie in, by their numbers."""
        return self.stores[split].fingerprint(self.orders[split][start:stop].astype(str).tolist())

    def count(self, split: str) -> int:
        """Count the images of a split before shrinking."""
        return self.content["splits"][split]["count"]

    def next(self, split: str) -> int:
        """Give the number, in the reading order, of the first image that is not done."""
        return self.content["splits"][split]["next"]

    def next_tar(self, split: str) -> Path:
        """Name the TAR to write next."""
        return self.out / split / f"images_{len(self.content['splits'][split]['tars']):03d}.tar"

    def add(self, split: str, following: int, bad: list, tar: Path | None = None, images: int = 0) -> None:
        """Note that all before number `following` is done, the bad images among them and their TAR."""
        record = self.content["splits"][split]
        news = [item for item in bad if record["next"] <= item[0] < following]
        record["bad"] += [{"id": image_id, "reason": reason, "number": number} for number, image_id, reason in news]
        record["next"] = following
        if tar:
            start = record["tars"][-1]["next"] if record["tars"] else 0
            record["tars"].append({"name": tar.name, "images": images, "bytes": tar.stat().st_size, "next": following,
                                 "made_of": self._fingerprint(split, start, following)})  # fmt: skip
        self._save()

    def _save(self) -> None:
        write_json(self.path, self.content)

    def shrunk(self) -> Shrunk:
        """Sum up TARs, images and bytes, and list the bad images."""
        tars = [tar for record in self.content["splits"].values() for tar in record["tars"]]
        bad = [
            {"split": split, "id": item["id"], "reason": item["reason"]}
            for split, record in self.content["splits"].items()
            for item in record["bad"]
        ]
        return Shrunk(sum(t["images"] for t in tars), len(tars), sum(t["bytes"] for t in tars), bad)


@contextlib.contextmanager
def _errors_in_one_line(out: Path) -> Iterator[None]:
    try:
        with file_errors(out, f"put it right, then {_NEXT}"):
            yield
    except BrokenProcessPool:
        reason = "a worker process was killed (is memory full?)"
        raise InputError(f"{out}: {reason}: with fewer workers, {_NEXT}") from None
