"""What each layer and function of PyTorch is to the rules of relevance."""

import operator
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from speechscope.networks.graph import Kind, Part
from speechscope.networks.maps import Average, Convolution, Dense, LinearMap, along_channels
from speechscope.networks.table_graph import norm_map

POOLS = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
_MODULES: dict[Kind, tuple[type[nn.Module], ...]] = {
    "relu": (nn.ReLU,),
    "activation": (nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Tanh, nn.Hardtanh),
    "plain": (
        *POOLS,
        nn.Flatten,
        nn.Unflatten,
        nn.Identity,
        nn.Dropout,
        nn.Dropout1d,
        nn.Dropout2d,
        nn.Dropout3d,
        nn.ZeroPad1d,
        nn.ZeroPad2d,
        nn.ZeroPad3d,
    ),
    "normalisation": (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d),
}
_AVERAGES = (
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
)
POOLINGS = (
    # PyTorch's pooling functions choose between two forms when called, hence the odd names.
    functional.max_pool1d,
    functional.max_pool2d,
    functional.max_pool3d,
    torch.max_pool1d,
    torch.max_pool2d,
    torch.max_pool3d,
    functional.adaptive_max_pool1d,
    functional.adaptive_max_pool2d,
)
FUNCTIONS: dict[Kind, tuple[Any, ...]] = {
    "relu": (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_"),
    "activation": (
        functional.leaky_relu,
        functional.relu6,
        functional.hardtanh,
        torch.tanh,
        functional.tanh,
        "tanh",
    ),
    "plain": (
        *POOLINGS,
        functional.dropout,
        functional.pad,
        torch.flatten,
        torch.reshape,
        torch.permute,
        torch.transpose,
        torch.squeeze,
        torch.unsqueeze,
        torch.cat,
        torch.concat,
        operator.getitem,
        *("flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze"),
        *("contiguous", "clone", "swapaxes", "unflatten", "to", "float", "double"),
    ),
    "normalisation": (functional.layer_norm, functional.group_norm, functional.instance_norm),
}
AVERAGING = (
    functional.avg_pool1d,
    functional.avg_pool2d,
    functional.avg_pool3d,
    functional.adaptive_avg_pool1d,
    functional.adaptive_avg_pool2d,
    functional.adaptive_avg_pool3d,
    torch.mean,
    "mean",
)
_LAST = (functional.softmax, functional.log_softmax, torch.softmax, torch.log_softmax)
ENDING_MODULES = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
ENDINGS = (*_LAST, torch.sigmoid, functional.sigmoid, "softmax", "log_softmax", "sigmoid")

Found: TypeAlias = tuple[Kind, LinearMap | None, Part]


def module_kind(layer: nn.Module, axes: int) -> Found:
    """Return what a module is, its map and its part, for inputs of so many axes beside (B, C)."""
    for kind, types in _MODULES.items():
        if isinstance(layer, types):
            if isinstance(layer, nn.modules.pooling._MaxPoolNd) and layer.return_indices:
                return "unknown", None, "other"
            return kind, None, "pool" if isinstance(layer, POOLS) else "other"
    if isinstance(layer, _AVERAGES):
        return "linear", Average(layer), "pool"
    if isinstance(layer, nn.Linear):
        dense = Dense(layer.weight.detach(), None if layer.bias is None else layer.bias.detach())
        return "linear", dense, "dense"
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        bordered = layer.padding_mode != "zeros" or isinstance(layer.padding, str)
        padding = (0,) * axes if bordered else tuple(int(p) for p in layer.padding)
        bias = None if layer.bias is None else along_channels(layer.bias.detach(), axes)
        return (
            "linear",
            Convolution(
                layer.weight.detach(), bias, layer.stride, padding, layer.dilation, layer.groups
            ),
            "conv",
        )
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        if layer.running_mean is None:
            return "normalisation", None, "other"
        return "linear", norm_map(layer, axes), "norm"
    return "unknown", None, "other"
