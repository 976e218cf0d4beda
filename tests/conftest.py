"""What every test shares: no network, no figures on a screen, nothing written into the work tree."""

import contextlib
import ctypes
import ipaddress
import logging
import os
import random
import signal
import socket
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from landmark.data.images import image_path
from tests.helpers import Small
from tests.server import serve
from tests.serving import DATA

_scratch = tempfile.mkdtemp(prefix="landmark-tests-")
for _name in ("DATA", "RUNS", "FIGURES"):
    os.environ[f"LANDMARK_{_name}"] = str(Path(_scratch) / _name.lower())
os.environ.pop("LANDMARK_GLDV2", None)
os.environ.pop("LANDMARK_PRECISION", None)
os.environ["MPLBACKEND"] = "Agg"
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's `make test &` says so, and tests press Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
_connect = socket.socket.connect


def _loopback_only(self, address):
    host = address[0] if isinstance(address, tuple) else ""
    if self.family in (socket.AF_INET, socket.AF_INET6):
        local = host == "localhost" or (host[:1].isdigit() or ":" in host) and ipaddress.ip_address(host).is_loopback
        if not local:
            raise OSError(f"tests have no network: connection to {address} refused")
    return _connect(self, address)


@pytest.fixture(autouse=True, scope="module")
def memory_goes_back():
    """The C library keeps what freed tensors leave: two workers held 7 GB each, most of it free."""
    yield
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim:
        trim(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Sockets reach this machine only."""
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture
def log_lines():
    """What the library says during a test, a text for each message."""
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    log = logging.getLogger("landmark")
    before, keep = log.level, Keep()
    log.addHandler(keep)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(keep)
    log.setLevel(before)


@pytest.fixture(params=["float32", "bfloat16"])
def precision(request, monkeypatch):
    """The dtype that networks compute in, on any chip: torch emulates what it lacks."""
    monkeypatch.setenv("LANDMARK_PRECISION", request.param)
    return request.param


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A tiny miniature world: 3 landmarks, about 6 images each, 12 test images, 64 px."""
    from landmark.world.make import make_world

    return make_world(tmp_path_factory.mktemp("world") / "w", landmarks=3, images=6, test=12, size=64, progress=False)


@pytest.fixture
def small_networks(monkeypatch):
    """Runs train and open a small network in the place of the large ones."""
    from landmark.training import run, step

    def create(name, classes, *, seed=0, **more):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Small(classes)

    for module in (run, step):
        monkeypatch.setattr(module, "create_model", create)


@pytest.fixture
def full_disk():
    """A context in which no file of this process grows beyond so many bytes: for it the disk is full then."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def full(size):
        before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)

    return full


@pytest.fixture
def overlapping(monkeypatch):
    """Two threads decode at once, and the one that came first leaves first: what each sets aside is put back crosswise.

    A function that the test calls last: that it was so, and that what the caller asked to be warned of still holds.
    """
    from PIL import Image

    from landmark.data import dataset as data_dataset
    from landmark.data import images
    from landmark.prepare import inspection

    both, gone, lock, order = threading.Event(), threading.Event(), threading.Lock(), []
    before = list(warnings.filters)

    def number():
        with lock:
            if threading.get_ident() not in order:
                order.append(threading.get_ident())
            return order.index(threading.get_ident())

    def inside(function):
        def late(*args, **more):
            if number() == 1:
                both.set()
                gone.wait(60)
            elif number() == 0:
                both.wait(60)
            return function(*args, **more)

        return late

    def leaving(function):
        def early(*args, **more):
            try:
                return function(*args, **more)
            finally:
                if number() == 0:
                    gone.set()

        return early

    monkeypatch.setattr(Image, "open", inside(Image.open))
    monkeypatch.setattr(inspection, "CHUNK", 1)
    monkeypatch.setattr(inspection, "inspect_image", leaving(inspection.inspect_image))
    monkeypatch.setattr(data_dataset, "read_image", leaving(images.read_image))
    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(data_dataset, "_threads", lambda: pool)

        def check():
            assert both.is_set() and gone.is_set(), "no two threads met"
            assert warnings.filters == before

        yield check


def _random_numbers():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


@pytest.fixture
def untouched():
    """The caller's random numbers go on after the test as if it had not been: Python's, NumPy's, torch's."""
    before = _random_numbers()
    yield
    assert all(a == b for a, b in zip(_random_numbers(), before, strict=True)), "the caller's random numbers moved"


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of three landmarks; two are the same picture saved twice, one is broken, one missing."""
    rng, rows = np.random.default_rng(0), []
    for i in range(12):
        image_id, path = f"{i:x}" * 16, image_path(tmp_path, "train", f"{i:x}" * 16)
        path.parent.mkdir(parents=True)
        rows.append((image_id, "https://example.org/x.jpg", i % 3))
        pixels = np.kron(
            np.random.default_rng(1 if i in (0, 3) else i + 10).integers(0, 256, (6, 6, 3)), np.ones((8, 8, 1))
        )
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90 if i else 70)
    image_path(tmp_path, "train", "b" * 16).unlink()
    image_path(tmp_path, "train", "a" * 16).write_bytes(b"<html>")
    pd.DataFrame(rows, columns=["id", "url", "landmark_id"]).sample(frac=1, random_state=int(rng.integers(9))).to_csv(
        tmp_path / "train.csv", index=False
    )
    return tmp_path


@pytest.fixture
def served(tmp_path):
    """A folder with one file, served; faults and log of its server; a folder to fetch into."""

    one = SimpleNamespace(faults={}, log=[], folder=tmp_path / "served", out=tmp_path / "out" / "f.tar")
    one.asked = lambda: [place for method, _, place in one.log if method == "GET"]
    one.folder.mkdir()
    (one.folder / "f.tar").write_bytes(DATA)
    with serve(one.folder, one.faults, one.log) as one.root:
        one.url = f"{one.root}/f.tar"
        yield one


@pytest.fixture
def mirror(tmp_path, world):
    """A miniature of the public server's layout, served."""
    from landmark.prepare.mirror import make_mirror

    folder = make_mirror(world, tmp_path / "mirror", tars=3)
    (folder / "metadata" / "train_label_to_hierarchical.csv").unlink()  # an optional file that a server lacks
    one = SimpleNamespace(folder=folder, faults={}, log=[])
    with serve(folder, one.faults, one.log) as one.url:
        yield one


@pytest.fixture
def put(tmp_path):
    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
