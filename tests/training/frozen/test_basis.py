"""What maps rest on: all that decides a bit of them is in it, and nothing else."""

import pytest
import torch

from landmark.data.dataset import LandmarkDataset, eval_transform, train_transform
from landmark.data.folder import GoogleLandmarks
from landmark.models.frozen import Prefix, prefix_ranges
from landmark.models.int8 import has_int8
from landmark.models.net import create_model
from landmark.training.frozen import basis
from landmark.training.frozen.basis import basis_of, weights_of

INT8 = has_int8(torch.device("cpu"))


def dataset_of(root, size=32, mean=0.5, views=1, seed=0, rows=9, transform=train_transform):
    both = transform(size, (mean,) * 3, (0.5,) * 3)
    return LandmarkDataset(GoogleLandmarks(root).train[:rows], root, "train", None, *both, seed, views=views)


def of(model, dataset, stage="layer2", ranges=None):
    return basis_of(model, stage, Prefix(model, stage, ranges), dataset, ranges)


def test_poolings_heads_rows_and_views_have_no_part_in_it(folder):
    """Fails when seven variants of a backbone, or two splits, each look at all images."""
    a = create_model("resnet50", 3, freeze="layer2")
    b = create_model("resnet50_gem", 7, freeze="layer2")
    b.backbone.layer3.load_state_dict(create_model("resnet50", 3, seed=5).backbone.layer3.state_dict())
    b.backbone.bn1.num_batches_tracked += 7
    assert of(a, dataset_of(folder)) == of(b, dataset_of(folder, rows=3, views=4))


CHANGES = {
    "weights": lambda model: model.backbone.layer2[0].conv1.weight.data.mul_(1.0001),
    "a norm's weight": lambda model: model.backbone.layer1[0].bn1.weight.data.add_(1e-3),
    "a norm's statistics": lambda model: model.backbone.bn1.running_mean.add_(1e-3),
}


@pytest.mark.parametrize("what", CHANGES)
def test_weights_and_statistics_have(what):
    """Fails when a tensor that decides the maps is left out, such as the statistics of BatchNorm."""
    model = create_model("resnet50", 3, freeze="layer2")
    before = weights_of(model, "layer2")
    CHANGES[what](model)
    assert weights_of(model, "layer2") != before


def test_all_else_has(folder, monkeypatch):
    """Fails when two ways to make other maps have one basis."""
    model, data = create_model("resnet50", 3, freeze="layer2"), dataset_of(folder)
    found = [of(model, data), of(model, data, stage="layer1")]
    for more in ({"size": 48}, {"mean": 0.4}, {"seed": 1}, {"transform": eval_transform, "views": 0}):
        found.append(of(model, dataset_of(folder, **more)))
    assert found[0]["transform"] == "train" and found[-1]["transform"] == "eval"
    if INT8:
        ranges = prefix_ranges(model, "layer2", torch.rand(4, 3, 32, 32))
        other = prefix_ranges(model, "layer2", torch.rand(4, 3, 32, 32) * 2)
        found += [of(model, data, ranges=ranges), of(model, data, ranges=other)]
    for name, value in (("float32", "AVX2"), ("float16", "AVX2"), ("float32", "AVX")):
        monkeypatch.setenv("LANDMARK_PRECISION", name)
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", value)
        found.append(of(model, data))
    for library in (torch, basis.torchvision, basis.PIL):
        with monkeypatch.context() as patch:
            patch.setattr(library, "__version__", "0.0")
            found.append(of(model, data))
    monkeypatch.setattr(basis, "VERSION", 2)
    found.append(of(model, data))
    assert len({str(one) for one in found}) == len(found)
    assert str(of(model, data)) == str(of(model, data)), "no address in memory"
