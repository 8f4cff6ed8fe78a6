"""The gradient of a score by the input, alone or times the input, plain or averaged over noise."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from speechscope.relevance.target import derivative

Network = Callable[[Tensor], Tensor]


def sensitivity(network: Network, x: Tensor, target: Tensor) -> Tensor:
    """Return the sensitivity of the target score to each input value.

    R_i = ∂S_c / ∂x_i, with sign.

    Source: Krug 2018, sec. 3.4, eq. 1 (after Gevrey et al. 2003).

    Parameters
    ----------
    network
        Gives scores (B, classes, …) before softmax.
    x
        Inputs (B, …).
    target
        Class of each item (B,).
    """
    return derivative(network, x, target)


def gradient_times_input(network: Network, x: Tensor, target: Tensor) -> Tensor:
    """Return x_i ∂S_c / ∂x_i (Shrikumar et al. 2016); parameters as `sensitivity`."""
    return x * derivative(network, x, target)


def smoothgrad(
    network: Network,
    x: Tensor,
    target: Tensor,
    *,
    samples: int,
    noise: float,
    seeds: Sequence[int],
) -> Tensor:
    """Return the mean sensitivity over noisy copies of each input.

    R = 1/n Σ ∂S_c(x + e) / ∂x, e ~ N(0, σ²), σ = noise × (max x − min x) of the item.

    Source: Smilkov et al. (2017), sec. 3.

    Parameters
    ----------
    network, x, target
        As `sensitivity`.
    samples
        Copies n.
    noise
        Share of the item's range.
    seeds
        One an item, so that an item's noise does not depend on its neighbours.
    """
    flat = x.flatten(1)
    spread = noise * (flat.amax(1) - flat.amin(1)).view(-1, *(1,) * (x.dim() - 1))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    total = torch.zeros_like(x)
    for _ in range(samples):
        drawn = torch.stack([torch.randn(x.shape[1:], generator=g) for g in generators])
        total += derivative(network, x + spread * drawn.to(x), target)
    return total / samples
