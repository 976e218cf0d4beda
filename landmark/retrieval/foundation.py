"""Frozen networks of timm by name, DINOv2 among them: what they learnt is used as it is."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from landmark.models.recipes import FOUNDATION
from landmark.models.weights import load_tensors, read_tensors
from landmark.utils.device import float32_by_default, own_random_numbers, reseed
from landmark.utils.errors import CheckpointError, InputError

_log = logging.getLogger(__name__)


class FoundationNet(nn.Module):
    """A frozen network of timm: images → embeddings, pooled as its authors do.

    For DINOv3's transformers that is the class token, where timm averages all tokens.

    Attributes: `name` in timm, `size` of the images that it was trained on, `data_config` (mean and std of the input),
    `licence` of its weights.

    Args:
        name: "timm/" and a name of timm's with weights, or a short one of `recipes.FOUNDATION`.
        weights: None for those of timm's hub, fetched once; a file of them; "none" for random ones.

    Raises:
        InputError: timm has no such weights, or they cannot be fetched.
        CheckpointError: the file is damaged or holds another network's.

    >>> net = FoundationNet("dinov2", "none")
    >>> net.name, net.size, net.licence
    ('vit_small_patch14_dinov2.lvd142m', 518, 'apache-2.0')

    Source: Oquab et al., "DINOv2: Learning robust visual features without supervision", 2023. Its training images were
    retrieved with Google Landmarks v2 among the seeds (section 3), so on that data set it is not without training.
    """

    def __init__(self, name: str, weights: str | Path | None = None):
        super().__init__()
        self.name = FOUNDATION.get(name, name).removeprefix("timm/")
        config = timm.get_pretrained_cfg(self.name) if timm.is_model_pretrained(self.name) else None
        if config is None:
            raise InputError(f"{name}: timm has no weights by this name: timm.list_pretrained() lists those it has")
        self.size, self.licence = config.input_size[-1], config.license
        self.data_config = {"mean": tuple(config.mean), "std": tuple(config.std)}
        by_token = self.name.startswith("vit") and "dinov3" in self.name
        pooling: dict[str, Any] = {"global_pool": "token"} if by_token else {}
        cpu = torch.device("cpu")
        with own_random_numbers(cpu), float32_by_default():
            reseed(0, cpu)
            self.network: Any = timm.create_model(self.name, num_classes=0, **pooling)
        if weights != "none":
            heads = [config.classifier] if isinstance(config.classifier, str) else config.classifier or ()
            self._load(weights or self._fetch(config.hf_hub_id), tuple(f"{head}." for head in heads))
        self.eval().requires_grad_(False)

    def _load(self, path: str | Path, classifier: tuple[str, ...]) -> None:
        """Fill the network from a file, all of it: timm's own loader leaves random numbers where a file lacks some."""
        tensors = read_tensors(path)
        module = sys.modules[type(self.network).__module__]
        if hasattr(module, "checkpoint_filter_fn"):  # from the names of the network's authors
            try:
                tensors = module.checkpoint_filter_fn(tensors, self.network)
            except (KeyError, RuntimeError, ValueError) as error:  # it looks for what the file of its authors has
                raise CheckpointError(f"{path}: weights of another network than {self.name} ({error!r})") from None
        load_tensors(self.network, {key: t for key, t in tensors.items() if not key.startswith(classifier)}, path)

    def _fetch(self, hub: str | None) -> str:
        from huggingface_hub import hf_hub_download

        if not hub:
            raise InputError(f"{self.name}: its weights are not on timm's hub: choose another network")
        _log.info("%s: weights of timm's hub, licence %s", self.name, self.licence)
        try:
            return hf_hub_download(hub, "model.safetensors")
        except OSError as error:
            reason = str(error).strip().split("\n")[0][:120]
            raise InputError(
                f"{self.name}: its weights cannot be fetched ({reason}): try again with a network, or copy the cache "
                "of a machine that has them (HF_HOME)"
            ) from None

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, 3, S, S) → the network's own features: tokens (B, N, D), or a map."""
        return self.network.forward_features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = True) -> Tensor:
        """Features → embeddings (B, D)."""
        return self.network.forward_head(x, pre_logits=pre_logits)
