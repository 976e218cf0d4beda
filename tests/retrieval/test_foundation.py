"""Oracles: timm's own networks; a hub on this machine, with files of random numbers."""

from functools import partial

import huggingface_hub
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from landmark.retrieval.embed import Embedder, create_embedder, search_embedder
from landmark.retrieval.foundation import FoundationNet
from landmark.retrieval.gallery import open_gallery
from landmark.retrieval.local.features import create_local
from landmark.utils.errors import CheckpointError, InputError
from tests.server import Fault, serve

SMALL = "timm/test_vit.r160_in1k"
FILE = f"{SMALL}/resolve/main/model.safetensors"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with weights of the small network: the network, and what it was asked for."""
    path, log = tmp_path / "hub" / FILE, []
    path.parent.mkdir(parents=True)
    network = timm.create_model(SMALL.removeprefix("timm/")).eval()
    save_file(network.state_dict(), path)
    headers = {"X-Repo-Commit": "a" * 40, "ETag": f'"{"b" * 64}"'}
    with serve(tmp_path / "hub", {FILE: Fault(times=99, method="HEAD", headers=headers)}, log) as url:
        fetch = partial(huggingface_hub.hf_hub_download, endpoint=url.rstrip("/"), cache_dir=tmp_path / "cache")
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
        yield network, log


@pytest.mark.parametrize("name", ["dinov2", "timm/vit_small_patch16_dinov3.lvd1689m"])
def test_an_embedding_is_the_class_token(name):
    """Fails when all tokens are averaged, as timm does for DINOv3, or tokens are taken before their last norm."""
    net = FoundationNet(name, "none")
    x = torch.randn(1, 3, net.size, net.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tokens = net.network.forward_features(x)
        found = net.forward_head(net.forward_features(x))
    assert torch.equal(found, tokens[:, 0]) and found.shape == (1, 384)
    assert not net.training and not any(p.requires_grad for p in net.parameters())


def test_weights_come_from_the_hub_once(hub):
    """Fails when random weights stay, the hub is asked for the file again, or a classifier's rows are in the way."""
    network, log = hub
    x = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.forward_features(x)[:, 0]
        for _ in range(2):
            net = FoundationNet(SMALL)
            torch.testing.assert_close(net.forward_head(net.forward_features(x)), expected)
    assert [line[:2] for line in log if line[0] == "GET" and "safetensors" in line[1]] == [("GET", FILE)]


def test_a_search_takes_it_by_name(hub):
    """Fails when a name of timm's is taken for one of this package's, or looked at in sizes it was not trained on."""
    embedder = search_embedder(SMALL)
    assert embedder.sizes == [160] and not embedder.whole
    assert torch.equal(embedder.original.network.cls_token, hub[0].cls_token)


def test_weights_that_cannot_be_had_are_told(hub, tmp_path):
    """Fails when a missing, damaged or foreign file of weights ends in a traceback or in random numbers."""
    with pytest.raises(InputError, match="test_convnext.r160_in1k: its weights cannot be fetched"):
        FoundationNet("timm/test_convnext.r160_in1k")
    FoundationNet(SMALL)
    (cached,) = (tmp_path / "cache").rglob("blobs/*")
    whole = cached.read_bytes()
    cached.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="damaged checkpoint .*model.safetensors"):
        FoundationNet(SMALL)
    (tmp_path / "other.safetensors").write_bytes(whole)
    for name in ("timm/test_vit2.r160_in1k", "timm/test_convnext.r160_in1k", "timm/convnext_tiny.dinov3_lvd1689m"):
        with pytest.raises(CheckpointError, match="other.safetensors: weights of another network"):
            FoundationNet(name, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="timm/vit_nothing: timm has no weights by this name"):
        FoundationNet("timm/vit_nothing")


def test_a_file_of_its_authors_is_read(tmp_path):
    """Fails when what DINOv2's authors store and timm has no use for, a mask for training, is in the way."""
    random = FoundationNet("dinov2", "none")
    tensors = random.network.state_dict() | {"mask_token": torch.zeros(1, 384)}
    save_file(tensors, tmp_path / "dinov2.safetensors")
    read = FoundationNet("dinov2", tmp_path / "dinov2.safetensors").network.state_dict()
    assert all(torch.equal(read[key], tensors[key]) for key in random.network.state_dict())


def test_it_embeds(monkeypatch, folder):
    """Fails when its vectors are not of length 1, or views that it was not trained on are taken."""
    monkeypatch.setenv("LANDMARK_PRECISION", "float32")
    embedder = create_embedder(SMALL, "none")
    x = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = F.normalize(embedder.original.network(x), dim=1)
    torch.testing.assert_close(embedder(x), expected)
    assert (embedder.size, embedder.name, embedder.whole) == (160, "test_vit.r160_in1k", False)
    for views in ({"scales": (0.5,)}, {"whole": True}):
        with pytest.raises(InputError, match="looks at squares of 160 pixels only"):
            Embedder(embedder.original, 160, **views)
    with pytest.raises(InputError, match="delf: test_vit.r160_in1k has no map"):
        create_local("delf", embedder, open_gallery(folder))
