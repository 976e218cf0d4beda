"""Images of a table: nothing replaced in silence, the same whatever decodes them."""

import io
import itertools
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from landmark.data import dataset as data_dataset
from landmark.data.dataset import (
    Bad,
    CentreSquare,
    LandmarkDataset,
    WholePicture,
    _moved,
    collate,
    eval_transform,
    train_transform,
    whole_transform,
)
from landmark.data.folder import GoogleLandmarks, LabelMap
from landmark.data.images import image_path
from landmark.data.loader import Quarantine, make_loader
from landmark.prepare import check
from landmark.training.splits import split_dev
from landmark.utils.errors import InputError

HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def test_bad_images_are_named_not_replaced(folder):
    """Fails when a broken image becomes another one, a black one, or shortens the batch without a word."""
    data = GoogleLandmarks(folder)
    dataset = LandmarkDataset(data.train, folder, "train", LabelMap(range(3)), *eval_transform(32, **HALF))
    items = [dataset[i] for i in range(12)]
    bad = {item.image_id[0]: item.reason for item in items if isinstance(item, Bad)}
    assert set(bad) == {"a", "b"} and "no such file" in bad["b"]
    batch = collate(items)
    assert len(batch.ids) == 10 == len(batch.images) == len(batch.labels) and len(batch.bad) == 2
    only_bad = collate([item for item in items if isinstance(item, Bad)])
    assert len(only_bad.images) == 0 and len(only_bad.bad) == 2
    room = Quarantine(limit=1)
    with pytest.raises(InputError, match="2 bad images, limit 1"):
        room.add(batch.bad)


@pytest.mark.parametrize("size", [1, 7])
def test_shift_looks_places_up(monkeypatch, size):
    """Fails when the picture moves the wrong way, an edge is not repeated, or a shift is longer than the picture."""
    image = torch.randint(0, 255, (3, size, size + 2), dtype=torch.uint8)
    for dy, dx in itertools.product((-9, -2, 0, 3, 9), repeat=2):
        rows = [min(max(i + dy, 0), size - 1) for i in range(size)]
        columns = [min(max(i + dx, 0), size + 1) for i in range(size + 2)]
        assert torch.equal(_moved(_moved(image, dy, 1), dx, 2), image[:, rows][:, :, columns])


def test_threads_that_decode_leave_no_trace(folder):
    """Fails when a batch differs from its images one by one, or decoding in threads changes what Python warns of."""
    table, filters = GoogleLandmarks(folder).train, list(warnings.filters)
    dataset = LandmarkDataset(table, folder, "train", LabelMap(range(3)), *train_transform(32, **HALF), seed=4)
    keys = [(1, i) for i in range(12)] * 4
    for found, key in zip(dataset.__getitems__(keys), keys, strict=True):
        single = dataset[key]
        assert type(found) is type(single) and found.image_id == single.image_id
        assert isinstance(found, Bad) or torch.equal(found.image, single.image)
    assert warnings.filters == filters


@pytest.mark.parametrize("what", ["check", "split", "batch", "read"])
def test_threads_leave_the_filters_of_warnings(folder, overlapping, what):
    """Fails when after a pass over images Python is silent for the rest of the process, or warns of other things."""
    table = GoogleLandmarks(folder).train
    if what == "check":
        check.check_data(folder, progress=False)
    elif what == "split":
        split_dev(table, folder, 0.3)
    elif what == "batch":
        LandmarkDataset(table, folder, "train").__getitems__(range(12))
    else:  # from a caller's own threads
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(data_dataset.read_image, [image_path(folder, "train", c * 16) for c in "0123"]))
    overlapping()


def test_kept_images_are_the_same_batches(folder):
    """Fails when keeping images in memory freezes their augmentation, changes it, or forgets the bad ones."""
    table = GoogleLandmarks(folder).train
    passes = []
    for keep in (False, True):
        dataset = LandmarkDataset(table, folder, "train", LabelMap(range(3)), *train_transform(32, **HALF), 4, keep)
        passes.append(list(make_loader(dataset, 12, shuffle=True, seed=4, epochs=range(2))))
    for a, b in zip(*passes, strict=True):
        assert torch.equal(a.images, b.images) and a.ids == b.ids and len(b.bad) == 2
    first, second = (dict(zip(b.ids, b.images, strict=True)) for b in passes[1])
    assert any(not torch.equal(first[i], second[i]) for i in first)


def _blurred(image):
    return image // 2


def test_an_image_looks_the_same_in_any_table(folder):
    """Fails when flips or shifts follow from the row of an image, so that another split sees other ones."""
    table = GoogleLandmarks(folder).train
    pairs = {"augment": train_transform(32, **HALF), "prepare": (ORDERS["flip before it is prepared"][0], None)}
    for both in pairs.values():
        seen = []
        for rows in (table, table[::-1], table[3:9]):
            dataset = LandmarkDataset(rows, folder, "train", None, *both)
            seen.append({item.image_id: item.image for item in (dataset[2, row] for row in range(len(rows)))
                         if not isinstance(item, Bad)})  # fmt: skip
        assert len(seen[0]) == len(seen[1]) == 10 and seen[2]
        assert all(torch.equal(image, seen[0][name]) for other in seen[1:] for name, image in other.items())


ORDERS = {
    "flip first": (None, v2.Compose([v2.RandomHorizontalFlip(), v2.CenterCrop(32)])),
    "flip before it is prepared": (v2.Compose([v2.RandomHorizontalFlip(), CentreSquare(32)]), None),
    "crop first": (v2.Compose([v2.RandomCrop(24), v2.PILToTensor()]), v2.RandomHorizontalFlip()),
    "all in one": (None, v2.Compose([v2.RandomResizedCrop(20), v2.RandomHorizontalFlip(), _blurred])),
}


@pytest.mark.parametrize("order", ORDERS)
def test_an_image_follows_from_seed_epoch_and_id(folder, order):
    """Fails when with a reader's own order of transforms one key gives two images, by itself or for being in memory."""
    table, (prepare, augment) = GoogleLandmarks(folder).train, ORDERS[order]
    passes = []
    for seed, keep in ((4, False), (4, True), (5, False)):
        dataset = LandmarkDataset(table, folder, "train", None, prepare, augment, seed, keep)
        for _ in range(2):
            keys = list(itertools.product(range(3), range(12)))
            torch.rand(1)  # the caller's own numbers have no part in it
            passes.append([item if isinstance(item, Bad) else item.image for item in dataset.__getitems__(keys)])

    def same(a, b):
        return all(x == y if isinstance(x, Bad) else torch.equal(x, y) for x, y in zip(a, b, strict=True))

    assert all(same(passes[0], other) for other in passes[1:4]), "the same for the same key"
    assert same(*passes[4:]) and not same(passes[0], passes[4]), "another seed, other images"
    epochs = [passes[0][start : start + 12] for start in (0, 12, 24)]
    assert augment is None or not same(epochs[0], epochs[1]), "drawn anew in each epoch"


def test_transforms_by_hand():
    """Fails when the crop is off centre, colours are scaled wrongly, or the shift leaves the picture."""
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    assert torch.equal(
        CentreSquare(30)(wide), torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 30, 30)
    )
    x = eval_transform(30, **HALF)(wide)
    assert x.shape == (3, 30, 30) and torch.allclose(x[:, 15, 15], torch.tensor([-1.0, -1.0, 1.0]))
    torch.manual_seed(0)
    y = train_transform(30, **HALF)(Image.new("RGB", (40, 40), (255, 255, 255)))
    assert y.shape == (3, 30, 30) and y.min() == y.max() == 1


def test_a_picture_stays_whole():
    """Fails when a picture is cropped or squashed that is no panorama, or of one another part than the middle stays."""
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    x = whole_transform(30, **HALF)(wide)
    assert x.shape == (3, 30, 60)
    assert ((x[2] == 1) == (torch.arange(60) >= 15) & (torch.arange(60) < 45)).all()
    tall = Image.new("RGB", (20, 30), "red")
    tall.paste((0, 0, 255), (0, 0, 20, 15))
    pixels = WholePicture(10)(tall)
    assert pixels.dtype == torch.uint8 and pixels.shape == (3, 15, 10)
    assert (pixels[2, :5] > 200).all() and (pixels[2, 10:] < 50).all()
    file = io.BytesIO()
    tall.resize((160, 240)).save(file, "JPEG")
    store = SimpleNamespace(read=lambda image_id: file.getvalue())
    photos = LandmarkDataset(pd.DataFrame({"id": ["a"]}), ".", prepare=WholePicture(10), images=store)
    assert photos.decode(0).size == (20, 30), "a JPEG is decoded at reduced scale"
    assert photos[0].image.shape == (3, 15, 10)
