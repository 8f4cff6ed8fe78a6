"""The gradient of a score by the input: alone, times the input, over noise, along a way."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from speechscope.networks.graph import OF_ANY_LAYER, Graph, Step, Untreatable
from speechscope.registry import RELEVANCE
from speechscope.relevance.explain import Explained, derivative, score
from speechscope.work.device import noise

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
    total = torch.zeros_like(x)
    for number in range(settings.samples):
        drawn = noise(seeds, number, x.shape[1:], x.device)
        total += derivative(of.scores, x + spread * drawn, target)
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


@RELEVANCE.register("grad-cam")
def grad_cam(of: Explained, x: Tensor, target: Tensor, *_: object) -> Tensor:
    """Return where what the last convolution and its activation give speaks for the target class.

    The last whose maps have positions in frequency and time; see `class_activation`.
    """
    graph = of.steps(x)
    last: Untreatable | None = None
    # The last convolutions of some networks are fully connected layers, of maps of one value.
    for number in _convolutions(graph):
        try:
            return class_activation(graph, x, target, _end_of_block(graph, number))
        except Untreatable as error:
            last = last or error
    none = f"Grad-CAM needs a convolution before the scores, there is none; {OF_ANY_LAYER}"
    raise last or Untreatable(none)


def _convolutions(graph: Graph) -> list[int]:
    """Return the steps that are convolutions, last first, without one that gives the scores."""
    found = [n for n, step in enumerate(graph.steps, 1) if step.part == "conv"]
    return [n for n in found[::-1] if n < len(graph.steps)]


def _end_of_block(graph: Graph, number: int) -> Step:
    """Return the step that gives a convolution's maps, what is added to them and activations on."""
    steps = graph.steps
    while True:
        takes = (n for n, s in enumerate(steps, 1) if number in s.inputs and s.kind != "value")
        after = next(takes, len(steps))
        if after == len(steps) or not _keeps_maps(steps[after - 1]):
            return steps[number - 1]
        number = after


def _keeps_maps(step: Step) -> bool:
    """Say whether what maps go through leaves them maps of the same places."""
    if step.kind in ("relu", "activation", "normalisation", "sum") or step.part == "norm":
        return True
    return step.kind == "plain" and step.what.removeprefix("the function ") in STAYING


STAYING = ("getitem", "contiguous", "clone", "dropout", "Dropout", "Dropout1d", "Dropout2d")


def class_activation(graph: Graph, x: Tensor, target: Tensor, step: Step) -> Tensor:
    """Return where the maps that a step gives speak for the target class.

    L = max(0, Σ_k a_k A_k), a_k = mean over positions of ∂S_c/∂A_k, stretched bilinearly to the
    size of the inputs x (B, C, F, T) and given to every channel alike. What goes around the step
    has no part in it.

    Source: Selvaraju et al. (2017), eq. 1 and 2; Krug 2018, sec. 2.1.

    Raises
    ------
    Untreatable
        What it gives is not a stack of maps of more than one position, or the maps have lost the
        frequency axis of the input, so that the result could not tell frequencies apart (Krug
        2018, sec. 3.4).
    """
    kept: list[Tensor] = []

    def keep(this: Step, *arguments: Tensor) -> Tensor:
        out: Tensor = this.run(*arguments)
        if this is step:
            kept.append(out)
        return out

    with torch.enable_grad():
        scores = graph.run(x.detach().requires_grad_(), {step.kind: keep})
        maps = kept[0]
        (slope,) = torch.autograd.grad(score(scores, target).sum(), maps, allow_unused=True)
    layer, maps = step.name, maps.detach()
    if x.dim() != 4 or maps.dim() not in (3, 4) or maps[0, 0].numel() < 2:
        raise Untreatable(
            f"layer {layer}: Grad-CAM needs maps, found {tuple(maps.shape[1:])}; {OF_ANY_LAYER}"
        )
    if (maps.dim() == 3 or maps.shape[2] == 1) and x.shape[2] > 1:
        raise Untreatable(
            f"layer {layer}: Grad-CAM needs maps over frequency, these have one bin; {OF_ANY_LAYER}"
        )
    if slope is None:
        raise Untreatable(f"layer {layer}: no slope leads from the scores to it; {OF_ANY_LAYER}")
    weights = slope.flatten(2).mean(2)
    maps = maps if maps.dim() == 4 else maps.unsqueeze(2)
    activation = (weights[:, :, None, None] * maps).sum(1, keepdim=True).clamp(min=0)
    size = (int(x.shape[2]), int(x.shape[3]))
    stretched = functional.interpolate(activation, size, mode="bilinear", align_corners=False)
    return stretched.expand_as(x).contiguous()
