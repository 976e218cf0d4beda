"""Oracles: the paper's shapes, steps recomputed by hand, a round trip through safetensors."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from landmark.models import create_model, list_models
from landmark.runtime import InputError


@pytest.mark.parametrize("name", list_models())
def test_every_model_learns_and_comes_back_from_disk(name, tmp_path):
    """Fails when a recipe breaks under autocast or channels_last, loses a gradient, or forgets a tensor on disk."""
    model = create_model(name, 5).to(memory_format=torch.channels_last).train()
    x = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(x).float(), torch.tensor([0, 4]))
    loss.backward()
    assert torch.isfinite(loss)
    silent = [n for n, p in model.named_parameters() if p.grad is None]
    assert not silent
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "m.safetensors")
    other = create_model(name, 5, seed=1).eval()
    other.load_state_dict(load_file(tmp_path / "m.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(other(x), model.eval()(x), rtol=1e-3, atol=1e-4)


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
