"""Captum and Zennit, and networks in the plain layers that they know."""

import sys
import types
import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from speechscope.networks.layers import BatchNorm, Conv, Linear, MaxPool, Network

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchvision
except (ImportError, RuntimeError):
    # Zennit names three classes of torchvision, whose wheels are made for CUDA releases of PyTorch.
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    absent = type("Absent", (nn.Module,), {})
    resnet = types.ModuleType("torchvision.models.resnet")
    resnet.Bottleneck = resnet.BasicBlock = absent  # type: ignore[attr-defined]
    torchvision = types.ModuleType("torchvision")
    torchvision.ops = types.ModuleType("torchvision.ops")  # type: ignore[attr-defined]
    torchvision.ops.FrozenBatchNorm2d = absent
    sys.modules["torchvision"] = torchvision
    sys.modules["torchvision.models"] = types.ModuleType("torchvision.models")
    sys.modules["torchvision.models.resnet"] = resnet


def plain(network: Network, *, fold: bool = False) -> nn.Sequential:
    """One of our networks in PyTorch's own layers, with the same weights.

    `fold`: batch normalisation becomes part of the convolution before it.
    """
    layers: list[nn.Module] = []
    for name, row in zip(network.names, network.table, strict=True):
        if isinstance(row, Conv):
            top, bottom, left, right = row.pads
            if any(row.pads):
                layers.append(nn.ZeroPad2d((left, right, top, bottom)))
            weight, bias = network.parameters_of(name)
            conv = nn.Conv2d(weight.shape[1], row.maps, row.kernel, row.stride)
            conv.eval()
            conv.weight.data, conv.bias.data = weight.data, bias.data  # type: ignore[union-attr]
            layers.append(conv)
        elif isinstance(row, MaxPool):
            layers.append(nn.MaxPool2d(row.size, row.stride))
        elif isinstance(row, BatchNorm):
            norm = network.get_submodule(name)
            if fold:
                layers[-1] = fuse_conv_bn_eval(layers[-1], norm)  # type: ignore[type-var, arg-type]
            else:
                layers.append(norm)
        elif isinstance(row, Linear):
            if len(network.shape_before(name)) > 1:
                layers.append(nn.Flatten())
            weight, bias = network.parameters_of(name)
            dense = nn.Linear(weight.shape[1], weight.shape[0])
            dense.weight.data, dense.bias.data = weight.data, bias.data
            layers.append(dense)
        else:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers).eval().requires_grad_(False)


def error(found: Tensor, wanted: Tensor) -> float:
    """The largest deviation, as a share of the largest value."""
    found, wanted = found.detach(), wanted.detach()
    return float((found - wanted).abs().max() / wanted.abs().max())


def zennit(model: nn.Module, x: Tensor, target: Tensor, composite: object) -> Tensor:
    """Relevance by a Zennit composite, from the score of the target."""
    from zennit.attribution import Gradient

    def start(scores: Tensor) -> Tensor:
        return scores * torch.eye(scores.shape[1], dtype=scores.dtype)[target]

    with Gradient(model=model, composite=composite) as attributor:
        relevance: Tensor = attributor(x, start)[1]
    return relevance
