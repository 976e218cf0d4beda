"""A network that only predicts: normalisation folded into convolutions, weights cast once."""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from landmark.models.backbones import Backbone
from landmark.models.int8 import Quantised, Ranges, measure, quantise
from landmark.models.net import LandmarkNet
from landmark.utils.device import fast_dtype

SAMPLE = 32  # images to measure the ranges of 8-bit integers on
X86 = {"x86_64", "AMD64"}
CACHE = 4 * 299**2  # pixels of the images whose maps fit in a CPU's cache: a batch of 32 at a time is a fifth slower


def fast_model(model: LandmarkNet, images: Tensor | None = None) -> LandmarkNet:
    """Copy a network into one that predicts the same faster and can no longer learn.

    Its backbone has every BatchNorm folded into the convolution before it, and weights in the dtype and memory layout
    that pay on the chip; pooling and head stay as they are. Input and output stay float32.

    Args:
        model: any network of `create_model`, left as it is; one that is fast already is returned.
        images: some images (B, 3, H, W) like those to come, `SAMPLE` are enough. The backbone then computes in 8-bit
            integers, up to twice as fast; the ranges of its maps are measured on these images.

    Raises:
        InputError: images are given, and there are none or the machine has no 8-bit integers.

    >>> from landmark import create_model
    >>> model = create_model("resnet50", 3).eval()
    >>> x = torch.rand(2, 3, 64, 64)
    >>> bool((fast_model(model)(x) - model(x)).abs().max() < 0.1)
    True
    """
    if isinstance(model.backbone, Fast):
        return model
    features = Features(model.backbone)
    ranges = None if images is None else measure(fold_batch_norms(features), images)
    return with_backbone(model, Folded(features, ranges))


def with_backbone(model: LandmarkNet, backbone: Fast) -> LandmarkNet:
    """Copy a network to predict with another backbone in the place of its own."""
    # A copy in which the backbone counts as copied already, by what takes its place
    return copy.deepcopy(model, {id(model.backbone): backbone}).eval().requires_grad_(False)


def portions(x: Tensor) -> Sequence[Tensor]:
    """Split images (B, C, H, W), or maps, into parts whose own maps fit in a CPU's cache; a GPU takes all at once.

    >>> [len(part) for part in portions(torch.zeros(9, 3, 299, 299))]
    [4, 4, 1]
    """
    return x.split(max(1, 3 * CACHE // x.shape[1:].numel())) if x.device.type == "cpu" else [x]


class Fast(nn.Module):
    """A backbone that only predicts."""

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute the feature map (B, C, H', W') of images, or of the maps of its first stages, in float32."""
        raise NotImplementedError


class Folded(Fast):
    """A backbone, or some stages of it, in evaluation mode, as one graph of convolutions.

    Args:
        module: images (B, 3, H, W), or the maps of the stages before → map (B, C, H', W').
        ranges: of `int8.measure`, to compute in 8-bit integers.
        sample: (1, C, H, W) like what it is given; an image when left out.
    """

    graph: fx.GraphModule | Quantised

    def __init__(self, module: nn.Module, ranges: Ranges | None = None, sample: Tensor | None = None):
        super().__init__()
        if sample is None:
            sample = torch.zeros(1, 3, 32, 32, dtype=torch.float32, device=next(module.parameters()).device)
        where = sample.device
        self.dtype = fast_dtype(where)
        graph = fold_batch_norms(module)
        # oneDNN chooses a blocked layout once for weights and maps; channels last is a seventh slower on x86
        blocked = where.type == "cpu" and platform.machine() in X86 and torch.backends.mkldnn.is_available()
        if ranges is not None:
            self.form, self.graph = "int8", quantise(graph, ranges)
        elif blocked and _in_blocks(graph, sample.to(self.dtype)):
            self.form, self.graph = "blocked", graph
        else:
            graph = fold_batch_norms(module) if blocked else graph  # the trial has left nothing to go on with
            self.form, self.graph = "channels_last", graph.to(self.dtype).to(memory_format=torch.channels_last)
        self.graph.requires_grad_(False)

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute the feature map (B, C, H', W') in float32."""
        return self.opened(self.maps(x), torch.float32)

    def maps(self, x: Tensor) -> Tensor:
        """Compute the same as bytes if the graph computes in 8-bit integers, else in `self.dtype`."""
        return torch.cat([self._maps(part) for part in portions(x)])

    def _maps(self, x: Tensor) -> Tensor:
        if self.form == "channels_last":
            return self.graph(x.to(self.dtype, memory_format=torch.channels_last))
        if isinstance(self.graph, Quantised):
            return self.graph.bytes_of(x.float())
        return self.graph(x.to(self.dtype).to_mkldnn()).to_dense()

    def opened(self, maps: Tensor, dtype: torch.dtype) -> Tensor:
        """Decode what `maps` returned into numbers of `dtype`."""
        return (self.graph.decode(maps) if isinstance(self.graph, Quantised) else maps).to(dtype)


@torch.no_grad()
def _in_blocks(graph: fx.GraphModule, sample: Tensor) -> bool:
    """Let convolutions compute in oneDNN's layout; return False, and a spoilt graph, where an operation cannot.

    It is tried: oneDNN knows the chip and its own limits, and few operations but convolution, ReLU and pooling are made
    for its layout.
    """
    try:
        _replace(graph, lambda conv: _BlockedConv2d(conv, sample.dtype))
        graph(sample.to_mkldnn())
    except RuntimeError:
        return False
    return True


class _BlockedConv2d(nn.Module):
    """A convolution from and to maps in oneDNN's layout."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype):
        super().__init__()
        self.weight = conv.weight.detach().to_mkldnn(dtype)
        self.bias = None if conv.bias is None else conv.bias.detach().to_mkldnn()
        padding = cast(tuple[int, ...], conv.padding)  # in numbers: no backbone pads by a word
        self.geometry = padding, conv.stride, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        return torch.mkldnn_convolution(x, self.weight, self.bias, *self.geometry)


def _replace(module: nn.Module, new: Callable[[nn.Conv2d], nn.Module]) -> None:
    """Put `new(conv)` in the place of every convolution."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d:
                setattr(parent, name, new(child))


class Features(nn.Module):
    """Take a backbone's `forward_features` for a module: images (B, 3, H, W) → map (B, C, H', W')."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        """Compute the map."""
        return self.backbone.forward_features(x)


class _Tracer(fx.Tracer):
    """Takes convolutions and BatchNorms as they are: timm's own kinds pad, or activate, in Python."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        kinds = (nn.Conv2d, nn.BatchNorm2d, nn.SyncBatchNorm)
        return isinstance(m, kinds) or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norms(module: nn.Module) -> fx.GraphModule:
    """Fold each BatchNorm into the convolution that feeds it alone, in a copy in evaluation mode.

    An activation that the norm holds stays, in its place.

    >>> fold_batch_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval())(torch.zeros(1, 3, 2, 2)).shape
    torch.Size([1, 4, 2, 2])
    """
    copied = copy.deepcopy(module).eval()
    traced = fx.GraphModule(copied, _Tracer().trace(copied))
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.op == "call_module" else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv, norm = traced.get_submodule(str(before.target)), traced.get_submodule(node.target)
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm):
            continue
        if norm.track_running_stats:
            traced.set_submodule(str(before.target), fuse_conv_bn_eval(conv, norm))
            activation = getattr(norm, "act", nn.Identity())
            if isinstance(activation, nn.Identity):
                node.replace_all_uses_with(before)
                traced.graph.erase_node(node)
            else:
                traced.set_submodule(node.target, activation)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval()
