"""Saliency against cases known by hand, and the score that checks it."""

import pytest
import torch
from torch import nn

from landmark.evaluation import saliency
from landmark.models.net import create_model
from landmark.utils.errors import InputError


class Planted(nn.Module):
    """A network whose class 1 depends on the top left quarter alone."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward_features(self, x):
        return self.conv(x)

    def forward_head(self, x):
        score = self.relu(x)[:, :, :8, :8].mean((1, 2, 3))
        return torch.stack([-20 * score, 20 * score], 1)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


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


def test_the_right_map_deletes_sooner(net):
    """Fails when deletion starts with the least salient pixels, or the score cannot tell a map from noise."""
    x = torch.rand(3, 3, 16, 16)
    right = torch.zeros(3, 16, 16)
    right[:, :8, :8] = 1
    score = saliency.deletion_score(net, x, right, 1)
    assert (score <= saliency.deletion_score(net, x, 1 - right, 1) + 1e-6).all()
    curve = saliency.deletion_curve(net, x, right, 1, steps=4)
    assert torch.allclose(curve[:, 0], net(x).softmax(1)[:, 1])
    assert torch.allclose(curve[:, 1], curve[:, -1], atol=0.02), "a quarter of the pixels is all it depends on"
    assert torch.allclose(curve[:, -1], net(saliency.blurred(x)).softmax(1)[:, 1])


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
    with pytest.raises(InputError, match="shape"):
        saliency.deletion_curve(net, x, torch.rand(1, 8, 8))


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
