"""How a network becomes the list of its steps: any module by tracing, ours by their tables.

`module_graph` follows ``torch.fx`` through a module that is not ours; `table_graph` reads the table
of one that is. The lists say what each layer and function of PyTorch is to the rules of relevance.
"""

import inspect
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from speechscope.errors import SpeechscopeError
from speechscope.networks.graph import Graph, Kind, Part, Step, linear_step
from speechscope.networks.layers import BatchNorm, Conv, Linear, MaxPool, Network
from speechscope.networks.maps import (
    Average,
    Convolution,
    Dense,
    LinearMap,
    Scale,
    along_channels,
    norm_map,
)


def _each(home: Any, *names: str) -> tuple[Any, ...]:
    """Return what `home` has under each name over one, two and three axes."""
    return tuple(getattr(home, name.format(axes)) for name in names for axes in (1, 2, 3))


POOLS = _each(nn, "MaxPool{}d", "AdaptiveMaxPool{}d")
AVERAGES = _each(nn, "AvgPool{}d", "AdaptiveAvgPool{}d")
ENDINGS = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
MODULES: dict[Kind, tuple[type[nn.Module], ...]] = {
    "relu": (nn.ReLU,),
    "activation": (nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Tanh, nn.Hardtanh),
    "plain": (
        *(*POOLS, *_each(nn, "Dropout{}d", "ZeroPad{}d")),
        *(nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout),
    ),
    "normalisation": (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d),
}
POOL_CALLS = (
    # PyTorch's pooling functions choose between two forms when called.
    *_each(functional, "max_pool{}d", "adaptive_max_pool{}d"),
    *_each(torch, "max_pool{}d"),
)
AVERAGE_CALLS = (*_each(functional, "avg_pool{}d", "adaptive_avg_pool{}d"), torch.mean, "mean")
ENDING_CALLS = (
    *(functional.softmax, functional.log_softmax, torch.softmax, torch.log_softmax),
    *(torch.sigmoid, functional.sigmoid, "softmax", "log_softmax", "sigmoid"),
)
CALLS: dict[Kind, tuple[Any, ...]] = {
    "relu": (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_"),
    "activation": (
        *(functional.leaky_relu, functional.relu6, functional.hardtanh),
        *(torch.tanh, functional.tanh, "tanh"),
    ),
    "plain": (
        *(*POOL_CALLS, functional.dropout, functional.pad, operator.getitem),
        *(torch.flatten, torch.reshape, torch.permute, torch.transpose),
        *(torch.squeeze, torch.unsqueeze, torch.cat, torch.concat),
        *("flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze"),
        *("contiguous", "clone", "swapaxes", "unflatten", "to", "float", "double"),
    ),
    "normalisation": (functional.layer_norm, functional.group_norm, functional.instance_norm),
}

Found: TypeAlias = tuple[Kind, LinearMap | None, Part]


def module_graph(module: nn.Module, example: Tensor) -> Graph:
    """Return the steps of a module in evaluation mode.

    Functional calls are found as well as layers; a layer that is called twice gives two steps. A
    softmax or sigmoid at the very end is left out: scores are explained as they stand before it
    (Muckenhirn 2019, sec. 3.2). Layers that no method knows are kept, as `unknown`, for the method
    to refuse by name.

    Parameters
    ----------
    module
        In evaluation mode; it is left as it is.
    example
        An input (B, …).

    Raises
    ------
    SpeechscopeError
        What the module computes depends on values of its input, so that it cannot be traced, or it
        is not the sum of its layers.
    """
    try:
        trace = fx.Tracer().trace(module, _defaults(module))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise SpeechscopeError(
            f"{type(module).__name__} cannot be traced ({reason}); methods that change how a layer "
            "flows back need a forward() without decisions on values"
        ) from error
    return _Reader(module, trace, example).graph()


def _defaults(module: nn.Module) -> dict[str, Any]:
    """Return the values of the arguments beside the input, which keep their defaults."""
    _, *others = inspect.signature(module.forward).parameters.values()
    return {p.name: p.default for p in others if p.default is not p.empty}


class _Reader:
    """Reads a trace node by node, computing an example along."""

    def __init__(self, module: nn.Module, trace: fx.Graph, example: Tensor) -> None:
        self._module, self._trace, self._example = module, trace, example
        self._numbers: dict[fx.Node, int] = {}
        self._values: dict[fx.Node, Any] = {}
        self._of_input: set[fx.Node] = set()
        self._steps: list[Step] = []
        self._scores = 0

    def graph(self) -> Graph:
        with torch.no_grad():
            for node in self._trace.nodes:
                self._read(node)
            self._compare(Graph(tuple(self._steps)))
        return Graph(tuple(self._steps[: self._scores]))

    def _compare(self, graph: Graph) -> None:
        """Make sure that the steps compute what the module does."""
        wanted, found = self._module(self._example.clone()), graph(self._example)
        if not torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max())):
            raise SpeechscopeError(
                f"{type(self._module).__name__}: its layers by themselves give something else than "
                "the whole (is the input of a layer that works in place used again?)"
            )

    def _read(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if self._numbers:
                if not node.args:
                    raise SpeechscopeError(
                        f"{type(self._module).__name__} takes more than one input; one is given"
                    )
                self._add_constant(node, node.args[0])
                return
            self._numbers[node] = 0
            self._values[node] = self._example.clone()
            self._of_input.add(node)
        elif node.op == "get_attr":
            self._add_constant(node, operator.attrgetter(str(node.target))(self._module))
        elif node.op == "output":
            whole = node.args[0]
            if not isinstance(whole, fx.Node):
                raise SpeechscopeError(
                    f"{type(self._module).__name__} returns more than one tensor"
                )
            self._scores = self._numbers[_before_softmax(whole, self._module)]
            del self._steps[self._numbers[whole] :]
        else:
            self._call(node)

    def _add_constant(self, node: fx.Node, value: Any) -> None:
        self._values[node] = value
        self._append(node, Step(node.name, "value", (), lambda: value, "a value"))

    def _append(self, node: fx.Node, step: Step) -> None:
        self._steps.append(step)
        self._numbers[node] = len(self._steps)

    def _call(self, node: fx.Node) -> None:
        refer = list(node.all_input_nodes)
        function = _callable(node, self._module)

        def run(*values: Any) -> Any:
            held = dict(zip(refer, values, strict=True))
            args = fx.map_arg(node.args, held.__getitem__)
            kwargs = fx.map_arg(node.kwargs, held.__getitem__)
            return function(*args, **kwargs)

        # A step that works in place must not touch what another step still needs.
        example = [_copied(self._values[n]) for n in refer]
        value = run(*example)
        self._values[node] = value
        flows = [n for n in refer if n in self._of_input]
        if isinstance(value, Tensor | tuple | list) and flows and not _is_size(node):
            self._of_input.add(node)
            kind, layer, part = self._kind(node, flows)
        else:
            kind, layer, part = "value", None, "other"
        name, what = _described(node, self._module)
        numbers = tuple(self._numbers[n] for n in refer)
        if kind == "linear" and layer is not None:
            number = self._numbers[flows[0]]
            before = _border(node, self._module)
            if before is not None:
                self._steps.append(Step(name, "plain", (number,), before, what))
                number = len(self._steps)
            step = linear_step(name, (number,), layer, what, part)
        elif kind == "relu":
            step = Step(name, kind, (self._numbers[flows[0]],), functional.relu, what)
        elif kind == "sum":
            step = Step(name, kind, numbers, torch.add, what)
        else:
            in_place = kind in ("activation", "unknown")
            safe = (lambda *values: run(*map(_copied, values))) if in_place else run
            step = Step(name, kind, numbers, safe, what, part=part)
        self._append(node, step)

    def _kind(self, node: fx.Node, flows: list[fx.Node]) -> Found:
        if node.op == "call_module":
            layer = self._module.get_submodule(str(node.target))
            return module_kind(layer, self._values[flows[0]].dim() - 2)
        target = node.target
        for kind, targets in CALLS.items():
            if target in targets:
                if target is functional.pad and not _pads_zeros(node):
                    return "unknown", None, "other"
                if target is functional.dropout and node.kwargs.get("training", True):
                    return "unknown", None, "other"
                return kind, None, "pool" if target in POOL_CALLS else "other"
        if target in AVERAGE_CALLS and len(flows) == 1:
            return "linear", Average(self._of_first(node)), "pool"
        return self._arithmetic(node, flows)

    def _arithmetic(self, node: fx.Node, flows: list[fx.Node]) -> Found:
        target, args = node.target, [self._value(a) for a in node.args]
        if target in (operator.add, operator.iadd, torch.add, "add", "add_"):
            if len(flows) == 2 and not node.kwargs:
                return "sum", None, "other"
        alone = len(flows) == 1 and node.args[0] is flows[0] and node.args[1:] != (flows[0],)
        if alone and len(args) == 2 and not node.kwargs:
            other = args[1]
            constant = other if isinstance(other, Tensor) else torch.tensor(other).to(self._example)
            if target in (operator.add, operator.iadd, torch.add, "add"):
                return "linear", Scale(torch.ones_like(constant), constant), "norm"
            if target in (operator.sub, operator.isub, torch.sub, "sub"):
                return "linear", Scale(torch.ones_like(constant), -constant), "norm"
            if target in (operator.mul, operator.imul, torch.mul, "mul"):
                return "linear", Scale(constant, None), "norm"
            if target in (operator.truediv, torch.div, "div"):
                return "linear", Scale(1 / constant, None), "norm"
        return "unknown", None, "other"

    def _value(self, argument: Any) -> Any:
        return self._values[argument] if isinstance(argument, fx.Node) else argument

    def _of_first(self, node: fx.Node) -> Callable[[Tensor], Tensor]:
        """Return a call as a function of its first argument, the others being constants."""
        function = _callable(node, self._module)
        rest = [self._value(a) for a in node.args[1:]]
        kwargs = {k: self._value(v) for k, v in node.kwargs.items()}
        return lambda x: function(x, *rest, **kwargs)


def _border(node: fx.Node, module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """Return the padding of a convolution that its map does without, if any."""
    layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return None
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return None
    amounts = list(layer._reversed_padding_repeated_twice)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return lambda x: functional.pad(x, amounts, mode)


def _callable(node: fx.Node, module: nn.Module) -> Callable[..., Any]:
    if node.op == "call_module":
        return module.get_submodule(str(node.target))
    if node.op == "call_method":
        name = str(node.target)
        return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)
    assert callable(node.target)
    return node.target


def _described(node: fx.Node, module: nn.Module) -> tuple[str, str]:
    if node.op == "call_module":
        return str(node.target), type(module.get_submodule(str(node.target))).__name__
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")
    return node.name, f"the function {name}"


def _before_softmax(node: fx.Node, module: nn.Module) -> fx.Node:
    last = node.target in ENDING_CALLS if node.op != "call_module" else False
    if node.op == "call_module":
        last = isinstance(module.get_submodule(str(node.target)), ENDINGS)
    return node.all_input_nodes[0] if last else node


def _is_size(node: fx.Node) -> bool:
    return node.target in (getattr, "size", "dim", len)


def _pads_zeros(node: fx.Node) -> bool:
    mode = node.kwargs.get("mode", node.args[2] if len(node.args) > 2 else "constant")
    value = node.kwargs.get("value", node.args[3] if len(node.args) > 3 else None)
    return mode != "constant" or not value


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def module_kind(layer: nn.Module, axes: int) -> Found:
    """Return what a module is, its map and its part, for inputs of so many axes beside (B, C)."""
    for kind, types in MODULES.items():
        if isinstance(layer, types):
            if isinstance(layer, nn.modules.pooling._MaxPoolNd) and layer.return_indices:
                return "unknown", None, "other"
            return kind, None, "pool" if isinstance(layer, POOLS) else "other"
    if isinstance(layer, AVERAGES):
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


def table_graph(network: Network) -> Graph:
    """Return the steps of a network of ours; its weights are shared, not copied.

    Layers have the names that the network gives them (conv1, pool1, …).
    """
    steps: list[Step] = []

    def plain(run: Callable[[Tensor], Tensor], part: Part = "other") -> None:
        steps.append(Step(name, "plain", (len(steps),), run, what, part=part))

    def linear(layer: LinearMap, part: Part) -> None:
        steps.append(linear_step(name, (len(steps),), layer, what, part))

    for name, row in zip(network.names, network.table, strict=True):
        what = str(row)
        if isinstance(row, Conv):
            top, bottom, left, right = row.pads
            padding = (top, left) if (top, left) == (bottom, right) else (0, 0)
            if any(row.pads) and padding == (0, 0):
                plain(partial(functional.pad, pad=(left, right, top, bottom)))
            weight, bias = (p.detach() for p in network.parameters_of(name))
            linear(
                Convolution(weight, along_channels(bias, 2), row.stride, padding, (1, 1)), "conv"
            )
        elif isinstance(row, BatchNorm):
            module = network.get_submodule(name)
            assert isinstance(module, nn.BatchNorm2d)
            linear(norm_map(module, 2), "norm")
        elif isinstance(row, MaxPool):
            plain(partial(functional.max_pool2d, kernel_size=row.size, stride=row.stride), "pool")
        elif isinstance(row, Linear):
            if len(network.shape_before(name)) > 1:
                plain(partial(torch.flatten, start_dim=1))
            weight, bias = (p.detach() for p in network.parameters_of(name))
            linear(Dense(weight, bias), "dense")
        else:
            steps.append(Step(name, "relu", (len(steps),), functional.relu, what))
    return Graph(tuple(steps))
