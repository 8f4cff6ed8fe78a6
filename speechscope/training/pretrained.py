"""Beginning a training from weights that another one found (Riemens 2015, sec. 4.4)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Network


def begin_from(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Set some of a network's convolutions to given weights.

    Raises
    ------
    UsageProblem
        The network has no such convolution, or one of another shape.
    """
    own = dict(network.named_parameters())
    for name, value in weights.items():
        if name not in own or not name.startswith("conv"):
            raise UsageProblem(f"the network has no convolution {name} to begin from")
        if own[name].shape != value.shape:
            raise UsageProblem(
                f"{name} is {tuple(own[name].shape)} in the network and {tuple(value.shape)} in "
                "what it is to begin from; name the network both were made for by --network"
            )
        with torch.no_grad():
            own[name].copy_(value)
