"""Whether the kernels of PyTorch that the networks run on are right on this machine.

On processors with AMX, PyTorch 2.13's convolution in bfloat16 is wrong for fewer than 16 channels,
and on every processor its `conv2d` has a wrong derivative by weights as wide as the input. The
networks take neither. A machine on which another kernel is wrong is found out by the layer's name,
before it spoils anything that is trained or explained on it.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.networks.layers import Conv, Linear, Network, convolution
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import NETWORKS

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.01}
"""Largest error of an array, as a share of its norm: rounding, with a margin of three."""

PARTS = ("output", "derivative by the input", "derivative by the weight", "derivative by the bias")

Case = tuple[tuple[int, ...], Conv | Linear]


def cases() -> Iterator[tuple[str, Case]]:
    """Yield every size of convolution and fully connected layer of the networks, by a name."""
    networks: dict[str, Network] = {name: NETWORKS[name]() for name in NETWORKS.names()}
    networks["wav2letter"] = Wav2Letter(width=0.25)  # 64 and 512 maps
    seen: set[Case] = set()
    for label, network in networks.items():
        for name, row in zip(network.names, network.table, strict=True):
            if isinstance(row, Conv | Linear):
                case = (network.shape_before(name), row)
                if case not in seen:
                    yield f"{label} {name}", case
                seen.add(case)


def applied(case: Case) -> tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]:
    """Return a layer as the networks run it and by its plainest form, and its arguments."""
    shape, row = case
    generator = torch.Generator().manual_seed(0)
    if isinstance(row, Linear):
        sizes = [(3, torch.Size(shape).numel()), (row.units or 48, torch.Size(shape).numel())]
        x, weight = (torch.randn(size, generator=generator) for size in sizes)
        return functional.linear, functional.linear, [x, weight, torch.randn(len(weight))]
    x = torch.randn(3, *shape, generator=generator)
    weight = torch.randn(min(row.maps, 64), shape[0], *row.kernel, generator=generator)
    top, bottom, left, right = row.pads

    def ours(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return convolution(x, weight, bias, row.pads, row.stride)

    def plainest(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        padded = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(padded, weight, bias, row.stride)

    return ours, plainest, [x, weight, torch.randn(len(weight), generator=generator)]


def passes(function: Callable[..., Tensor], arguments: list[Tensor]) -> list[Tensor]:
    """Return a layer's output and the derivatives by its input, its weight and its bias."""
    leaves = [argument.detach().requires_grad_() for argument in arguments]
    y = function(*leaves)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(arguments[0])
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


def wrong_layers(network: nn.Module, run: Callable[[], object]) -> list[str]:
    """Return which layers of half precision this machine computes wrongly while `run` runs."""
    errors: dict[str, float] = {}

    def look(name: str) -> Callable[..., None]:
        def compare(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            # Not called, which would look at the copy too.
            exact = copy.deepcopy(layer).double().forward(given[0].double())
            errors[name] = float((out.double() - exact).norm() / exact.norm())

        return compare

    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, kinds)]
    halves = torch.bfloat16, torch.float16
    hooks = [
        layer.register_forward_hook(look(name))
        for name, layer in layers
        if layer.weight.dtype in halves and layer.weight.device.type == "cpu"
    ]
    try:
        with torch.no_grad():
            _ = run() if hooks else None
    finally:
        for hook in hooks:
            hook.remove()
    return [
        f"layer {name}: off by {error:.2g} of its size on this processor, more than rounding "
        "(speechscope doctor); give the network float32 weights"
        for name, error in errors.items()
        if not error < TOLERANCE[torch.bfloat16]
    ]


def faults(ours: Callable[..., Tensor], right: Callable[..., Tensor], x: list[Tensor]) -> list[str]:
    """Return what is further off than rounding, in words, of both types of numbers."""
    wrong = []
    for dtype, tolerance in TOLERANCE.items():
        rounded = [argument.to(dtype) for argument in x]
        found = passes(ours, rounded)
        wanted = passes(right, [argument.double() for argument in rounded])
        for what, value, right_value in zip(PARTS, found, wanted, strict=True):
            error = float((value.double() - right_value).norm() / right_value.norm())
            if not error < tolerance:
                wrong.append(f"{dtype} {what}: {error:.3g}")
    return wrong
