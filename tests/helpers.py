"""What several test files use: networks awake, a small network, runs compared, a process that dies."""

import importlib.util
import os
import sys
from pathlib import Path

import torch
from torch import nn

from landmark.training.config import TrainConfig

# Real photographs, which not every checkout has beside it
PHOTOS = Path(os.environ.get("LANDMARK_PHOTOS") or Path(__file__).parents[2] / "shared" / "photos")


def load_script(name):
    """A script of the notebooks' folder, which finds its neighbours as when it is run."""
    folder = Path(__file__).parents[1] / "notebooks"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def texts(fig):
    return [text for text in fig.axes[0].texts if text.get_text()]


def _awake(module):
    """Give every BatchNorm statistics and weights of its own: fresh ones would hide a fold that is left out."""
    noise = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1, generator=noise)
            norm.running_var.uniform_(0.5, 1.5, generator=noise)
            norm.weight.data.uniform_(0.5, 1.5, generator=noise)
            norm.bias.data.normal_(0, 0.1, generator=noise)
    return module.eval()


class Small(nn.Module):
    """Convolution, BatchNorm, dropout: everything a resumed run could get wrong."""

    def __init__(self, classes):
        super().__init__()
        self.data_config = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        self.backbone_name, self.num_features = "resnet50", 6
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 4), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(6, classes))

    def forward_features(self, x):
        return self.features(x)

    def forward_head(self, x, pre_logits=False):
        x = x.mean((2, 3))
        return x if pre_logits else self.head(x)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))

    def learnt_numbers(self):
        return {}


CONFIG = TrainConfig(
    model="resnet50", size=32, batch_size=4, steps=5, min_images=2, dev_fraction=0.3, weights="none", lr=0.01
)


def same(a, b):
    return all(
        torch.equal(x, y)
        for x, y in zip(a.model("last").state_dict().values(), b.model("last").state_dict().values(), strict=True)
    )


LOGGED = ["step", "epoch", "train_loss", "dev_loss", "dev_gap", "dev_top1", "lr"]


class Killed(BaseException):
    """What SIGKILL looks like from inside: nothing after it runs."""
