"""Saliency against cases known by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from landmark.evaluation import saliency
from landmark.models import folding
from landmark.models.net import create_model
from landmark.utils.errors import InputError
from tests.evaluation.saliency.planted import Planted


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Planted()


def test_gradient_is_the_finite_difference():
    """Fails when the map shows another class's gradient, or a mean over colours instead of the largest."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 16, 3)).double()
    x, target, eps = torch.rand(1, 3, 6, 6, dtype=torch.float64), 2, 1e-6
    slope = torch.zeros_like(x)
    for i in range(x.numel()):
        step = torch.zeros(x.numel(), dtype=torch.float64)
        step[i] = eps
        step = step.view_as(x)
        slope.view(-1)[i] = (model(x + step) - model(x - step))[0, target] / (2 * eps)
    expected = slope.abs().amax(1)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert torch.allclose(saliency.vanilla_gradient(model, x, target), expected.detach(), atol=1e-5)


@pytest.mark.parametrize("target", [None, 1, torch.tensor([2, 0, 1, 1, 2])])
def test_each_image_has_its_own_class_in_portions(monkeypatch, target):
    """Fails when an image of a later portion is explained by the class of another image, or is lost."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 16, 3))
    nn.init.normal_(model[3].weight)  # large enough that the images get several classes
    x = torch.rand(5, 3, 6, 6)
    monkeypatch.setattr(folding, "CACHE", 2 * 36)
    chosen = model(x).argmax(1) if target is None else torch.as_tensor(target).expand(5)
    alone = [saliency.vanilla_gradient(model, x[i : i + 1], int(chosen[i])) for i in range(5)]
    assert len(set(chosen.tolist())) > 1 or target == 1
    assert torch.allclose(saliency.vanilla_gradient(model, x, target), torch.cat(alone), atol=1e-5)


def test_grad_cam_by_hand():
    """Fails when weights are not the mean gradient: logit = 2·mean(A0) − 3·mean(A1) gives ReLU(2·A0 − 3·A1) in shape."""

    class Known(nn.Module):
        def forward_features(self, x):
            return x[:, :2]

        def forward_head(self, a):
            return torch.stack([2 * a[:, 0].mean((1, 2)) - 3 * a[:, 1].mean((1, 2)), a.sum((1, 2, 3)) * 0], 1)

        def forward(self, x):
            return self.forward_head(self.forward_features(x))

    x = torch.rand(2, 3, 5, 5)
    cam = torch.relu(2 * x[:, 0] - 3 * x[:, 1])
    low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    assert torch.allclose(saliency.grad_cam(Known(), x, 0), (cam - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize("method", [saliency.vanilla_gradient, saliency.smooth_grad, saliency.grad_cam])
def test_nothing_is_left_behind(net, method):
    """Fails when a map leaves gradients, hooks, frozen weights or another mode behind, or leaves [0, 1]."""
    net.train()
    net.conv.weight.requires_grad_(False)
    x = torch.rand(2, 3, 16, 16)
    values = method(net, x)
    assert values.shape == (2, 16, 16) and values.min() >= 0 and values.max() <= 1
    assert net.training and not net.conv.weight.requires_grad and net.conv.bias.requires_grad
    assert all(p.grad is None for p in net.parameters()) and not x.requires_grad
    assert not any(m._forward_hooks for m in net.modules())
    assert torch.equal(values, method(net, x)), "same input, same map"


def test_a_constant_map_is_zero_and_bad_input_is_named(net):
    """Fails when a flat gradient divides by zero, or a wrong class or shape goes through."""
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    nn.init.ones_(flat[1].weight)
    assert not saliency.vanilla_gradient(flat, torch.rand(1, 3, 2, 2)).any()
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(InputError, match="classes 0 to 1"):
        saliency.vanilla_gradient(net, x, 5)
    with pytest.raises(InputError, match="not finite"):
        saliency.grad_cam(net, x * float("nan"))
    with pytest.raises(InputError, match="positions=0: give 1 or more"):
        saliency.random_saliency(x, positions=0)


def test_a_smooth_random_map_is_drawn_at_few_positions():
    """Fails when the rival of Grad-CAM is noise of single pixels, depends on the images, or is not of their size."""
    x = torch.rand(2, 3, 28, 28)
    smooth, noise = saliency.random_saliency(x, positions=7), saliency.random_saliency(x)
    assert smooth.shape == noise.shape == (2, 28, 28) and smooth.amin() == 0 and smooth.amax() == 1
    assert smooth.diff(dim=2).abs().mean() < noise.diff(dim=2).abs().mean() / 3
    assert torch.equal(smooth, saliency.random_saliency(torch.zeros_like(x), positions=7))
    assert not torch.equal(smooth, saliency.random_saliency(x, seed=1, positions=7))


def test_correlation_is_numpys():
    """Fails when the means stay in, images are mixed, or a constant map gives NaN."""
    a, b = torch.rand(3, 5, 5), torch.rand(3, 5, 5)
    expected = [np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a, b, strict=True)]
    assert np.allclose(saliency.correlation(a, b), expected)
    assert saliency.correlation(a, torch.ones_like(a)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("name", "last"), [("resnet50", "layer4"), ("efficientnet_lite0_gem", "bn2")])
def test_on_a_real_network(name, last):
    """Fails when the networks of the package, with their in-place ReLUs, cannot be explained at a named layer."""
    model = create_model(name, 3)
    x = torch.rand(1, 3, 224, 224)
    assert model.eval().forward_features(x).shape[2:] == (7, 7)
    whole, named = saliency.grad_cam(model, x), saliency.grad_cam(model, x, layer=model.backbone.get_submodule(last))
    assert torch.allclose(whole, named, atol=1e-4) and whole.amax() == 1


EXPLANATIONS = {
    "vanilla": saliency.vanilla_gradient,
    "smooth": lambda model, x: saliency.smooth_grad(model, x, samples=2),
    "cam": saliency.grad_cam,
    "cam of a layer": lambda model, x: saliency.grad_cam(model, x, layer=model.backbone.layer2),
    "deletion": lambda model, x: saliency.deletion_curve(model, x, saliency.random_saliency(x), steps=2),
}


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("explain", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_explained_where_gradients_are_off(explain, mode):
    """Fails when images made under `torch.inference_mode` or `no_grad` end in torch's own error, or in another map."""
    model, noise = create_model("resnet50", 3), torch.Generator().manual_seed(0)
    expected = explain(model, torch.rand(1, 3, 64, 64, generator=noise))
    with mode():
        found = explain(model, torch.rand(1, 3, 64, 64, generator=noise.manual_seed(0)))
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode) and not torch.is_grad_enabled()
    assert torch.equal(found, expected) and not found.requires_grad
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("explain", [saliency.vanilla_gradient, saliency.smooth_grad, saliency.grad_cam])
def test_a_network_that_can_have_no_gradients_is_called_so(explain):
    """Fails when a network that was itself made under `torch.inference_mode` ends in torch's own error."""
    with torch.inference_mode():
        model = Planted()
    with pytest.raises(InputError, match="made under torch.inference_mode .*: make it outside"):
        explain(model, torch.rand(1, 3, 16, 16))
