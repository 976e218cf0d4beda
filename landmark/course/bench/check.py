"""How fast `landmark check` is: images a second of the whole check, from files and from TARs."""

from __future__ import annotations

import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from landmark.data.images import image_path
from landmark.prepare.check import check_data
from landmark.utils.process import usable_cpus


def _pictures(count: int, size: int) -> Iterator[tuple[str, bytes]]:
    """Yield ids and JPEGs of smooth shapes under fine grain, about as many bytes as a photograph of that size."""
    for number in range(count):
        rng = np.random.default_rng(number)
        shapes = cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8), (size * 4 // 3, size))
        grain = rng.normal(0, 6, shapes.shape[:2])[..., None]
        out = io.BytesIO()
        Image.fromarray((shapes + grain).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
        yield f"{number * 2654435761 % 2**32:016x}", out.getvalue()


def bench_check(images: int = 3000, size: int = 256, repeats: int = 3) -> dict:
    """Time the check of generated JPEGs, loose and in a TAR: tables, indices, decoding, duplicates and report together.

    Args:
        images: how many.
        size: their shorter side, pixels.
        repeats: of each, interleaved; the medians count.

    Returns:
        Images a second, `folder` and `tar`, with the seconds of every repeat; `images`, `size`, `bytes` of a file on
        average, `cores`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder, packed = Path(scratch, "folder"), Path(scratch, "tar")
        (packed / "train").mkdir(parents=True)
        total, rows = 0, ["id,url,landmark_id"]
        with tarfile.open(packed / "train" / "images_000.tar", "w") as tar:
            for image_id, data in _pictures(images, size):
                path = image_path(folder, "train", image_id)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                tar.add(path, path.relative_to(folder / "train"))
                rows.append(f"{image_id},https://example.org/{image_id}.jpg,{len(rows) % 50}")
                total += len(data)
        seconds: dict[str, list[float]] = {"folder": [], "tar": []}
        for root in (folder, packed):
            (root / "train.csv").write_text("\n".join(rows) + "\n")
        for _ in range(repeats):
            for root in (folder, packed):
                start = time.perf_counter()
                report = check_data(root, progress=False)
                seconds[root.name].append(round(time.perf_counter() - start, 3))
                if report.images != {"train": images}:
                    raise RuntimeError(f"{root}: {report.images} of {images} images are readable")
    rates = {name: round(images / statistics.median(times), 1) for name, times in seconds.items()}
    settings = {"images": images, "size": size, "bytes": total // images, "cores": usable_cpus()}
    return settings | rates | {f"{name}_seconds": times for name, times in seconds.items()}
