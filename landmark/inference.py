"""A network rebuilt for prediction: normalisation folded into the convolutions, weights cast once or made integers."""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from landmark.int8 import has_int8, quantise
from landmark.models import LandmarkNet
from landmark.runtime import InputError, fast_dtype

SAMPLE = 32  # images to measure the ranges of 8-bit integers on
X86 = {"x86_64", "AMD64"}
CACHE = 4 * 299**2  # pixels of the images whose maps fit in a CPU's cache: a batch of 32 at a time is a fifth slower


def fast_model(model: LandmarkNet, images: Tensor | None = None) -> LandmarkNet:
    """A copy of a network that predicts the same faster and can no longer learn.

    Its backbone has every BatchNorm folded into the convolution before it, and weights in the dtype and memory layout
    that pay on the chip; pooling and head stay as they are. Input and output stay float32.

    Args:
        model: any network of `create_model`, left as it is; one that is fast already is returned.
        images: some images (B, 3, H, W) like those to come, `SAMPLE` are enough. The backbone then computes in 8-bit
            integers, nearly twice as fast as in bfloat16; the ranges of its maps are measured on these images.

    Raises:
        InputError: images are given, and there are none or the chip lacks instructions for 8-bit integers.

    >>> from landmark import create_model
    >>> model = create_model("resnet50", 3).eval()
    >>> x = torch.rand(2, 3, 64, 64)
    >>> bool((fast_model(model)(x) - model(x)).abs().max() < 0.1)
    True
    """
    if isinstance(model.backbone, _Folded):
        return model
    where = next(model.parameters()).device
    if images is not None and not has_int8(where):
        raise InputError("no 8-bit integers on this machine (they need a CPU with VNNI): predict without them")
    if images is not None and not len(images):
        raise InputError("no image to measure the ranges of 8-bit integers on: predict without them")
    fast = copy.deepcopy(model).eval()
    fast.backbone = _Folded(fast.backbone, where, images)
    return fast.eval().requires_grad_(False)


class _Folded(nn.Module):
    """A backbone in evaluation mode, as one graph of convolutions."""

    def __init__(self, backbone: nn.Module, where: torch.device, images: Tensor | None):
        super().__init__()
        self.dtype = fast_dtype(where)
        graph = fold_batch_norms(_Features(backbone))
        # oneDNN chooses a blocked layout once for weights and maps; channels last is a seventh slower on x86
        blocked = where.type == "cpu" and platform.machine() in X86 and torch.backends.mkldnn.is_available()
        if images is not None:
            self.form = "int8"
            graph = quantise(graph, images.float().split(4))
        elif blocked:
            self.form = "blocked"
            _replace(graph, lambda conv: _BlockedConv2d(conv, self.dtype))
        else:
            self.form = "channels_last"
            graph.to(self.dtype, memory_format=torch.channels_last)
        self.graph = graph

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → feature map (B, C, H', W') in float32."""
        if self.form == "channels_last":
            return self.graph(x.to(self.dtype, memory_format=torch.channels_last)).float()
        portions = x.split(max(1, CACHE // (x.shape[2] * x.shape[3])))
        if self.form == "int8":
            return torch.cat([self.graph(part.float()) for part in portions])
        return torch.cat([self.graph(part.to(self.dtype).to_mkldnn()).to_dense() for part in portions]).float()


class _BlockedConv2d(nn.Module):
    """A convolution from and to maps in oneDNN's layout."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype):
        super().__init__()
        self.weight = conv.weight.detach().to_mkldnn(dtype)
        self.bias = None if conv.bias is None else conv.bias.detach().to_mkldnn()
        self.facts = (conv.padding, conv.stride, conv.dilation, conv.groups)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mkldnn_convolution(x, self.weight, self.bias, *self.facts)


def _replace(module: nn.Module, new: Callable[[nn.Conv2d], nn.Module]) -> None:
    """Put `new(conv)` in the place of every convolution."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d:
                setattr(parent, name, new(child))


class _Features(nn.Module):
    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone.forward_features(x)


def fold_batch_norms(module: nn.Module) -> fx.GraphModule:
    """Trace a module in evaluation mode and fold each BatchNorm into the convolution that feeds it alone.

    >>> fold_batch_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval())(torch.zeros(1, 3, 2, 2)).shape
    torch.Size([1, 4, 2, 2])
    """
    traced = fx.symbolic_trace(module)
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.op == "call_module" else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv, norm = traced.get_submodule(before.target), traced.get_submodule(node.target)
        if type(conv) is nn.Conv2d and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            owner, _, name = before.target.rpartition(".")
            setattr(traced.get_submodule(owner), name, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval()
