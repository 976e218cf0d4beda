"""Networks in 8-bit integers, against the same networks in floating point."""

import copy
import io
import sys

import pytest
import torch
from torch import fx, nn

from landmark.models import int8
from landmark.models.folding import fast_model
from landmark.models.int8 import arithmetic, measure, quantise
from landmark.models.net import create_model
from landmark.utils.errors import InputError
from tests.helpers import _awake

pytestmark = pytest.mark.arithmetic
needs_int8 = pytest.mark.skipif(not int8.has_int8(torch.device("cpu")), reason="the chip has no products of bytes")


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _quantised(module, x):
    graph = fx.symbolic_trace(module.eval())
    return quantise(graph, measure(graph, x))


def _colours(count, seed):
    """Noise that leans towards one of three colours → images and which one."""
    noise = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=noise)
    images = torch.randn(count, 3, 8, 8, generator=noise)
    images[torch.arange(count), labels] += 0.25
    return images, labels


@needs_int8
@pytest.mark.parametrize(("name", "limit"), [("xception", 0.02), ("resnet50", 0.12), ("vgg16_cbp_spatial_map", 0.12)])
def test_whole_networks_stay_close(name, limit):
    """Fails when a sum, a shortcut or a ReLU is lost, a norm is folded wrongly, or the network itself is changed."""
    model = _awake(create_model(name, 5)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.rand(6, 3, 72, 72)
    with torch.inference_mode():
        fast = fast_model(model, x[:4])
        assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        features = fast.forward_features(x)
        assert _error(features, model.eval().forward_features(x)) < limit
        assert fast(x).shape == (6, 5) and fast(x).dtype == torch.float32
        assert torch.equal(copy.deepcopy(fast).forward_features(x), features), "a copy computes the same"
        assert torch.equal(fast.forward_features(x[3:4])[0], features[3]), "an image does not depend on its batch"
    assert fast_model(fast) is fast


@needs_int8
def test_what_a_small_network_has_learnt_is_kept():
    """Fails when integers cost right answers: a network that tells colours apart loses 2 in 100 of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
                          nn.Conv2d(8, 3, 4))  # fmt: skip
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    for seed in range(150):
        images, labels = _colours(32, seed)
        loss = nn.functional.cross_entropy(model(images)[:, :, 0, 0], labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
    images, labels = _colours(1000, 1000)
    with torch.no_grad():
        exact, answers = (net(images)[:, :, 0, 0].argmax(1) for net in (model, _quantised(model, images[:32])))
    right = [(found == labels).float().mean().item() for found in (exact, answers)]
    assert 0.7 < right[0] < 0.99 and right[1] > right[0] - 0.02 and (exact == answers).float().mean() > 0.95


@needs_int8
@pytest.mark.parametrize("padding", [0, 1])
def test_one_convolution_is_that_of_its_bytes(padding):
    """Fails when a zero that is not byte 0 is forgotten, in the sum or in the padding, or rounding goes one way."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=padding)
    x = torch.linspace(-1, 3, 2 * 3 * 7 * 7)[torch.randperm(2 * 3 * 7 * 7)].view(2, 3, 7, 7)
    graph = fx.symbolic_trace(nn.Sequential(conv).eval())
    ranges = measure(graph, x)
    (scale, zero), (step, _) = ranges.values()
    found = quantise(graph, ranges)(x).detach()
    assert scale == pytest.approx(4 / 255) and zero == 64
    source = ((x / scale + zero).round().clamp(0, 255) - zero) * scale
    steps = (conv.weight.detach().abs().amax((1, 2, 3)) / 63.5).view(-1, 1, 1, 1)
    expected = nn.functional.conv2d(source, (conv.weight.detach() / steps).round() * steps, conv.bias, padding=padding)
    assert step == pytest.approx(((expected.max() - expected.min()) / 255).item(), rel=0.05)
    assert (found - expected).abs().max() < 0.6 * step + 0.02 and (found - expected).mean().abs() < step / 4


@needs_int8
@pytest.mark.parametrize("second", [1.0, 0.008])
@pytest.mark.parametrize(
    ("channels", "groups", "kernel"), [(64, 1, 1), (728, 1, 1), (33, 1, 3), (64, 4, 3), (128, 128, 3)]
)
def test_large_products_are_not_cut_off(channels, groups, kernel, second):
    """Fails when pairs of products can overflow the 16 bits of a chip without VNNI, for maps beyond those measured."""
    conv = nn.Conv2d(channels, 128, kernel, groups=groups, bias=False)
    nn.init.constant_(conv.weight, 1.0)
    conv.weight.data[:, 1::2] = second
    conv.weight.data[::2] *= -1
    x = torch.rand(1, channels, 8, 8)
    x[..., 4:] = 1
    with torch.no_grad():
        work = _quantised(nn.Sequential(conv), x)
        torch.testing.assert_close(work(3 * x), work((3 * x).clamp_max(1)))
        expected = conv(x)
        torch.testing.assert_close(work(x), expected, rtol=0.02, atol=0.02 * expected.abs().max().item())
    weight = work.graph.get_submodule("0").weight().int_repr().int()
    assert weight.abs().max() == 64, "2 · 64 · 255 fits in 16 bits"


@needs_int8
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "size"),
    [(728, 1, 2, 4), (728, 1, 2, 2), (728, 1, 3, 9), (7, 1, 2, 5), (7, 3, 2, 6)],
)
def test_strides_skip_the_right_places(channels, kernel, stride, size):
    """Fails when oneDNN's strided 1x1 kernel is trusted: without VNNI two threads gave wrong and changing numbers."""
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 256, kernel, stride, kernel // 2, bias=False)
    x, threads = torch.rand(2, channels, size, size), torch.get_num_threads()
    with torch.no_grad():
        work = _quantised(nn.Sequential(conv), x)
        try:
            torch.set_num_threads(1)
            alone = work(x)
            torch.set_num_threads(2)
            several = [work(x) for _ in range(8)]
        finally:
            torch.set_num_threads(threads)
        assert _error(alone, conv(x)) < 0.03
        assert all(torch.equal(alone, other) for other in several)


@needs_int8
def test_saved_ranges_give_the_same_bits():
    """Fails when something that calibration found is not in the ranges, or they cannot be stored as plain numbers."""
    torch.manual_seed(0)
    make = lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 4, 1))  # noqa: E731
    graph, other = (fx.symbolic_trace(make().eval()) for _ in range(2))
    x, file, engine = torch.randn(9, 3, 9, 9), io.BytesIO(), torch.backends.quantized.engine
    ranges = measure(graph, x)
    torch.save(ranges, file)
    file.seek(0)
    with torch.no_grad():
        first = quantise(graph, ranges)
        expected = first(x)
        quantise(other, measure(other, x))
        again = quantise(graph, torch.load(file, weights_only=True))
        assert torch.equal(again(x), expected) and torch.equal(first(x), expected), "the other one changes nothing"
        assert again.bytes_of(x).dtype == torch.uint8 and torch.equal(again.decode(again.bytes_of(x)), expected)
    assert torch.backends.quantized.engine == engine
    for wrong in ({}, {"x": {"shape": [1], "channels": torch.ones(3)}}):
        with pytest.raises(InputError, match="do not fit this network"):
            quantise(graph, wrong)


def test_integers_tell_that_they_are_torchs():
    """Fails when a run that began in this project's former integers goes on in these without a word."""
    cpu = torch.device("cpu")
    assert arithmetic(cpu, True) == arithmetic(cpu) + ", int8 of torch's FBGEMM"


def test_integers_that_cannot_be_had_are_one_clear_line(monkeypatch):
    """Fails when a machine without them falls back to something slower without a word, or no image gives a crash."""
    model = create_model("resnet50", 3)
    if int8.has_int8(torch.device("cpu")):
        with pytest.raises(InputError, match="no image"):
            fast_model(model, torch.empty(0, 3, 1, 1))
        with monkeypatch.context() as patch, pytest.raises(InputError, match=r"no longer quantise: .*constraints.txt"):
            patch.setitem(sys.modules, "torch.ao.quantization", None)
            fast_model(model, torch.rand(1, 3, 64, 64))
    monkeypatch.setattr(int8, "ENGINE", "another")
    with pytest.raises(InputError, match="AVX2"):
        fast_model(model, torch.rand(1, 3, 64, 64))
