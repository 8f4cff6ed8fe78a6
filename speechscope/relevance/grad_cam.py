"""Gradient-weighted class activation mapping."""

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.networks.graph import Graph, Untreatable
from speechscope.registry import RELEVANCE
from speechscope.relevance.explain import Explained, derivative


@RELEVANCE.register("grad-cam")
def grad_cam(of: Explained, x: Tensor, target: Tensor, *_: object) -> Tensor:
    """Return where what the last convolution and its activation give speaks for the target class.

    See `class_activation`.
    """
    graph = of.steps()
    return class_activation(graph, x, target, _after_last_convolution(graph))


def _after_last_convolution(graph: Graph) -> str:
    """Return the layer that takes what the last convolution and its activation give."""
    steps = graph.steps
    number = max((n for n, step in enumerate(steps, 1) if step.part == "conv"), default=1)
    while steps[number].kind in ("relu", "activation") or steps[number].part == "norm":
        number += 1
    return steps[number].name


def class_activation(graph: Graph, x: Tensor, target: Tensor, layer: str) -> Tensor:
    """Return where the maps that enter a layer speak for the target class.

    L = max(0, Σ_k a_k A_k), a_k = mean over positions of ∂S_c/∂A_k, stretched bilinearly to the
    size of the inputs x (B, C, F, T) and given to every channel alike.

    Source: Selvaraju et al. (2017), eq. 1 and 2; Krug 2018, sec. 2.1.

    Raises
    ------
    Untreatable
        The layer's input is not a stack of two-dimensional maps of more than one position, or the
        maps have lost the frequency axis of the input, so that the result could not tell
        frequencies apart (Krug 2018, sec. 3.4).
    """
    before, after = graph.split(layer)
    with torch.no_grad():
        maps = before(x)
    if x.dim() != 4 or maps.dim() != 4 or maps[0, 0].numel() < 2:
        raise Untreatable(
            f"layer {layer}: Grad-CAM needs two-dimensional maps, found {tuple(maps.shape[1:])}"
        )
    if maps.shape[2] == 1 and x.shape[2] > 1:
        raise Untreatable(f"layer {layer}: Grad-CAM needs maps over frequency; these have one bin")
    weights = derivative(after, maps, target).mean((2, 3), keepdim=True)
    activation = (weights * maps).sum(1, keepdim=True).clamp(min=0)
    size = (int(x.shape[2]), int(x.shape[3]))
    stretched = functional.interpolate(activation, size, mode="bilinear", align_corners=False)
    return stretched.expand_as(x).contiguous()
