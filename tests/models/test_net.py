"""Oracles: the paper's shapes, steps recomputed by hand, a round trip through safetensors."""

import math
from itertools import product

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from landmark.models import net
from landmark.models.folding import fast_model
from landmark.models.layers import AveragePool, CompactBilinearPooling, Normalise, SelfAttention2d
from landmark.models.net import as_map, build_pooling, create_model, embedding_sizes, map_channels
from landmark.models.recipes import BACKBONES, COSINES, HEADS, POOLINGS, RECIPES, Switches, list_models
from landmark.utils.errors import InputError

LITE = [name for name in list_models() if name.startswith("efficientnet_lite0")]
VGG = [name for name in list_models() if name.startswith("vgg16")]


@pytest.mark.parametrize("name", [*list_models()[:8], "resnet50_max", "xception_gem", *LITE, *VGG])
def test_every_pooling_learns_and_comes_back_from_disk(name, tmp_path):
    """Fails when a recipe breaks under autocast or channels_last, loses a gradient, or forgets a tensor on disk."""
    weights = "imagenet" if name in LITE else "none"
    model = create_model(name, 5, weights=weights).to(memory_format=torch.channels_last).train()
    x = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(x).float(), torch.tensor([0, 4]))
    loss.backward()
    assert torch.isfinite(loss)
    silent = [n for n, p in model.named_parameters() if p.grad is None]
    assert not silent
    torch.optim.SGD(model.parameters(), 1e-3).step()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "m.safetensors")
    other = create_model(name, 5, seed=1).eval()
    other.load_state_dict(load_file(tmp_path / "m.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(other(x), model.eval()(x), rtol=1e-3, atol=1e-4)
        features = model.forward_features(x)
        assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)


def test_embedding_sizes_of_all_combinations():
    """Fails when a pooling does not follow the channels of its map, or the table of sizes moves random numbers."""
    assert net.POOLING_LAYERS.keys() == POOLINGS.keys()
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    sizes = embedding_sizes()
    assert torch.equal(first, torch.rand(1))
    assert list(sizes) == list_models()
    assert sizes == {
        name: 8192
        if "cbp" in name or "projection" in name
        else 1280
        if "lite" in name
        else 512
        if "vgg" in name
        else 2048
        for name in RECIPES
    }


def test_measuring_a_pooling_moves_nothing_in_it():
    """Fails when a blank map passes layers in training mode and their spectral norms take a step."""
    torch.manual_seed(0)
    plain = SelfAttention2d(16).state_dict()
    torch.manual_seed(0)
    pool, size = build_pooling("cbp_attention_map", 16)
    assert size == 8192 and pool.training and all(module.training for module in pool.modules())
    assert all(torch.equal(value, plain[key]) for key, value in pool[0].state_dict().items())


@pytest.fixture
def lite(monkeypatch):
    """One line more in the table of backbones: 1280 channels, ReLU6, activations inside the norms."""
    monkeypatch.setitem(BACKBONES, "lite", {"timm": "efficientnet_lite0", "mean": (0.5,) * 3, "std": (0.5,) * 3})
    for pooling in ("spatial", "cbp_attention_map"):
        monkeypatch.setitem(RECIPES, f"lite_{pooling}", ("lite", pooling))


def test_another_backbone_is_one_line(lite, precision):
    """Fails when 2048 channels are taken for granted, or the fast copy has no way with another activation."""
    torch.manual_seed(0)
    model = create_model("lite_spatial", 3)
    assert [shape for _, shape, _ in model.shapes(64)][1:] == [
        (1280, 2, 2), (1280,), (8, 10, 16), (8, 10, 16), (1280,), (3,),
    ]  # fmt: skip
    x = torch.rand(2, 3, 64, 64)
    model.train()(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        features = model.eval().forward_features(x)
        difference = fast_model(model).forward_features(x) - features
        assert difference.norm() < (1e-5 if precision == "float32" else 0.2) * features.norm()
    assert create_model("lite_cbp_attention_map", 0, freeze="blocks.6").num_features == 8192


class _Odd(nn.Module):
    """A backbone that says one number of channels and gives another, or no map at all."""

    def __init__(self, channels, flat):
        super().__init__()
        self.num_features, self.conv, self.flat = channels, nn.Conv2d(3, 5, 3), flat

    def forward_features(self, x):
        return self.conv(x).mean((2, 3)) if self.flat else self.conv(x)


def test_what_does_not_fit_together_is_found_when_it_is_built(monkeypatch):
    """Fails when a wrong number of channels is found by the first batch, in words of a tensor library."""
    for channels, flat in ((7, False), (5, True)):
        with pytest.raises(InputError, match=rf"^backbone odd: gives \(1, 5.*expected a map \(1, {channels}, H, W\)$"):
            map_channels(_Odd(channels, flat), "odd")
    assert map_channels(_Odd(5, False), "odd") == 5
    wrong = {
        "takes no map of 2048 channels": lambda c, *more: [AveragePool(), CompactBilinearPooling(1280)],
        "20 numbers do not divide into 8 maps": lambda c, *more: [AveragePool(), as_map(20)],
        "expected vectors": lambda c, *more: [nn.Flatten()],  # a size for each size of the image
        "gives .*2048, 1, 1": lambda c, *more: [nn.AdaptiveAvgPool2d(1)],  # a map
    }
    for words, layers in wrong.items():
        monkeypatch.setitem(net.POOLING_LAYERS, "gem", layers)
        with pytest.raises(InputError, match=rf"^pooling gem: .*{words}[^\n]*$"):
            create_model("resnet50_gem", 3)


def test_shapes_are_the_papers():
    """Fails when a vector is reshaped or sketched to another size than the paper's figures 1-3 say."""
    shapes = {name: [s for _, s, _ in create_model(name, 7).shapes(64)] for name in list_models()[2:5]}
    assert (8, 16, 16) in shapes["xception_spatial"]
    assert (8192,) in shapes["xception_cbp"]
    assert (8, 32, 32) in shapes["xception_cbp_attention"]
    assert all(s[-1] == (7,) for s in shapes.values())


def test_features_then_head_is_the_whole_and_no_classes_gives_embeddings():
    """Fails when forward skips a step, or the embedding is taken after the head."""
    model = create_model("xception_cbp_map", 4).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = model.forward_features(x)
        assert features.shape[:2] == (2, 2048)
        assert torch.equal(model(x), model.forward_head(features))
        embedding = model.forward_head(features, pre_logits=True)
        assert embedding.shape == (2, 8192)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    assert torch.equal(create_model("xception_cbp_map", 0).eval()(x), embedding)


def test_the_seed_alone_decides_the_weights():
    """Fails when building a model disturbs, or depends on, the caller's random numbers."""
    torch.manual_seed(3)
    a = create_model("resnet50", 2, seed=5)
    first = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(first, torch.rand(1))
    assert torch.equal(a.head[1].weight, create_model("resnet50", 2, seed=5).head[1].weight)


@pytest.mark.parametrize("call", [("vgg", 3), ("xception", -1)])
def test_bad_arguments_are_one_line(call):
    """Fails when a typo surfaces as a KeyError."""
    with pytest.raises(InputError, match="choose one of|give 0"):
        create_model(*call)


def test_vgg_ends_with_its_map():
    """Fails when the two wide layers of its classifier, nine tenths of its weights, are kept and never learn."""
    model = create_model("vgg16", 3)
    assert [shape for _, shape, _ in model.shapes(64)][1:] == [(512, 2, 2), (512,), (3,)]
    assert sum(p.numel() for p in model.backbone.parameters()) < 15e6
    with pytest.raises(InputError, match=r"no stage 'block7'.*features.0, .*, features.43, or all"):
        create_model("vgg16", 3, freeze="block7")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["resnet50_gem", "vgg16_cbp_map"])
def test_every_head_learns_and_gives_logits_of_the_embedding(name, head):
    """Fails when a head loses a gradient, GeM's exponent stays, or the embedding or the name in drawings is another's."""
    model, x = create_model(name, 5, head=head).train(), torch.rand(3, 3, 64, 64)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    adam = torch.optim.Adam(model.parameters(), 0.01)
    torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 4])).backward()
    adam.step()
    still = [key for key, p in model.named_parameters() if torch.equal(before[key], p)]
    assert not [key for key in still if not key.startswith("backbone.") and "bias" not in key]
    if "gem" in name:
        assert model.pool[0].p.item() != 3
    with torch.no_grad():
        embedding = model.eval().forward_head(model.forward_features(x), pre_logits=True)
        assert embedding.shape == (3, model.num_features) == (3, {"mlp": 2048 if "gem" in name else 8192}.get(
            head.removesuffix("_plain"), 512))  # fmt: skip
        torch.testing.assert_close(model.head(embedding), model(x))
        if head in COSINES:
            assert model(x).abs().max() <= 45.001
    name, shape, _ = model.shapes(64)[-1]
    widths = {"mlp": ": 512, 5", "mlp_plain": ": 512, 5", "neck": ": 5"}
    assert shape == (5,) and name == (f"fully connected{widths[head]}" if head in widths else "CosineClassifier")


def test_switches_of_the_bilinear_recipes():
    """Fails when a switch is not built, is built where none is asked for, or another model's is taken without a word."""
    kinds = {
        "cbp_map": (True, True), "cbp": (False, False), "cbp_attention": (False, False), "cbp_attention_map": (True, True),
        "cbp_spatial_map": (True, True),
    }  # fmt: skip
    for pooling, usual in kinds.items():
        for root, l2 in ((None, None), (True, None), (None, False), (False, False)):
            pool, _ = build_pooling(pooling, 16, Switches(root=root, l2=l2))
            found = [(layer.root, layer.l2) for layer in pool if isinstance(layer, Normalise)] or [(False, False)]
            assert found == [(usual[0] if root is None else root, usual[1] if l2 is None else l2)]
    model = create_model("resnet50_cbp", 0, root=True).eval()
    plain = create_model("resnet50_cbp", 0).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x), Normalise(True, False)(plain(x)))
    assert create_model("resnet50_spatial_map", 0, temperature=2.0).pool[0].temperature == 2


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("root", [True, False])
def test_attentive_bilinear_pooling_is_the_plain_loop(temperature, root):
    """Fails when positions are weighted by the root or the square of their attention, or all alike, or normalised."""
    pool, _ = build_pooling("cbp_spatial_map", 5, Switches(root=root, l2=root, temperature=temperature))
    h1, s1, h2, s2 = (getattr(pool[1], name).tolist() for name in ("h1", "s1", "h2", "s2"))
    x = torch.randn(2, 5, 2, 3, generator=torch.Generator().manual_seed(1))
    found = pool(x.to(memory_format=torch.channels_last)).double()
    for image, y in zip(x.double().flatten(2).transpose(1, 2).tolist(), found, strict=True):
        shares = [math.exp(sum(position) / math.sqrt(5) / temperature) for position in image]
        expected = torch.zeros(8192, dtype=torch.float64)
        for share, position in zip(shares, image, strict=True):
            for (a, first), (b, second) in product(enumerate(position), repeat=2):
                expected[(h1[a] + h2[b]) % 8192] += share / sum(shares) * s1[a] * s2[b] * first * second
        if root:  # with the length, as the models of a map have it
            expected = expected.sign() * expected.abs().sqrt()
            expected /= expected.norm()
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=2e-4 if root else 1e-6)


def test_switches_of_attention_reach_their_layer():
    """Fails when γ starts elsewhere, an order is drawn but not used, or the same seed gives another one."""
    for pooling in ("cbp_attention", "cbp_attention_map"):
        model = create_model(f"efficientnet_lite0_{pooling}", 0, gamma=1)
        assert model.learnt_numbers() == {"gamma": 1.0}
        assert create_model(f"efficientnet_lite0_{pooling}", 0).learnt_numbers() == {"gamma": 0.0}
    x = torch.rand(2, 16, 3, 3)
    plain, one, again = (build_pooling("spatial", 16, Switches(shuffle=seed))[0] for seed in (0, 5, 5))
    order = one[1].order
    assert not torch.equal(plain(x), one(x)) and torch.equal(one(x), again(x))
    torch.testing.assert_close(one(x), plain(x[:, order]))  # as if the channels had come in that order
    assert "order" not in "".join(one.state_dict())
    model = create_model("resnet50_gem", 0)
    model.pool[0].p.data.fill_(2.5)
    assert model.learnt_numbers() == {"p": 2.5} and not create_model("resnet50", 3, head="neck").learnt_numbers()
