"""A convolutional network in 8-bit integers, of which a chip multiplies more at once than floats; torch quantises."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from landmark.utils.device import own_random_numbers, precision
from landmark.utils.errors import InputError

if TYPE_CHECKING:
    from torch.ao.quantization import ObserverBase, QConfigMapping

ENGINE = "fbgemm"  # "x86" may take oneDNN's kernels: other bits, and without VNNI those of strides err with threads
FORMS = {nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Identity}  # what is as good and faster in bytes, beside sums
ADD = {operator.add, operator.iadd, torch.add}
PORTION = 4  # images in a step of calibration

Ranges = dict[str, tuple[float, int]]  # by the name of a map: what a step of its bytes stands for, and the byte of 0


def _lacks(where: torch.device) -> str | None:
    """Say what is missing for 8-bit integers on a device."""
    if where.type != "cpu" or ENGINE not in torch.backends.quantized.supported_engines:
        return "no 8-bit integers on this machine (they need an x86 CPU with AVX2): do without them"
    try:
        from torch.ao.quantization import quantize_fx  # noqa: F401
    except ImportError:
        return f"torch {torch.__version__} can no longer quantise: install the one of constraints.txt, or do without"
    return None


def has_int8(where: torch.device) -> bool:
    """Tell whether torch has kernels for products of bytes on a device."""
    return _lacks(where) is None


def check_int8(where: torch.device) -> None:
    """Refuse a device without 8-bit integers, by an InputError that says what is missing."""
    if reason := _lacks(where):
        raise InputError(reason)


def arithmetic(where: torch.device, int8: bool = False) -> str:
    """Name the arithmetic of a network on a device: where the names differ, results may.

    Args:
        where: the device.
        int8: part of it computes in 8-bit integers.

    >>> arithmetic(torch.device("cpu")) in {"float32", "bfloat16", "float16"}
    True
    """
    return precision(where) + (", int8 of torch's FBGEMM" if int8 else "")


@own_random_numbers(torch.device("cpu"))
def measure(graph: fx.GraphModule, images: Tensor) -> Ranges:
    """Measure the ranges of a network's maps, by name, which `quantise` needs.

    Args:
        graph: in evaluation mode and float32, see `folding.fold_batch_norms`.
        images: (B, 3, H, W) like those to come.

    Raises:
        InputError: there are no images, the device of the graph has no 8-bit integers, or the graph does something that
            they have no form for.
    """
    where = next(graph.parameters()).device
    check_int8(where)
    if not len(images):
        raise InputError("no image to measure the ranges of 8-bit integers on: do without them")
    _check_forms(graph)
    observed = _observed(graph)
    with torch.no_grad():
        for part in images.to(where, torch.float32).split(PORTION):
            observed(part)
    steps = {name: observer.calculate_qparams() for name, observer in _observers(observed)}
    return {name: (scale.item(), int(zero.item())) for name, (scale, zero) in steps.items()}


class Quantised(nn.Module):
    """A network on bytes: `bytes_of` gives its last map as bytes (B, C, H, W), `decode` the numbers they stand for."""

    def __init__(self, graph: fx.GraphModule, scale: float, zero: int):
        super().__init__()
        self.graph, self.scale, self.zero = graph, scale, zero

    def __deepcopy__(self, memo: dict) -> Quantised:
        return self  # it never changes, and torch would pack a copy for the kernels of its default engine

    def bytes_of(self, x: Tensor) -> Tensor:
        """Compute the map of images (B, 3, H, W) in float32, as bytes (B, C, H', W')."""
        return self.graph(x).int_repr()

    def decode(self, x: Tensor) -> Tensor:
        """Turn the bytes of a map into float32."""
        return x.float().sub_(self.zero).mul_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the map (B, C, H', W') of images (B, 3, H, W)."""
        return self.decode(self.bytes_of(x))


@own_random_numbers(torch.device("cpu"))  # torch draws some
def quantise(graph: fx.GraphModule, ranges: Ranges) -> Quantised:
    """Rewrite a network to compute on bytes; input and output stay float32.

    Args:
        graph: as for `measure`.
        ranges: of its maps.

    Raises:
        InputError: the ranges are of another network, or of another version of torch or of this project.

    >>> graph = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())).eval()
    >>> x = torch.rand(1, 3, 5, 5)
    >>> bool((quantise(graph, measure(graph, x))(x) - graph(x)).abs().max() < 0.05)
    True

    Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", section 2.
    """
    from torch.ao.quantization import FixedQParamsObserver, quantize_fx

    observed = _observed(graph)
    if ranges.keys() != {name for name, _ in _observers(observed)}:
        raise InputError(
            "the ranges of 8-bit integers do not fit this network in this torch: start anew in another folder"
        )
    last = next(str(node.all_input_nodes[0].target) for node in observed.graph.nodes if node.op == "output")
    for name, (scale, zero) in ranges.items():
        observed.set_submodule(name, FixedQParamsObserver(scale, zero))
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = ENGINE
    try:
        with warnings.catch_warnings(action="ignore"):
            return Quantised(quantize_fx.convert_fx(observed), *ranges[last])
    finally:
        torch.backends.quantized.engine = engine


def _check_forms(graph: fx.GraphModule) -> None:
    """InputError when a graph does anything but what `FORMS` and `ADD` name."""
    calls = [node for node in graph.graph.nodes if node.op.startswith("call_")]
    layers = {type(graph.get_submodule(str(node.target))) for node in calls if node.op == "call_module"}
    others = {node.target for node in calls if node.op != "call_module"}
    strange = sorted(getattr(kind, "__name__", str(kind)) for kind in (layers - FORMS) or (others - ADD))
    if strange:
        raise InputError(
            f"no 8-bit integers for this network: they have no form of {', '.join(strange)}: do without them"
        )


def _observed(graph: fx.GraphModule) -> fx.GraphModule:
    """Copy a graph into one with an observer behind every map that is to be bytes."""
    from torch.ao.quantization import quantize_fx
    from torch.ao.quantization.fx.custom_config import PrepareCustomConfig

    custom = PrepareCustomConfig().set_output_quantized_indexes([0])
    with warnings.catch_warnings(action="ignore"):  # it is to move out of torch
        return quantize_fx.prepare_fx(graph, _settings(), (torch.zeros(1, 3, 64, 64),), custom)


def _observers(observed: fx.GraphModule) -> Iterator[tuple[str, ObserverBase]]:
    """List the observers by name; maps that share their bytes share one."""
    from torch.ao.quantization import MinMaxObserver

    for name, module in observed.named_modules(remove_duplicate=False):
        if isinstance(module, MinMaxObserver):
            yield name, module


def _settings() -> QConfigMapping:
    """Give torch's settings for x86, with the spare bit in the weights, where no sum of two products can overflow.

    Without VNNI two neighbouring products are added up in 16 bits, and 2 · 255 · 64 fits. torch's own settings keep
    maps below 128 instead, which holds for maps like those that were measured and no others.
    """
    from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver, QConfig, get_default_qconfig_mapping

    narrow = {"dtype": torch.qint8, "qscheme": torch.per_channel_symmetric, "quant_min": -64, "quant_max": 63}
    settings = QConfig(activation=MinMaxObserver, weight=PerChannelMinMaxObserver.with_args(**narrow))
    return get_default_qconfig_mapping(ENGINE).set_global(settings)
