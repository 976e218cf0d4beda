"""What every test shares: no network, no figures on a screen, nothing written into the work tree."""

import ipaddress
import os
import random
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

_scratch = tempfile.mkdtemp(prefix="landmark-tests-")
for _name in ("DATA", "RUNS", "FIGURES"):
    os.environ[f"LANDMARK_{_name}"] = str(Path(_scratch) / _name.lower())
os.environ.pop("LANDMARK_GLDV2", None)
os.environ["MPLBACKEND"] = "Agg"
_connect = socket.socket.connect


def _loopback_only(self, address):
    host = address[0] if isinstance(address, tuple) else ""
    if self.family in (socket.AF_INET, socket.AF_INET6):
        local = host == "localhost" or (host[:1].isdigit() or ":" in host) and ipaddress.ip_address(host).is_loopback
        if not local:
            raise OSError(f"tests have no network: connection to {address} refused")
    return _connect(self, address)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Sockets reach this machine only."""
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A tiny miniature world: 3 landmarks, about 6 images each, 12 test images, 64 px."""
    from landmark.synthetic import make_world

    return make_world(tmp_path_factory.mktemp("world") / "w", landmarks=3, images=6, test=12, size=64, progress=False)


def _random_numbers():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


@pytest.fixture
def untouched():
    """The caller's random numbers go on after the test as if it had not been: Python's, NumPy's, torch's."""
    before = _random_numbers()
    yield
    assert all(a == b for a, b in zip(_random_numbers(), before, strict=True)), "the caller's random numbers moved"
