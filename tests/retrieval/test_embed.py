"""Oracles: the network itself in float32, view by view; networks that count how often they are asked."""

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from landmark.data.dataset import whole_transform
from landmark.data.images import image_path
from landmark.models.folding import fast_model
from landmark.models.net import create_model
from landmark.retrieval import embed
from landmark.retrieval.embed import Embedder, create_embedder, embed_images, search_embedder
from landmark.retrieval.gallery import PhotoFiles
from landmark.utils.errors import InputError

IDS = [f"{i:x}" * 16 for i in range(10)]  # of the fixture `folder`, those that can be read


class Counting(Embedder):
    """Counts the images that it looks at."""

    seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return super().__call__(images)


@pytest.fixture(scope="module")
def model():
    return create_model("efficientnet_lite0", 3)


def counting(model, **more):
    return Counting(model, 32, **more)


def test_a_vector_is_the_mean_of_its_views(model, monkeypatch):
    """Fails when a view is left out or weighs more than another, or the network is changed."""
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")
    embedder, x = Embedder(model, 64, scales=(1, 0.5, 2**0.5), flip=True), torch.rand(2, 3, 91, 91)
    assert embedder.size == 91 and model.training and all(p.requires_grad for p in model.parameters())
    total = torch.zeros(2, 1280)
    with torch.inference_mode():
        for size in (64, 32, 91):
            view = F.interpolate(x, (size, size), mode="bicubic", antialias=True) if size < 91 else x
            for shown in (view, view.flip(3)):
                total += F.normalize(model.eval().forward_features(shown).mean((2, 3)), dim=1)
    model.train()
    torch.testing.assert_close(embedder(x), F.normalize(total, dim=1), rtol=1e-3, atol=1e-5)


def test_only_new_images_are_embedded(model, folder):
    """Fails when the cache is not read, or is read for a file that has changed, another network or another view."""
    first = counting(model)
    half = embed_images(first, IDS[:5], folder, progress=False)
    assert first.seen == 5 and half.ids == IDS[:5] and half.network == first.network
    again = counting(model)
    everything = embed_images(again, IDS[::-1], folder, batch_size=3, progress=False)
    assert again.seen == 5 and everything.ids == IDS[::-1]
    assert np.array_equal(everything.vectors[::-1][:5], half.vectors)
    path = image_path(folder, "train", IDS[2])
    path.write_bytes(image_path(folder, "train", IDS[4]).read_bytes())
    changed = embed_images(again, IDS, folder, progress=False)
    assert again.seen == 6
    np.testing.assert_allclose(changed.vectors[2], changed.vectors[4], atol=0.02)
    for other in (counting(model, flip=True), counting(create_model("efficientnet_lite0", 3, seed=1))):
        embed_images(other, IDS, folder, progress=False)
        assert other.seen == 10
    same = counting(model)
    embed_images(same, IDS, folder, keep=False, progress=False)
    assert same.seen == 10


def test_a_pass_that_is_stopped_goes_on_and_damage_costs_its_piece_alone(model, folder, monkeypatch):
    """Fails when all is lost that was embedded before a stop, or a damaged file of the cache is believed or an error."""
    monkeypatch.setattr(embed, "PIECE", 4)
    embedder = counting(model)

    def stop(images, call=embedder.model.forward_features):
        if embedder.seen > 8:
            raise KeyboardInterrupt
        return call(images)

    monkeypatch.setattr(embedder.model, "forward_features", stop)
    with pytest.raises(KeyboardInterrupt):
        embed_images(embedder, IDS, folder, batch_size=2, progress=False)
    after = counting(model)
    whole = embed_images(after, IDS, folder, batch_size=2, progress=False)
    assert after.seen == 2
    pieces = sorted((folder / ".landmark").rglob("train-*.npz"), key=os.path.getsize)
    assert len(pieces) == 3
    pieces[0].write_bytes(pieces[0].read_bytes()[:-50])
    repaired = counting(model)
    assert np.array_equal(embed_images(repaired, IDS, folder, batch_size=2, progress=False).vectors, whole.vectors)
    assert repaired.seen == 2


def test_images_that_cannot_be_read_are_told(model, folder):
    """Fails when a bad image gets the vector of another, or ends the work."""
    found = embed_images(counting(model), [IDS[0], "a" * 16, IDS[1], "b" * 16], folder, progress=False)
    assert found.ids == IDS[:2] and found.bad.keys() == {"a" * 16, "b" * 16} and found.vectors.shape == (2, 1280)
    with pytest.raises(InputError, match=f"none of 1 images can be read: {'a' * 16}: "):
        embed_images(counting(model), ["a" * 16], folder, progress=False)
    with pytest.raises(InputError, match="none of 0 images"):
        embed_images(counting(model), [], folder, progress=False)
    with pytest.raises(InputError, match=f"image {IDS[1]} is given twice"):
        embed_images(counting(model), [IDS[1], IDS[0], IDS[1]], folder, progress=False)


def test_what_cannot_embed_is_refused(model, folder, monkeypatch):
    """Fails when vectors of NaN are kept, a view is too small for the network, or weights cannot be told apart."""
    for scales in ((), (0.5,), (-1,)):
        with pytest.raises(InputError, match="scales"):
            Embedder(model, 32, scales=scales)
    broken = create_model("efficientnet_lite0", 3)
    broken.backbone.bn2.bias.data.fill_(float("nan"))
    with pytest.raises(InputError, match=f"image {IDS[0]}: its embedding is not finite"):
        embed_images(Embedder(broken, 32), IDS, folder, progress=False)
    fast = fast_model(create_model("resnet50", 3))
    if fast.backbone.form == "blocked":
        with pytest.raises(InputError, match="give the network itself"):
            Embedder(fast, 64)


def test_by_name_it_takes_images_of_the_size_of_its_weights():
    """Fails when a network sees images of another size than its weights were trained at."""
    assert create_embedder("efficientnet_lite0_gem", "none").size == 224
    assert create_embedder("efficientnet_lite2", "none", scales=(0.5, 1)).size == 260


def test_a_search_pools_both_ends_of_three_sizes_by_the_generalised_mean(precision):
    """Fails when an end of a picture is not seen, a view is left out, or a backbone's name alone means the mean."""
    wide = torch.randn(1, 3, 448, 576, generator=torch.Generator().manual_seed(0))
    wide[..., 448:] *= 0.2
    network = create_model("efficientnet_lite0", 0, weights="imagenet").eval()
    views = []
    for height, width, side, last in ((224, 288, 7, 9), (317, 408, 10, 13), (448, 576, 14, 18)):
        with torch.no_grad():
            maps = network.forward_features(F.interpolate(wide, (height, width), mode="bicubic", antialias=True))
        assert maps.shape == (1, 1280, side, last)
        ends = torch.zeros(1280)
        for columns in (range(side), range(last - side, last)):
            cubes = sum(maps[0, :, i, j].clamp(1e-6) ** 3 for i in range(side) for j in columns) / side**2
            ends += cubes ** (1 / 3) / (cubes ** (2 / 3)).sum().sqrt()
        views.append(ends / ends.norm())
    expected = sum(views) / sum(views).norm()
    searching = search_embedder("efficientnet_lite0")
    assert searching.whole
    least = 0.9999 if precision == "float32" else 0.995
    assert searching(wide)[0] @ expected > least
    assert searching(wide.mT)[0] @ expected < least, "another picture has another vector"
    assert search_embedder("efficientnet_lite0_spatial").name == "efficientnet_lite0_spatial"


def test_whole_pictures_of_any_shape_are_embedded_together(model, tmp_path):
    """Fails when pictures of different shapes cannot be embedded, or one is seen as a part of what it is."""
    embedder, pictures = Embedder(model, 32, whole=True), {}
    for number, (height, width) in enumerate(((40, 60), (64, 64), (90, 50))):
        picture = Image.fromarray(np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8))
        picture.save(tmp_path / f"{number}.png")
        pictures[f"{number:016x}"] = picture
    files = PhotoFiles({image_id: tmp_path / f"{i}.png" for i, image_id in enumerate(pictures)})
    found = embed_images(embedder, list(pictures), tmp_path, images=files, keep=False, progress=False)
    transform = whole_transform(32, **model.data_config)
    for vector, picture in zip(found.vectors, pictures.values(), strict=True):
        np.testing.assert_allclose(vector, embedder(transform(picture)[None])[0], atol=1e-6)
    assert embedder.network != Embedder(model, 32).network
