"""Maps kept for all epochs and runs: against the images they stand for, through kills, beside other processes."""

import collections
import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch

from landmark.data import dataset as data_dataset
from landmark.data.dataset import Bad, LandmarkDataset, train_transform
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.images import image_path
from landmark.data.loader import Quarantine
from landmark.training.frozen import cache, maps, pieces
from landmark.training.frozen.cache import Shelf, opened, shelves
from landmark.training.frozen.maps import FrozenMaps, kept_maps
from landmark.utils import distributed
from landmark.utils.errors import InputError

BOTH = train_transform(32, (0.5,) * 3, (0.5,) * 3)


class Stages:
    """Stand-in for frozen stages: smaller, in bytes, another map for another flip or shift; counts the images."""

    def __init__(self):
        self.seen = 0

    def maps(self, images):
        if images.any():  # not the blank one that tells the size of a map
            self.seen += len(images)
        return (images[..., ::8, ::8] * 50 + 128).to(torch.uint8)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDMARK_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(maps, "PIECE", 3)


def dataset_of(root, table=None, views=2, **more):
    table = GoogleLandmarks(root).train if table is None else table
    labels = LabelMap(GoogleLandmarks(root).train["landmark_id"])
    return LandmarkDataset(table, root, "train", labels, *BOTH, views=views, **more)


def filled(dataset, folder):
    kept = FrozenMaps(dataset, folder)
    collections.deque(kept.fill(Stages().maps), 0)
    return kept


def right(kept, dataset):
    """Whether each map is that of its image and view; how many are bad."""
    bad = 0
    for epoch in range(5):
        for row in range(len(dataset)):
            expected, found = dataset[epoch, row], kept[epoch, row]
            if isinstance(expected, Bad):
                bad += 1
                assert found == expected
            else:
                assert torch.equal(found.image, Stages().maps(expected.image[None])[0])
                assert (found.label, found.image_id) == (expected.label, expected.image_id)
    return bad


def test_epochs_see_the_views_in_turn(tmp_path, folder):
    """Fails when a map is another image's, another view's or another label's, or a bad image shifts those after it."""
    dataset = dataset_of(folder)
    kept = filled(dataset, tmp_path / "maps")
    assert right(kept, dataset) and len(kept) == len(dataset) and kept.shape == (3, 4, 4)
    pairs = [(kept[0, i], kept[1, i]) for i in range(len(dataset))]
    assert any(not torch.equal(a.image, b.image) for a, b in pairs if not isinstance(a, Bad)), "views differ"
    other = dataset_of(folder, views=0)
    assert all(isinstance(a, Bad) or torch.equal(a.image, b.image) for a, b in
               ((dataset[e, i], other[e % 2, i]) for e in range(4) for i in range(12)))  # fmt: skip


def test_any_table_finds_what_another_left(folder):
    """Fails when maps belong to rows and not to images: another split, or a longer table, computes them again."""
    table, stages = GoogleLandmarks(folder).train, Stages()
    tables = [table[:7], table[3:], table.sample(frac=1, random_state=1), pd.concat([table[:2], table[1:3]])]
    for part in tables:
        dataset = dataset_of(folder, part)
        with kept_maps(stages, {"a": 1}, dataset) as kept:
            right(kept, dataset)
    assert stages.seen == 2 * 10, "each of ten sound images twice"


def test_a_changed_image_is_looked_at_again(folder):
    """Fails when an image that was exchanged, repaired or taken away gives its old map, or the others lose theirs."""
    stages, gone, there = Stages(), "b" * 16, "5" * 16
    for change, more in (
        (lambda: None, 20),
        (lambda: shutil.copy(image_path(folder, "train", "6" * 16), image_path(folder, "train", there)), 2),
        (lambda: shutil.copy(image_path(folder, "train", there), image_path(folder, "train", gone)), 2),
        (lambda: image_path(folder, "train", there).unlink(), 0),
    ):
        change()
        before, dataset = stages.seen, dataset_of(folder)
        with kept_maps(stages, {"a": 1}, dataset) as kept:
            right(kept, dataset)
        assert stages.seen - before == more
    other = shutil.copytree(folder, folder.parent / "other")
    with kept_maps(stages, {"a": 1}, dataset_of(other)):
        pass
    assert stages.seen - before == 20, "another folder's images are others"


def test_another_basis_never_hits(folder):
    """Fails when maps of other weights, another size or another arithmetic are given."""
    stages = Stages()
    for number in (1, 2, 2):
        with kept_maps(stages, {"a": number}, dataset_of(folder)):
            pass
    assert stages.seen == 40 and len(shelves()) == 2


def test_killed_while_writing_nothing_wrong_is_read(tmp_path, folder, monkeypatch):
    """Fails when a kill leaves a file that a later start takes for whole, or throws away those that are."""
    save, dataset, stages = pieces.save_file, dataset_of(folder), Stages()
    written = []

    def deadly(tensors, path, metadata):
        if len(written) == 3:
            Path(path).write_bytes(b"half")
            os._exit(9)
        written.append(path)
        save(tensors, path, metadata)

    def die():
        pieces.save_file = deadly
        data_dataset._threads.cache_clear()  # they were left behind
        with kept_maps(stages, {"a": 1}, dataset):
            pass

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join(60)
    assert process.exitcode == 9
    (shelf,) = shelves()
    assert len(list(shelf.path.glob(".*.part"))) == 1 and len(list(shelf.path.glob("*.safetensors"))) == 3
    with kept_maps(stages, {"a": 1}, dataset) as kept:
        right(kept, dataset)
        assert not list(shelf.path.glob(".*.part")) and shelf.in_use()
    assert 0 < stages.seen < 20 and not shelf.in_use()


def test_two_processes_fill_it_at_once(folder):
    """Fails when two that begin together make a map twice, read one half-written, or wait for ever."""
    context = multiprocessing.get_context("fork")
    begin, counts = context.Barrier(2), context.Queue()

    def work():
        data_dataset._threads.cache_clear()
        dataset, stages = dataset_of(folder), Stages()
        begin.wait(60)
        with kept_maps(stages, {"a": 1}, dataset) as kept:
            right(kept, dataset)
        counts.put(stages.seen)

    both = [context.Process(target=work) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted(counts.get(timeout=10) for _ in both) == [0, 20]


def test_who_waits_can_be_stopped(folder, monkeypatch):
    """Fails when Ctrl-C is not heard while another process makes the maps."""
    asked = threading.Event()
    with opened({"a": 1}) as shelf, cache.alone(shelf.path / ".fill.lock"):
        monkeypatch.setattr(maps.time, "sleep", lambda seconds: asked.set())
        with pytest.raises(KeyboardInterrupt), kept_maps(Stages(), {"a": 1}, dataset_of(folder), asked=asked):
            pass


def test_asked_to_stop_it_keeps_what_it_has(folder):
    """Fails when Ctrl-C among the maps waits for all of them, or loses those that were made."""
    asked, stages = threading.Event(), Stages()
    stages.maps, real = lambda images: asked.set() or real(images), stages.maps
    with pytest.raises(KeyboardInterrupt), kept_maps(stages, {"a": 1}, dataset_of(folder), asked=asked):
        pass
    assert 0 < stages.seen <= 3
    asked.clear()
    del stages.maps
    with kept_maps(stages, {"a": 1}, dataset_of(folder)) as kept:
        assert kept is not None and stages.seen == 20


@pytest.mark.parametrize("what", ["cut", "empty", "no JSON", "flipped"])
def test_damage_is_mended_or_named(folder, what):
    """Fails when a damaged file is a traceback or a wrong map."""
    dataset, stages = dataset_of(folder), Stages()
    with kept_maps(stages, {"a": 1}, dataset):
        pass
    path = min(shelves()[0].path.glob("000-*.safetensors"))
    whole, before = path.read_bytes(), stages.seen
    path.write_bytes({"cut": whole[:-5], "empty": b"", "no JSON": whole.replace(b'"images"', b'"imagos"'),
                      "flipped": whole[:-1] + bytes([whole[-1] ^ 1])}[what])  # fmt: skip
    with kept_maps(stages, {"a": 1}, dataset) as kept:
        if what == "flipped":
            with pytest.raises(
                InputError, match=rf"{path.name}: damaged \(its checksum differs\): delete it, then the"
            ):
                right(kept, dataset)
            path.unlink()
        else:
            right(kept, dataset)
            assert 0 < stages.seen - before <= 3
    with kept_maps(stages, {"a": 1}, dataset) as kept:
        right(kept, dataset)
    assert 0 < stages.seen - before <= 3


def test_without_room_it_says_so_and_goes_on(folder, monkeypatch, log_lines):
    """Fails when a full disk or a limit ends a training that can do without maps, or is passed unsaid."""
    stages, usage = Stages(), collections.namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr("landmark.utils.errors.shutil.disk_usage", lambda path: usage(0, 0, 10))
        with kept_maps(stages, {"a": 1}, dataset_of(folder)) as kept:
            assert kept is None
    monkeypatch.setenv("LANDMARK_CACHE_GB", "0.0000005")
    with kept_maps(stages, {"a": 1}, dataset_of(folder)) as kept:
        assert kept is None
    assert len(log_lines) == 2 and "room for 10 B" in log_lines[0] and "they need 1.2 kB" in log_lines[1]
    assert stages.seen == 0 and not shelves(), "nothing is left of it"
    monkeypatch.setenv("LANDMARK_CACHE_GB", "0")
    with kept_maps(stages, {"a": 1}, dataset_of(folder)) as kept:
        assert kept is None and len(log_lines) == 2


def test_a_write_that_fails_says_so_and_goes_on(folder, monkeypatch, log_lines):
    """Fails when a disk that fills up shows a traceback, or leaves a file that a later start takes for whole."""
    save = pieces.save_file

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pieces, "save_file", full)
    with kept_maps(Stages(), {"a": 1}, dataset_of(folder)) as kept:
        assert kept is None
    assert len(log_lines) == 1 and "safetensors: cannot be written" in log_lines[0] and not shelves()
    monkeypatch.setattr(pieces, "save_file", save)
    monkeypatch.setenv("LANDMARK_DATA", str(image_path(folder, "train", "1" * 16)))
    with kept_maps(Stages(), {"a": 1}, dataset_of(folder)) as kept:
        assert kept is None and len(log_lines) == 2


def test_too_many_bad_images_end_it(folder):
    """Fails when bad images are not counted because they are met among the maps, the first time or the second."""
    for _ in range(2):
        with (
            pytest.raises(InputError, match="2 bad images, limit 1"),
            kept_maps(Stages(), {"a": 1}, dataset_of(folder), quarantine=Quarantine(1)),
        ):
            pass


def test_ranks_share_out_one_list(tmp_path, folder, monkeypatch):
    """Fails when ranks share out what each finds missing, while another writes already: some files nobody makes."""
    dataset = dataset_of(folder)
    first = FrozenMaps(dataset, tmp_path / "maps")
    files = first.missing()
    next(first.fill(Stages().maps))
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "gather", lambda own: [files, own])
    late = filled(dataset, tmp_path / "maps")
    wanted = {(view, dataset.ids[row]) for view, rows in files[2::2] for row in rows}
    found = {(view, dataset.ids[row]) for view, rows in late.missing() for row in rows}
    assert wanted <= found and len(list((tmp_path / "maps").glob("*.safetensors"))) == 1 + len(files[1::2])


def test_a_shelf_describes_itself(folder):
    """Fails when counts are those of files, or a bad image counts."""
    with kept_maps(Stages(), {"backbone": "net", "stage": "s", "size": 32}, dataset_of(folder)) as kept:
        shelf = Shelf(kept.pieces.folder)
        assert shelf.counts() == (2, 10)
        assert f"{shelf.key}  net up to s, 32 px" in shelf.describe() and "10 images, 2 views, " in shelf.describe()


def test_signals_are_left_alone(folder):
    """Fails when opening maps changes what Ctrl-C does."""
    before = signal.getsignal(signal.SIGINT)
    with kept_maps(Stages(), {"a": 1}, dataset_of(folder)):
        assert signal.getsignal(signal.SIGINT) is before
