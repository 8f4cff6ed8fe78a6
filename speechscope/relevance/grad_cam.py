"""Gradient-weighted class activation mapping."""

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.networks.graph import Graph, Untreatable
from speechscope.relevance.target import derivative


def grad_cam(graph: Graph, x: Tensor, target: Tensor, layer: str) -> Tensor:
    """Return where the maps that enter a layer speak for the target class.

    L = max(0, Σ_k a_k A_k), a_k = mean over positions of ∂S_c/∂A_k, stretched bilinearly to the
    input's size and given to every channel alike.

    Source: Selvaraju et al. (2017), eq. 1 and 2; Krug 2018, sec. 2.1.

    Parameters
    ----------
    graph
        The network's steps.
    x
        Inputs (B, C, F, T).
    target
        Class of each item (B,).
    layer
        The layer whose input A (B, K, F', T') is weighted; usually the one after the last
        convolution and its pooling.

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
    found = (weights * maps).sum(1, keepdim=True).clamp(min=0)
    size = (int(x.shape[2]), int(x.shape[3]))
    stretched = functional.interpolate(found, size, mode="bilinear", align_corners=False)
    return stretched.expand_as(x).contiguous()
