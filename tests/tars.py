"""TARs for tests: of pictures that are random bytes, and by hand, as no writer would write them."""

import io
import tarfile

import numpy as np


def member(image_id):
    return f"{'/'.join(image_id[:3])}/{image_id}.jpg"


def header(name, size=0, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def raw_tar(*blocks):
    """A TAR from headers and contents, by hand: what no writer would write."""
    return b"".join(block + b"\0" * (-len(block) % 512) for block in blocks) + b"\0" * 1024


def write_tar(path, contents, format=tarfile.GNU_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pictures(count, seed=0):
    random = np.random.default_rng(seed)
    return {random.bytes(8).hex(): random.bytes(int(random.integers(1, 3000))) for _ in range(count)}
