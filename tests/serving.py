"""What tests of downloads share: a file with its sums, a download that is interrupted, another process."""

import hashlib
import multiprocessing
import random
import threading
import warnings

import pytest
from tqdm import tqdm

from landmark.utils.http.fetch import fetch, part_path
from tests.server import BLOCK, Fault

DATA = random.Random(0).randbytes(5 * BLOCK + 123)
MD5, SHA = hashlib.md5(DATA).hexdigest(), hashlib.sha256(DATA).hexdigest()


def only(path):
    """Nothing lies beside the file."""
    return sorted(p.name for p in path.parent.iterdir()) == [path.name]


def interrupted(served, at):
    """Leave a part of `at` bytes, as Ctrl-C does."""
    served.faults["f.tar"] = Fault(times=1, cut=at)
    seen = []

    def press(count):
        seen.append(count)
        if sum(seen) >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(served.url, served.out, advance=press)
    served.faults.clear()
    assert part_path(served.out).stat().st_size == at and not served.out.exists()


def child(work, *args):
    """Another process. Killed with a bar's lock in its hand it would leave this one waiting, so it has one of its own."""

    def alone():
        tqdm.set_lock(threading.RLock())
        work(*args)

    process = multiprocessing.get_context("fork").Process(target=alone, daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking beside the server's threads
        process.start()
    return process


def tree(folder):
    return {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".landmark" not in p.parts
    }
