"""Both forms of a layer give the same values before they are timed."""

import torch

from landmark.course.bench import layers
from landmark.models.layers import CompactBilinearPooling


def test_layer_benchmark_compares_equal_values(monkeypatch):
    """Fails when the textbook form and the layer differ, in values or in gradients."""
    monkeypatch.setattr(layers, "peak_memory", lambda *work: 1)
    told = layers.bench_layers(batch_size=1, map_size=2, repeats=1)
    assert told["difference"] < 1e-4 and told["ratio_network"] > 0
    layer, x = CompactBilinearPooling(6, dim=16), torch.randn(2, 6, 2, 2)
    torch.testing.assert_close(layers.textbook_pooling(x, layer), layer(x), rtol=1e-4, atol=1e-4)
