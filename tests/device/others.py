"""Networks that are not ours."""

import torch
from torch import Tensor, nn


def tiny() -> nn.Module:
    """Return a small network with batch normalisation."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, (9, 5)),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d((4, 2)),
        nn.Flatten(),
        nn.Linear(1152, 12),
    )


class Residual(nn.Module):
    """A network whose input goes round its convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.last = nn.Linear(3216, 12)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        out: Tensor = self.last(torch.relu(x + self.conv(x)).flatten(1))
        return out


class Along(nn.Module):
    """A network that takes waveforms (B, samples) of any length, and answers along them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv1d(1, 4, 400, 160), nn.Conv1d(4, 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (B, classes, frames)."""
        out: Tensor = self.last(torch.tanh(self.first(x[:, None])))
        return out
