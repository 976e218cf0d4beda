"""Networks in 8-bit integers, against the same networks in floating point."""

import pytest
import torch
from torch import fx, nn

from landmark.models import folding, int8
from landmark.models.folding import fast_model
from landmark.models.int8 import measure, quantise
from landmark.models.net import create_model
from landmark.utils.errors import InputError
from tests.helpers import _awake

pytestmark = pytest.mark.arithmetic
needs_int8 = pytest.mark.skipif(not int8.has_int8(torch.device("cpu")), reason="the chip has no products of bytes")
SIGNS = ((0, None), (None, 0))  # from, to


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _quantised(module, x):
    graph = fx.symbolic_trace(module)
    return quantise(graph, measure(graph, [x]))


@needs_int8
@pytest.mark.parametrize("name", ["xception", "resnet50"])
def test_whole_networks_stay_close(name):
    """Fails when a sum, a shortcut or a ReLU is lost, a norm is folded wrongly, or the network itself is changed."""
    model = _awake(create_model(name, 5))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.rand(6, 3, 72, 72)
    with torch.inference_mode():
        fast = fast_model(model, x[:4])
        assert _error(fast.forward_features(x), model.forward_features(x)) < 0.12
        assert fast(x).shape == (6, 5) and fast(x).dtype == torch.float32
    assert fast_model(fast) is fast
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@needs_int8
def test_an_image_does_not_depend_on_its_batch():
    """Fails when ranges are measured on what is predicted, so that another batch gives other scores."""
    model, x = _awake(create_model("xception", 5)), torch.rand(6, 3, 72, 72)
    with torch.inference_mode():
        fast = fast_model(model, x[:4])
        assert torch.equal(fast.forward_features(x)[3], fast.forward_features(x[3:4])[0])


@needs_int8
@pytest.mark.parametrize("padding", [0, 1])
def test_one_convolution_is_that_of_its_bytes(padding):
    """Fails when a zero that is not byte 0 is forgotten, in the sum or in the padding, or rounding goes one way."""
    torch.manual_seed(0)
    conv, code = nn.Conv2d(3, 5, 3, padding=padding), int8._Code(-1, 3)
    x = torch.linspace(-1, 3, 2 * 3 * 7 * 7)[torch.randperm(2 * 3 * 7 * 7)].view(2, 3, 7, 7)
    found = _quantised(nn.Sequential(conv), x)(x).detach()
    assert code.scale == pytest.approx(4 / 255, rel=1e-2) and code.zero == 64
    source = ((x / code.scale + code.zero).round().clamp(0, 255) - code.zero) * code.scale
    steps = int8.weight_steps(conv.weight.detach()).view(-1, 1, 1, 1)
    expected = nn.functional.conv2d(source, (conv.weight.detach() / steps).round() * steps, conv.bias, padding=padding)
    step = (expected.amax((0, 2, 3)) - expected.amin((0, 2, 3))).max() / 255  # of a byte of the result, at most
    assert (found - expected).abs().max() <= 2 * step and (found - expected).mean().abs() < step / 4


@needs_int8
@pytest.mark.parametrize("second", [1.0, 0.008])
@pytest.mark.parametrize(
    ("channels", "groups", "kernel"), [(64, 1, 1), (728, 1, 1), (33, 1, 3), (64, 4, 3), (64, 64, 3)]
)
def test_large_products_are_not_cut_off(channels, groups, kernel, second):
    """Fails when pairs of products overflow 16 bits on a chip without VNNI, or it adds up other pairs than thought."""
    conv = nn.Conv2d(channels, 64, kernel, groups=groups, bias=False)
    nn.init.constant_(conv.weight, 1.0)
    conv.weight.data[:, 1::2] = second
    x = torch.rand(1, channels, 8, 8)
    x[..., 4:] = 1
    with torch.no_grad():
        found = _quantised(nn.Sequential(conv), x)(x)
        torch.testing.assert_close(found, conv(x), rtol=0.02, atol=0.02 * conv(x).max().item())


@needs_int8
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "size"),
    [(728, 1, 2, 4), (728, 1, 2, 2), (728, 1, 3, 9), (7, 1, 2, 5), (7, 3, 2, 6)],
)
def test_strides_skip_the_right_places(channels, kernel, stride, size):
    """Fails when oneDNN's strided 1x1 kernel is trusted: for some sizes two threads gave wrong and changing numbers."""
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
        assert _error(alone, conv(x)) < 0.02
        assert all(torch.equal(alone, other) for other in several)


def test_weights_are_as_large_as_the_chip_allows(monkeypatch):
    """Fails when two neighbours of one sign can come to more than 128 without VNNI, or a bit is given away."""
    torch.manual_seed(0)
    weight = torch.randn(9, 5, 3, 3)
    weight[0], weight[1] = 1.0, torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]).view(5, 1, 1)
    for vnni in (True, False):
        monkeypatch.setattr(int8, "sums_in_16_bits", lambda has=vnni: not has)
        whole = (weight / int8.weight_steps(weight).view(-1, 1, 1, 1)).round()
        alone = whole.abs().amax((1, 2, 3))
        pairs = [whole[:, i : i + 2].clamp(*sign).sum(1).abs().max() for i in (0, 2, 4) for sign in SIGNS]
        assert alone.max() == 127 and alone[1] == 127
        assert (alone[0], max(pairs) > 128) == ((127, True) if vnni else (64, False))


class _Shortcut(nn.Module):
    """A residual block behind a maximum; its channels differ in size by a factor of 10⁵."""

    def __init__(self, swapped: bool):
        super().__init__()
        self.first, self.deep = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.wide, self.last = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 1)
        self.relu, self.pool, self.swapped = nn.ReLU(), nn.MaxPool2d(3, 2, 1), swapped
        sizes = 10.0 ** torch.arange(-3, 3)
        with torch.no_grad():
            for conv in (self.first, self.wide):  # what they write
                conv.weight.mul_(sizes.view(-1, 1, 1, 1))
                conv.bias.mul_(sizes)
            self.deep.bias.mul_(sizes)
            for conv in (self.wide, self.last):  # what they read
                conv.weight.div_(sizes.view(1, -1, 1, 1))

    def forward(self, x):
        x = self.pool(self.first(x))
        deep = self.wide(self.relu(self.deep(self.relu(x))))
        return self.last(x + deep if self.swapped else deep + x)


class _Rounded(fx.Interpreter):
    """The same graph in floating point: every map is rounded to what its bytes can say."""

    def __init__(self, graph, codes):
        super().__init__(graph)
        self.codes = codes

    def run_node(self, node):
        x = super().run_node(node)
        if node.op == "output" or node.name == "wide":
            return x  # the sum takes this convolution before it is rounded
        code = self.codes[node]
        return ((x / code.scale + code.zero).round().clamp(0, 255) - code.zero) * code.scale


@needs_int8
@pytest.mark.parametrize("swapped", [False, True])
def test_bytes_are_the_rounded_numbers(swapped):
    """Fails when a zero, a scale, a factor of a channel or the sum inside a convolution is not what it stands for."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 9, 9)
    with torch.no_grad():
        graph = fx.symbolic_trace(_Shortcut(swapped).eval())
        work = int8._Quantiser(graph, measure(graph, [x]))
        found = work.result(x)
        for conv in work.old.modules():
            if isinstance(conv, nn.Conv2d):
                step = int8.weight_steps(conv.weight).view(-1, 1, 1, 1)
                conv.weight.copy_((conv.weight / step).round() * step)
        r = work.result.decode.scale / work.codes[next(reversed(work.codes))].scale
        expected = _Rounded(work.old, work.codes).run(x) * r
    assert _error(found, expected) < 1e-5


@needs_int8
def test_channels_of_all_sizes_are_kept():
    """Fails when small channels vanish beside large ones, or the factors of tied maps differ."""
    torch.manual_seed(0)
    model, x = _Shortcut(False).eval(), torch.randn(4, 3, 9, 9)
    with torch.no_grad():
        assert _error(_quantised(model, x)(x), model(x)) < 0.1


@needs_int8
def test_what_has_no_form_in_integers_is_refused():
    """Fails when a graph with another function is quietly computed without it."""
    with pytest.raises(ValueError, match="Sigmoid"):
        _quantised(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sigmoid()), torch.rand(1, 3, 4, 4))


def test_integers_that_cannot_be_had_are_one_clear_line(monkeypatch):
    """Fails when a chip without them falls back to something slower without a word, or no image gives a crash."""
    model = create_model("resnet50", 3)
    monkeypatch.setattr(folding, "has_int8", lambda where: False)
    with pytest.raises(InputError, match="VNNI"):
        fast_model(model, torch.rand(1, 3, 64, 64))
    monkeypatch.setattr(folding, "has_int8", lambda where: True)
    with pytest.raises(InputError, match="no image"):
        fast_model(model, torch.empty(0, 3, 1, 1))
