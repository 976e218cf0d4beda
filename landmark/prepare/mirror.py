"""The public servers in small: their layout made of a miniature world, and a server that offers it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from landmark.data import tables
from landmark.data.archives import ImageStore
from landmark.data.csv.attribution import ATTRIBUTION
from landmark.data.images import image_files
from landmark.prepare.sources import GLD23K_TABLES
from landmark.utils.errors import InputError, file_errors
from landmark.utils.files import claimed, write_json
from landmark.utils.locks import alone, lock_of

METADATA = ("train.csv", "test.csv", "train_label_to_category.csv", "train_label_to_hierarchical.csv")
SOLUTION = "recognition_solution_v2.1.csv"


@file_errors()
def make_mirror(world: str | Path, out: str | Path, tars: int = 3) -> Path:
    """Lay out a GLDv2 folder as the public servers do: metadata, TARs with their MD5 sums, and the 50-landmark zip.

    Args:
        world: folder with tables and loose images.
        out: new folder, to be served by `mirror.serve`; a finished one of the same files is taken as it is, one
            of others is laid out anew.
        tars: of train images; the test images are one more.

    Returns:
        The folder.

    Raises:
        InputError: `out` holds something else.
    """
    world, out = Path(world), Path(out)
    done, basis = out / "complete", _basis(world, tars)

    if not claimed(done, basis):
        with alone(lock_of(out), waiting=f"{out}: another process makes this mirror: waiting for it"):
            if not claimed(done, basis):  # looked at again: whoever was inside may have made it meanwhile
                _make(world, out, tars)
                write_json(done, basis)
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
    _subset(world, out)
    shutil.copyfile(world / SOLUTION, out / "ground_truth" / SOLUTION)
    for split, count in (("train", tars), ("test", 1)):
        files = list(image_files(world, split)[0].items())
        for number in range(count):
            _pack(out / split / f"images_{number:03}.tar", files[number::count], out / "md5sum" / split)
    _zip(world, out / "landmark_images.zip")


def _basis(world: Path, tars: int) -> dict:
    """All that a mirror depends on."""
    files = {name: hashlib.sha256((world / name).read_bytes()).hexdigest() for name in (*METADATA, SOLUTION)}
    for split in ("train", "test"):
        store = ImageStore(world, split)
        files[split] = store.fingerprint(store.ids())
    return {"layout": 2, "tars": tars} | files  # a layout with other files has another number


def _subset(world: Path, out: Path) -> None:
    """Write what gld23k is made of, for the larger half of the landmarks: authors, and the two tables of its split.

    Every fifth image is in test, as published an image of GLDv2's train TARs; a class is a number from 0.
    """
    train = tables.read_train(world / "train.csv")
    titles = [f"File:Picture {number}.jpg" for number in range(len(train))]
    credits = train[["id", "url"]].assign(author="landmark, a package that draws", license="MIT", title=titles)
    credits.to_csv(out / "metadata" / ATTRIBUTION, index=False)
    sizes = train["landmark_id"].value_counts()
    classes = {landmark_id: number for number, landmark_id in enumerate(sizes.index[: -(-len(sizes) // 2)])}
    chosen = train[train["landmark_id"].isin(classes)].rename(columns={"id": "image_id"})
    chosen = chosen.assign(**{"class": chosen["landmark_id"].map(classes)}, user_id=range(len(chosen)))
    tested = chosen.groupby("landmark_id").cumcount() % 5 == 4
    for name, columns, rows in zip(GLD23K_TABLES, (["user_id", "image_id", "class"], ["image_id", "class"]),
                                   (chosen[~tested], chosen[tested]), strict=True):  # fmt: skip
        rows[columns].to_csv(out / name, index=False)


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
    with path.open("rb") as packed:
        digest = hashlib.file_digest(packed, "md5").hexdigest()
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


class Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD with Range, ETag and Last-Modified, in silence."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send headers and body."""
        self.send_body(self._head())

    def do_HEAD(self) -> None:
        """Send the headers alone."""
        self._head()

    def _head(self) -> bytes:
        """Send status and headers; returns the body that belongs to them."""
        code, headers, body = self.answer()
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        return body

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for the path and the range that are asked for."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return 404, {"Content-Type": "text/plain"}, b"no\n"
        data, status = path.read_bytes(), path.stat()
        headers = {
            "Content-Type": self.guess_type(str(path)), "Accept-Ranges": "bytes",
            "ETag": f'"{status.st_size:x}-{status.st_mtime_ns:x}"',
            "Last-Modified": self.date_time_string(int(status.st_mtime)),
        }  # fmt: skip
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or self.headers.get("If-Range", "") not in {"", headers["ETag"], headers["Last-Modified"]}:
            return 200, headers, data
        start, total = int(asked[1]), len(data)
        if start >= total:
            return 416, headers | {"Content-Range": f"bytes */{total}"}, b""
        return 206, headers | {"Content-Range": f"bytes {start}-{total - 1}/{total}"}, data[start:]

    def send_body(self, data: bytes) -> None:
        """Send what follows the headers."""
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error here."""


@contextlib.contextmanager
def serve(folder: str | Path, handler: type[Handler] = Handler) -> Iterator[str]:
    """Serve a folder while the block runs; yields the server's address.

    >>> import tempfile, requests
    >>> with tempfile.TemporaryDirectory() as folder, serve(folder) as url:
    ...     requests.get(f"{url}/a.csv", proxies={"http": ""}).status_code
    404
    """
    with _Server(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
