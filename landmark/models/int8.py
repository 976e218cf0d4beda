"""A convolutional network in 8-bit integers: one instruction multiplies more int8 than float32 values."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Iterable
from typing import TypedDict, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from landmark.utils.device import chip_has, precision

M = TypeVar("M", bound=nn.Module)
ADD = (operator.add, operator.iadd, torch.add)


class MapRange(TypedDict):
    """What `measure` keeps of a map."""

    shape: list[int]  # B, C, H, W
    channels: Tensor  # (3, C): lowest and highest value, and sum of mean squares


Ranges = dict[str, MapRange]  # by the name of the map


def has_int8(where: torch.device) -> bool:
    """Tell whether the chip has an instruction for products of bytes, and torch the convolutions that use it."""
    return where.type == "cpu" and chip_has("avx2", "avx512_bw") and hasattr(torch.ops.onednn, "qconv_prepack")


@functools.cache
def sums_in_16_bits() -> bool:
    """Tell whether two neighbouring products of bytes are added up in 16 bits, where 65,535 does not fit.

    It is so without VNNI. One convolution of two channels finds out, as oneDNN may be set not to use a chip's VNNI.
    """
    ones, geometry = torch.ones(1, dtype=torch.float32), ([1, 1], [0, 0], [1, 1], 1)
    weight = torch.full((1, 2, 1, 1), 127, dtype=torch.int8)
    packed = torch.ops.onednn.qconv_prepack(weight, ones, 1.0, 0, *geometry, [1, 2, 1, 1])
    x = torch.full((1, 2, 1, 1), 255, dtype=torch.uint8)
    given = x, 1.0, 0, packed, ones, torch.zeros(1, dtype=torch.int32), torch.zeros_like(ones)
    total = torch.ops.onednn.qconv2d_pointwise(*given, *geometry, 1.0, 0, torch.float32, "none", [], "")
    return total.item() < 2 * 127 * 255


def arithmetic(where: torch.device, int8: bool = False) -> str:
    """Name the arithmetic of a network on a device: where the names differ, results may.

    Args:
        where: the device.
        int8: part of it computes in 8-bit integers.

    >>> arithmetic(torch.device("cpu")) in {"float32", "bfloat16", "float16"}
    True
    """
    return precision(where) + (f", int8 summed in {16 if sums_in_16_bits() else 32} bits" if int8 else "")


def weight_steps(weight: Tensor) -> Tensor:
    """Choose what 1 stands for in 8-bit weights (O, I, k, k), for each output channel, as small as the chip allows.

    Without VNNI the products of two neighbours among the input channels are added up in 16 bits: two weights of one
    sign may come to 128 there, since 128 · 255 fits and 129 · 255 does not. Rounding can add 1 to them.

    >>> weight_steps(torch.tensor([[[[12.7]], [[-12.7]]]]))
    tensor([0.1000])
    """
    most = weight.abs()
    if sums_in_16_bits():
        pairs = F.pad(weight, (0, 0, 0, 0, 0, weight.shape[1] % 2)).unflatten(1, (-1, 2))
        most = torch.maximum(pairs.clamp_min(0).sum(2), -pairs.clamp_max(0).sum(2))
    return most.amax((1, 2, 3)).clamp_min(1e-12) / 127


def measure(graph: fx.GraphModule, batches: Iterable[Tensor]) -> Ranges:
    """Measure the ranges of a network's maps, by name, which `quantise` needs.

    Args:
        graph: as for `quantise`.
        batches: images (B, 3, H, W) like those to come.
    """
    observer = _Observer(graph)
    with torch.no_grad():
        for images in batches:
            observer.run(images.float())
    return observer.ranges


class Quantised(nn.Module):
    """A network on bytes: `bytes_of` gives its last map as bytes (B, C, H, W), `decode` the numbers they stand for."""

    def __init__(self, bytes_of: fx.GraphModule, decode: nn.Module):
        super().__init__()
        self.bytes_of, self.decode = bytes_of, decode

    def forward(self, x: Tensor) -> Tensor:
        """Compute the map (B, C, H', W') of images (B, 3, H, W)."""
        return self.decode(self.bytes_of(x))


def quantise(graph: fx.GraphModule, ranges: Ranges) -> Quantised:
    """Rewrite a network to compute on bytes; input and output stay float32.

    Args:
        graph: convolutions, ReLU, maximum pooling and sums in evaluation mode, see `folding.fold_batch_norms`.
        ranges: of its maps, see `measure`.

    Raises:
        ValueError: the graph does something else.

    >>> graph = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))
    >>> x = torch.rand(1, 3, 5, 5)
    >>> bool((quantise(graph, measure(graph, [x]))(x) - graph(x)).abs().max() < 0.05)
    True

    Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", section 2; Nagel et al., "Data-free quantization through weight equalization and bias correction",
    section 4.1.
    """
    return _Quantiser(copy.deepcopy(graph), ranges).result


class _Observer(fx.Interpreter):
    """Runs a graph and looks at every map."""

    def __init__(self, graph: fx.GraphModule):
        super().__init__(graph)
        self.ranges: Ranges = {}

    def run_node(self, node: fx.Node) -> Tensor:
        x = super().run_node(node)
        low, high, square = x.amin((0, 2, 3)), x.amax((0, 2, 3)), x.square().mean((2, 3)).sum(0)
        if node.name in self.ranges:
            before = self.ranges[node.name]["channels"]
            low, high, square = torch.minimum(low, before[0]), torch.maximum(high, before[1]), square + before[2]
        self.ranges[node.name] = {"shape": list(x.shape), "channels": torch.stack([low, high, square])}
        return x


class _Code:
    """How the bytes of a map stand for numbers between two extremes; 0 has a byte of its own, for padding."""

    def __init__(self, low: float, high: float):
        low, high = min(low, 0.0), max(high, 0.0)
        self.scale = float(f"{(high - low) / 255:.3g}") or 1.0  # three digits: the same from run to run
        self.zero = round(-low / self.scale)


class _Quantiser:
    """Rewrites a graph node by node; `new` and `codes` hold what already has its bytes."""

    def __init__(self, old: fx.GraphModule, ranges: Ranges):
        self.old, self.measured = old, ranges
        for node in list(old.graph.nodes):
            if self._kind(node) is nn.Identity:
                node.replace_all_uses_with(node.args[0])
                old.graph.erase_node(node)
        with torch.no_grad():
            self.ranges, last = self._equalise()
        self.graph, self.root = fx.Graph(), nn.Module()
        self.new: dict[fx.Node, fx.Node] = {}
        self.codes: dict[fx.Node, _Code] = {}
        for node in old.graph.nodes:
            if node.op == "placeholder":
                code = _Code(*self.ranges[node])
                self._put(node, code, _Encode(code), self.graph.placeholder(node.name))
            elif node.op == "output":
                (source,) = node.args
                self.graph.output(self.new[source])
                decode = _Decode(self.codes[source], last)
            elif node not in self.new:
                self._rewrite(node)
        self.result = Quantised(fx.GraphModule(self.root, self.graph), decode)

    def _kind(self, node: fx.Node) -> object:
        return type(self._module(node, nn.Module)) if node.op == "call_module" else node.target

    def _module(self, node: fx.Node, kind: type[M]) -> M:
        module = self.old.get_submodule(str(node.target))
        assert isinstance(module, kind)
        return module

    def _equalise(self) -> tuple[dict[fx.Node, tuple[float, float]], Tensor]:
        """Divide every channel by its size, in the weights; return the ranges of maps then, and r of the output.

        Maps that a sum, a ReLU or a maximum ties together share their factors.
        """
        tied: dict[fx.Node, set[fx.Node]] = {}
        for node in self.old.graph.nodes:
            tied[node] = {node}
            if node.op != "placeholder" and self._kind(node) is not nn.Conv2d:
                for source in node.all_input_nodes:
                    tied[node] |= tied[source]
                for member in tied[node]:
                    tied[member] = tied[node]
        channels = {node: self.measured[node.name]["channels"] for node in tied}
        ranges = {node: (low.min().item(), high.max().item()) for node, (low, high, _) in channels.items()}
        last = torch.ones(1, dtype=torch.float32)
        for group in {id(group): group for group in tied.values()}.values():
            if any(node.op == "placeholder" for node in group):
                continue
            size = torch.stack([channels[node][2] for node in group]).sum(0).sqrt()
            # A power of two: exact, and the last bits of a sum, which differ from run to run, do not reach the weights
            r = size.clamp_min(1e-3 * size.mean().item() + 1e-12).log2().round().exp2()
            for node in group:
                low, high, _ = channels[node]
                ranges[node] = (low / r).min().item(), (high / r).max().item()
                if self._kind(node) is nn.Conv2d:
                    conv = self._module(node, nn.Conv2d)
                    conv.weight /= r.view(-1, 1, 1, 1)
                    if conv.bias is not None:
                        conv.bias /= r
                for user in set(node.users):
                    if self._kind(user) is nn.Conv2d:
                        conv = self._module(user, nn.Conv2d)
                        parts = conv.weight.unflatten(0, (conv.groups, -1))  # (groups, out, in, k, k)
                        parts *= r.view(conv.groups, 1, -1, 1, 1)
                if node.op == "output":
                    last = r
        return ranges, last

    def _call(self, module: nn.Module, *args: fx.Node) -> fx.Node:
        name = f"step{len(self.graph.nodes)}"
        self.root.add_module(name, module)
        return self.graph.call_module(name, args)

    def _put(self, node: fx.Node, code: _Code, module: nn.Module, *args: fx.Node) -> None:
        self.new[node], self.codes[node] = self._call(module, *args), code

    def _rewrite(self, node: fx.Node) -> None:
        kind, source = self._kind(node), node.all_input_nodes[0]
        code = self.codes[source]
        if kind is nn.Conv2d:
            self._convolve(node, source)
        elif kind is nn.ReLU:
            self._put(node, code, _ReLU(code), self.new[source])
        elif kind is nn.MaxPool2d:
            self._put(node, code, _MaxPool(self._module(node, nn.MaxPool2d)), self.new[source])
        else:
            raise ValueError(f"{node.name}: {kind} has no form in 8-bit integers: do without them")

    def _convolve(self, node: fx.Node, source: fx.Node) -> None:
        """Take a convolution with the sum and the ReLU that follow it, if nothing else uses what lies between."""
        parts, other = [node], None
        after = self._follower(node)
        if after is not None and self._kind(after) in ADD:
            others = [term for term in after.all_input_nodes if term in self.new]
            if others:  # else the other term is a convolution still to come, and takes the sum
                other, parts, after = others[0], [*parts, after], self._follower(after)
        relu = [] if after is None or self._kind(after) is not nn.ReLU else [after]
        parts += relu
        code = _Code(*self.ranges[parts[-1]])
        codes = self.codes[source], code, self.codes[other] if other else None
        conv = _Conv(self._module(node, nn.Conv2d), codes, bool(relu), self.measured[source.name]["shape"])
        new = self._call(conv, self.new[source], *([self.new[other]] if other else []))
        self.new |= dict.fromkeys(parts, new)
        self.codes |= dict.fromkeys(parts, code)

    def _follower(self, node: fx.Node) -> fx.Node | None:
        """Find the only node that uses this one's map."""
        return next(iter(node.users)) if len(node.users) == 1 else None


class _Encode(nn.Module):
    def __init__(self, code: _Code):
        super().__init__()
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        scaled = (x / self.code.scale).add_(self.code.zero).round_().clamp_(0, 255)
        return scaled.to(torch.uint8, memory_format=torch.channels_last)


class _Decode(nn.Module):
    def __init__(self, code: _Code, r: Tensor):
        super().__init__()
        self.zero, self.scale = code.zero, (r * code.scale).view(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x.float().sub_(self.zero).mul_(self.scale)


class _ReLU(nn.Module):
    def __init__(self, code: _Code):
        super().__init__()
        self.zero = code.zero

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_min(self.zero)


class _MaxPool(nn.Module):
    def __init__(self, pool: nn.MaxPool2d):
        super().__init__()
        sizes = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
        self.sizes = [[size, size] if isinstance(size, int) else list(size) for size in sizes]
        self.ceil_mode = pool.ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.max_pool2d(x, *self.sizes, self.ceil_mode)


class _Conv(nn.Module):
    """A convolution from bytes to bytes; another map may be added, and negative numbers cut off, on the way."""

    def __init__(self, conv: nn.Conv2d, codes: tuple[_Code, _Code, _Code | None], relu: bool, shape: list[int]):
        super().__init__()
        source, result, other = codes
        weight = conv.weight.detach()
        self.scales = weight_steps(weight)  # one for each output channel
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        whole = (weight / self.scales.view(-1, 1, 1, 1)).round().to(torch.int8)
        self.bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach()
        geometry = list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups
        self.step = conv.stride if conv.kernel_size == (1, 1) and conv.padding == (0, 0) else (1, 1)
        if self.step != (1, 1):  # places to skip are left out here: with several threads oneDNN's kernel errs
            geometry = [1, 1], *geometry[1:]
            shape = [*shape[:2], *(-(-length // step) for length, step in zip(shape[2:], self.step, strict=True))]
        # Without a shape of x the layout is a guess, and a wrong one is put right in every call
        self.weight = torch.ops.onednn.qconv_prepack(whole, self.scales, source.scale, source.zero, *geometry, shape)
        self.source, self.after = (source.scale, source.zero), "relu" if relu else "none"
        self.wanted = (*geometry, result.scale, result.zero, torch.uint8)
        self.other = (other.scale, other.zero) if other else ()

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if self.step != (1, 1):
            x = x[..., :: self.step[0], :: self.step[1]].contiguous(memory_format=torch.channels_last)
        given = (x, *self.source, self.weight, self.scales, self.zeros)
        if other is None:
            return torch.ops.onednn.qconv2d_pointwise(*given, self.bias, *self.wanted, self.after, [], "")
        return torch.ops.onednn.qconv2d_pointwise.binary(
            *given, other, self.bias, *self.wanted, *self.other, "sum", 1.0, self.after, [], ""
        )
