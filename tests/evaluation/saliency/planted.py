"""A network of which it is known what it looks at."""

import torch
from torch import nn


class Planted(nn.Module):
    """A network whose class 1 depends on the top left quarter alone."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward_features(self, x):
        return self.conv(x)

    def forward_head(self, x):
        score = self.relu(x)[:, :, :8, :8].mean((1, 2, 3))
        return torch.stack([-20 * score, 20 * score], 1)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))
