"""Integrated gradients."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from speechscope.relevance.target import derivative


def integrated_gradients(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    target: Tensor,
    *,
    steps: int,
    baseline: Tensor | None = None,
) -> Tensor:
    """Return integrated gradients from a baseline to each input.

    R_i = (x_i − x'_i) ∫₀¹ ∂S_c(x' + a (x − x')) / ∂x_i da, by Gauss-Legendre quadrature: exact
    where the gradient along the way is a polynomial below degree 2 × `steps`. The relevances of
    an item add up to S_c(x) − S_c(x') but for the error of the quadrature.

    Source: Sundararajan et al. (2017), eq. 1.

    Parameters
    ----------
    network
        Gives scores (B, classes, …) before softmax.
    x
        Inputs (B, …).
    target
        Class of each item (B,).
    steps
        Points of the quadrature: passes through the network.
    baseline
        x', broadcastable to x; None: 0, which for centred inputs is the training mean.
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    origin = torch.zeros_like(x) if baseline is None else baseline.expand_as(x)
    way = x - origin
    total = torch.zeros_like(x)
    for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
        at = (point + 1) / 2
        total += weight / 2 * derivative(network, origin + at * way, target)
    return way * total
