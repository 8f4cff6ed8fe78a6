"""The gradient of a score by the input: alone, times the input, over noise, along a way."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from speechscope.registry import RELEVANCE
from speechscope.relevance.explain import Explained, derivative

if TYPE_CHECKING:
    from speechscope.stages.relevance import Relevance


@RELEVANCE.register("gradient")
def sensitivity(of: Explained, x: Tensor, target: Tensor, *_: object) -> Tensor:
    """Return the sensitivity of the target score to each input value.

    R_i = ∂S_c / ∂x_i, with sign.

    Source: Krug 2018, sec. 3.4, eq. 1 (after Gevrey et al. 2003).
    """
    return derivative(of.scores, x, target)


@RELEVANCE.register("gradient-x-input")
def gradient_times_input(of: Explained, x: Tensor, target: Tensor, *_: object) -> Tensor:
    """Return x_i ∂S_c / ∂x_i (Shrikumar et al. 2016)."""
    return x * derivative(of.scores, x, target)


@RELEVANCE.register("smoothgrad")
def smoothgrad(
    of: Explained, x: Tensor, target: Tensor, settings: "Relevance", seeds: Sequence[int]
) -> Tensor:
    """Return the mean sensitivity over noisy copies of each input.

    R = 1/n Σ ∂S_c(x + e) / ∂x, e ~ N(0, σ²), σ = noise × (max x − min x) of the item; n is
    ``samples``.

    Source: Smilkov et al. (2017), sec. 3.
    """
    flat = x.flatten(1)
    spread = settings.noise * (flat.amax(1) - flat.amin(1)).view(-1, *(1,) * (x.dim() - 1))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    total = torch.zeros_like(x)
    for _ in range(settings.samples):
        drawn = torch.stack([torch.randn(x.shape[1:], generator=g) for g in generators])
        total += derivative(of.scores, x + spread * drawn.to(x), target)
    return total / settings.samples


@RELEVANCE.register("integrated")
def integrated_gradients(
    of: Explained, x: Tensor, target: Tensor, settings: "Relevance", *_: object
) -> Tensor:
    """Return integrated gradients from 0, which for centred inputs is the training mean.

    R_i = x_i ∫₀¹ ∂S_c(a x) / ∂x_i da, by Gauss-Legendre quadrature: exact where the gradient along
    the way is a polynomial below degree 2 × ``steps``. The relevances of an item add up to
    S_c(x) − S_c(0) but for the error of the quadrature.

    Source: Sundararajan et al. (2017), eq. 1.
    """
    points, weights = np.polynomial.legendre.leggauss(settings.steps)
    total = torch.zeros_like(x)
    for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
        total += weight / 2 * derivative(of.scores, (point + 1) / 2 * x, target)
    return x * total
