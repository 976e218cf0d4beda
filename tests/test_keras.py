"""Oracle: Keras' Xception, which the paper's code of 2019 took, on Keras' torch backend with the same weights."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landmark.models.backbones import create_backbone


class SamePool(nn.Module):
    """Max pooling with TensorFlow's padding: an even map has its odd border right and below."""

    def forward(self, x):
        (top, bottom), (left, right) = ((n % 2, 1) for n in x.shape[2:])
        return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-torch.inf), 3, 2)


def layers_of(xception):
    """Convolutions and norms of timm's Xception in the order of Keras' layers: a shortcut behind its block."""
    blocks = [
        layer
        for number in range(1, 13)
        for layer in (*getattr(xception, f"block{number}").rep, *getattr(xception, f"block{number}").children())
    ]
    parts = (xception.conv1, xception.bn1, xception.conv2, xception.bn2, *blocks, xception.conv3, xception.bn3,
             xception.conv4, xception.bn4)  # fmt: skip
    return [layer for layer in parts if list(layer.parameters()) and not isinstance(layer, nn.Sequential)]


def copy_weights(xception, layers):
    """Copy Keras' weights: (h, w, in, out) are (out, in, h, w) here, and a depthwise (h, w, C, 1) is (C, 1, h, w)."""
    for ours, theirs in zip(layers_of(xception), layers, strict=True):
        weights = [torch.from_numpy(weight.copy()) for weight in theirs.get_weights()]
        if isinstance(ours, nn.BatchNorm2d):
            targets = ours.weight, ours.bias, ours.running_mean, ours.running_var
        elif len(weights) == 2:
            targets, weights = (ours.conv1.weight, ours.pointwise.weight), [
                weights[0].permute(2, 3, 0, 1), weights[1].permute(3, 2, 0, 1)]  # fmt: skip
        else:
            targets, weights = (ours.weight,), [weights[0].permute(3, 2, 0, 1)]
        for target, weight in zip(targets, weights, strict=True):
            target.data.copy_(weight)


@pytest.mark.slow
def test_xception_is_keras_but_for_two_things(monkeypatch):
    """Fails when the recipes' Xception differs from Keras' in more than these two things.

    A norm's epsilon: 1e-3 there and 1e-5 here, and the padding of the four max-poolings: `same` puts the odd border of
    an even map right and below, timm pads by one on all sides. With both taken over the maps are equal at any size. At
    71 px every pooled map is odd, so that the epsilon alone is left; at 73 px the first one is even, at 299 px the second.
    """
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="no Keras: pip install keras")
    keras.utils.set_random_seed(0)
    theirs = keras.applications.Xception(weights=None, include_top=False, input_shape=(None, None, 3))
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([torch.rand(weight.shape).numpy() + 0.5 for weight in layer.get_weights()])
    ours = create_backbone("xception").eval()
    copy_weights(ours, [layer for layer in theirs.layers if layer.weights])
    same_norms = copy.deepcopy(ours)
    for layer in same_norms.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-3
    same = copy.deepcopy(same_norms)
    for number in (1, 2, 3, 12):
        assert isinstance(getattr(same, f"block{number}").rep[-1], nn.MaxPool2d)
        getattr(same, f"block{number}").rep[-1] = SamePool()
    for size, odd in ((71, True), (73, False)):
        images = torch.rand(1, 3, size, size) * 2 - 1
        with torch.no_grad():
            expected = torch.as_tensor(theirs(images.permute(0, 2, 3, 1).numpy(), training=False)).cpu()
            expected = expected.permute(0, 3, 1, 2)
            maps = [net.forward_features(images) for net in (ours, same_norms, same)]
        spread = expected.std((2, 3)).mean()  # of the positions: what a picture tells, and not what norms add anywhere
        errors = [float((found - expected).abs().max() / spread) for found in maps]
        assert errors[2] < 2e-4 < errors[0] and (errors[1] < 2e-4) == odd, errors
