"""Beginning a training from weights that another one found.

An encoder's (Riemens 2015, sec. 4.4), or those of a whole network that was trained on other speech.
"""

from collections.abc import Mapping

from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Network


def begin_from(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Set some of a network's weights, and buffers such as running means, to given ones.

    Raises
    ------
    UsageProblem
        The network has no such weights, or some of another shape.
    """
    own = network.state_dict()
    for name, value in weights.items():
        if name not in own:
            raise UsageProblem(f"the network has no {name} to begin from")
        if own[name].shape != value.shape:
            raise UsageProblem(
                f"{name} is {tuple(own[name].shape)} in the network and {tuple(value.shape)} in "
                "what it is to begin from; name the network both were made for by --network"
            )
        own[name].copy_(value)
