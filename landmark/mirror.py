"""A copy of the public servers' layout in small, made of a miniature world: to try downloads without a network."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

from landmark import tables
from landmark.archives import ImageStore
from landmark.images import image_files
from landmark.locks import alone, lock_of
from landmark.runtime import InputError, atomic_path

METADATA = ("train.csv", "test.csv", "train_label_to_category.csv", "train_label_to_hierarchical.csv")
SOLUTION = "recognition_solution_v2.1.csv"


def make_mirror(world: str | Path, out: str | Path, tars: int = 3) -> Path:
    """Lay out a GLDv2 folder as the public servers do: metadata, TARs with their MD5 sums, and the 50-landmark zip.

    Args:
        world: folder with tables and loose images.
        out: new folder, to be served by `localserver.serve`; a finished one of the same files is taken as it is, one
            of others is laid out anew.
        tars: of train images; the test images are one more.

    Returns:
        The folder.

    Raises:
        InputError: `out` holds something else.
    """
    world, out = Path(world), Path(out)
    done, basis = out / "complete", _basis(world, tars)

    def made() -> bool:
        return done.is_file() and done.read_text() == basis

    if not made():
        with alone(lock_of(out), waiting=f"{out}: another process makes this mirror: waiting for it"):
            if not made():  # looked at again: whoever was inside may have made it meanwhile
                _make(world, out, tars)
                with atomic_path(done) as part:
                    part.write_text(basis)
    return out


def _make(world: Path, out: Path, tars: int) -> None:
    begun = out / "begun"
    if begun.exists() or (out / "complete").exists():  # stopped on the way, or of other files
        shutil.rmtree(out)
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: exists and is not a mirror: choose a new folder")
    out.mkdir(parents=True, exist_ok=True)
    begun.touch()
    for folder in ("metadata", "ground_truth"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in METADATA:
        shutil.copyfile(world / name, out / "metadata" / name)
    clean = tables.read_train(world / "train.csv").groupby("landmark_id")["id"].agg(" ".join)
    clean.rename("images").to_csv(out / "metadata" / "train_clean.csv")
    shutil.copyfile(world / SOLUTION, out / "ground_truth" / SOLUTION)
    for split, count in (("train", tars), ("test", 1)):
        files = list(image_files(world, split)[0].items())
        for number in range(count):
            _pack(out / split / f"images_{number:03}.tar", files[number::count], out / "md5sum" / split)
    _zip(world, out / "landmark_images.zip")


def _basis(world: Path, tars: int) -> str:
    """All that a mirror depends on."""
    files = {name: hashlib.sha256((world / name).read_bytes()).hexdigest() for name in (*METADATA, SOLUTION)}
    for split in ("train", "test"):
        store = ImageStore(world, split)
        files[split] = store.fingerprint(store.ids())
    return json.dumps({"tars": tars} | files)


def _pack(path: Path, files: list[tuple[str, Path]], sums: Path) -> None:
    """One TAR as published (members a/b/c/<id>.jpg) and the file with its MD5 sum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sums.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for image_id, file in files:
            member = tarfile.TarInfo("/".join((*image_id[:3], f"{image_id}.jpg")))
            member.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(member, content)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    (sums / f"md5.{path.stem}.txt").write_text(f"{digest}  {path.name}\n")


def _zip(world: Path, path: Path) -> None:
    """The course-size subset as published: landmark_images/{train,test}/NN.Name/<id>.jpg, every fifth image in test."""
    train, files = tables.read_train(world / "train.csv"), image_files(world, "train")[0]
    category = world / "train_label_to_category.csv"
    names = dict(tables.read_categories(category).itertuples(index=False)) if category.exists() else {}
    sizes = train["landmark_id"].value_counts()
    with zipfile.ZipFile(path, "w") as archive:
        for number, landmark_id in enumerate(sizes.index[:50]):
            name = names.get(landmark_id, f"Landmark_{landmark_id}").rsplit(":", 1)[-1]
            for k, image_id in enumerate(train["id"][train["landmark_id"] == landmark_id]):
                if image_id in files:
                    part = "test" if k % 5 == 4 else "train"
                    archive.write(files[image_id], f"landmark_images/{part}/{number:02}.{name}/{image_id}.jpg")
