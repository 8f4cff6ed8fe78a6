"""What each layer and function of PyTorch is to the rules of relevance.

Functions go by their names, which torch.add, Tensor.__iadd__ and aten.add share. What is in no list
is unknown, and refused by name where a rule is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.networks import recurrent
from speechscope.networks.graph import Kind, Part
from speechscope.networks.maps import (
    Affine,
    Convolution,
    Dense,
    LinearMap,
    Scale,
    along_channels,
    norm_map,
)


def _each(*names: str) -> tuple[str, ...]:
    """Return every name for one, two and three axes."""
    return tuple(name.format(axes) for name in names for axes in (1, 2, 3))


POOLS = _each("max_pool{}d", "adaptive_max_pool{}d", "MaxPool{}d", "AdaptiveMaxPool{}d")
AVERAGES = (
    *_each("avg_pool{}d", "adaptive_avg_pool{}d", "AvgPool{}d", "AdaptiveAvgPool{}d"),
    *("mean", "sum", "cumsum"),
)
LINEAR = ("matmul", "mm", "bmm", "einsum", "interpolate", "upsample", *_each("conv_transpose{}d"))
"""Affine in the one tensor that comes from the input."""
CONVOLUTIONS = (*_each("conv{}d"), "convolution")
SUMS, PRODUCTS = ("add", "sub", "radd", "rsub"), ("mul", "multiply", "rmul")
QUOTIENTS = ("truediv", "div", "divide")

KINDS: dict[Kind, tuple[str, ...]] = {
    "relu": ("relu", "ReLU"),
    "activation": (
        *("leaky_relu", "relu6", "hardtanh", "tanh", "elu", "selu", "celu", "gelu", "silu", "mish"),
        *("hardswish", "prelu", "softsign", "tanhshrink", "hardshrink", "softshrink", "square"),
        *("LeakyReLU", "ReLU6", "Hardtanh", "Tanh", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish"),
        *("Hardswish", "PReLU", "Softsign", "Tanhshrink", "Hardshrink", "Softshrink"),
    ),
    "plain": (
        *(*POOLS, "dropout", "getitem", "flatten", "reshape", "permute", "transpose", "squeeze"),
        *("unsqueeze", "cat", "concat", "concatenate", "stack", "view", "contiguous", "clone"),
        *("swapaxes", "swapdims", "movedim", "moveaxis", "unflatten", "to", "float", "double"),
        *("half", "bfloat16", "type_as", "type", "narrow", "select", "index_select", "gather"),
        *("split", "chunk", "unbind", "tensor_split", "split_with_sizes", "roll", "flip", "repeat"),
        *("expand", "expand_as", "repeat_interleave", "tile", "unfold", "fold", "T", "mT", "t"),
        *("masked_select", "tril", "triu", "max", "amax", "min", "amin", "maximum", "minimum"),
        *("alias", "slice", "as_strided", "_unsafe_view", "view_as", "reshape_as", "diagonal"),
        *("setitem", "numpy_T", "contiguous_format", "feature_dropout", "alpha_dropout", "ravel"),
        *("_to_copy", "squeeze_copy", "lift_fresh_copy", "adjoint", "take_along_dim"),
        *_each("Dropout{}d", "ZeroPad{}d", "ReflectionPad{}d", "ReplicationPad{}d"),
        *_each("CircularPad{}d", "feature_dropout{}d", "dropout{}d"),
        *("Flatten", "Unflatten", "Identity", "Dropout", "AlphaDropout", "ChannelShuffle"),
        *("PixelShuffle", "PixelUnshuffle", "Fold", "Unfold"),
    ),
    "softmax": ("softmax", "Softmax"),
    "gate": ("sigmoid", "Sigmoid", "hardsigmoid", "Hardsigmoid"),
    "gated": ("glu", "GLU", "LSTM", "GRU", "RNN"),
    "normalisation": (
        *("layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize", "batch_norm"),
        *("LayerNorm", "GroupNorm", "RMSNorm", *_each("InstanceNorm{}d", "BatchNorm{}d")),
    ),
}
KIND_OF: dict[str, Kind] = {name: kind for kind, names in KINDS.items() for name in names}
FLAT = ("detach", "sign", "round", "floor", "ceil", "heaviside", "argmax", "data", "zeros_like")
"""No slope leads through these."""


class Found(NamedTuple):
    """What a call is: see `speechscope.networks.graph.Step`."""

    kind: Kind
    map: LinearMap | None = None
    part: Part = "other"
    held: Callable[..., Tensor] | None = None
    passes: tuple[int, ...] | None = None


UNKNOWN = Found("unknown")


class Reading(NamedTuple):
    """A call that is to be told.

    Parameters
    ----------
    stem
        Name of the function, or of the layer's type.
    args, kwargs
        As it was called; what comes from the input are example values.
    flows
        Those of its tensors that a slope leads to the input from, in order.
    run
        It as a function of the flows.
    kinds
        What the steps are that the flows come from.
    module
        The layer, if it is one.
    """

    stem: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    flows: Sequence[Tensor]
    run: Callable[..., Any]
    kinds: Sequence[str]
    module: nn.Module | None = None

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument by its place or name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


def told(call: Reading) -> Found:
    """Return what a call is to the rules."""
    if call.module is not None:
        return _layer(call, call.module)
    stem, flows = call.stem, call.flows
    if stem in CONVOLUTIONS:
        return _convolution(call)
    if stem == "linear" and len(flows) == 1 and call.args[0] is flows[0]:
        bias = call.argument(2, "bias")
        return Found("linear", Dense(_held(call.argument(1, "weight")), _held(bias)), "dense")
    if stem in (*SUMS, *PRODUCTS, *QUOTIENTS):
        return _arithmetic(call)
    if stem in AVERAGES and len(flows) == 1:
        return Found("linear", Affine(call.run, None), "pool")
    if (stem in LINEAR or stem.startswith("upsample")) and len(flows) == 1:
        return Found("linear", Affine.of(call.run, flows[0]), "other")
    if stem in ("matmul", "bmm", "mm", "einsum") and len(flows) == 2:
        return Found("product", held=call.run)
    if stem in ("clamp", "clip", "clamp_min", "hardtanh", "clamp_max"):
        return _clamped(call)
    if stem == "pow" and call.argument(1, "exponent") in (1, 2, 3):
        return Found("activation")
    if stem == "neg":
        return Found("linear", Affine(call.run, None), "other")
    if stem in ("masked_fill", "where"):
        return _masked(call)
    if stem == "pad":
        zeros = call.argument(2, "mode", "constant") != "constant" or not call.argument(3, "value")
        return Found("plain") if zeros else UNKNOWN
    return _by_name(call)


def _by_name(call: Reading) -> Found:
    kind = KIND_OF.get(call.stem, "unknown")
    if "dropout" in call.stem and call.argument(2, "training", call.argument(2, "train", True)):
        return UNKNOWN if float(call.argument(1, "p", 0.5)) else Found("plain")
    if kind == "normalisation":
        return _normalisation(call)
    if kind == "gated":
        axis = call.argument(1, "dim", -1)
        return Found(kind, held=lambda x: recurrent.glu(x, axis)) if call.stem == "glu" else UNKNOWN
    return Found(kind, part="pool" if call.stem in POOLS else "other")


def _layer(call: Reading, layer: nn.Module) -> Found:
    """Return what a layer of PyTorch's own is."""
    axes = call.flows[0].dim() - 2
    kind = KIND_OF.get(call.stem, "unknown")
    if isinstance(layer, nn.Linear) and len(call.flows) == 1:
        return Found("linear", Dense(_held(layer.weight), _held(layer.bias)), "dense")
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        bordered = layer.padding_mode != "zeros" or isinstance(layer.padding, str)
        padding = (0,) * axes if bordered else tuple(int(p) for p in layer.padding)
        bias = None if layer.bias is None else along_channels(layer.bias.detach(), axes)
        weight, sizes = layer.weight.detach(), (layer.stride, padding, layer.dilation)
        return Found("linear", Convolution(weight, bias, *sizes, layer.groups), "conv")
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.Upsample):
        return Found("linear", Affine.of(call.run, call.flows[0]), "other")
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
        return Found("linear", norm_map(layer, axes), "norm")
    if isinstance(layer, nn.modules.pooling._MaxPoolNd) and layer.return_indices:
        return UNKNOWN
    if call.stem in AVERAGES:
        return Found("linear", Affine(layer, None), "pool")
    if isinstance(layer, nn.GLU):
        return Found("gated", held=lambda x: recurrent.glu(x, layer.dim))
    if isinstance(layer, nn.LSTM | nn.GRU | nn.RNN):
        plain = bool(call.args) and isinstance(call.args[0], Tensor)  # and no packed sequence
        held = recurrent.held(layer, call.args[1:], call.kwargs) if plain else None
        return UNKNOWN if held is None or len(call.flows) > 1 else Found("gated", held=held)
    if isinstance(layer, nn.LSTMCell | nn.GRUCell | nn.RNNCell) and not call.kwargs:
        return Found("gated", held=recurrent.held_cell(layer, call.args, call.flows))
    if isinstance(layer, nn.ConstantPad1d | nn.ConstantPad2d):
        return UNKNOWN if layer.value else Found("plain")
    if kind == "normalisation":
        return _normalisation(call)
    return Found(kind, part="pool" if call.stem in POOLS else "other")


def _convolution(call: Reading) -> Found:
    """Return a functional convolution as a map and, of padding by name, what pads first."""
    if len(call.flows) != 1 or call.args[0] is not call.flows[0]:
        return UNKNOWN
    weight, axes = _held(call.argument(1, "weight")), call.flows[0].dim() - 2
    bias = _held(call.argument(2, "bias"))
    padding = call.argument(4, "padding", 0)
    stride, dilation = call.argument(3, "stride", 1), call.argument(5, "dilation", 1)
    if isinstance(padding, str) or axes < 1 or call.stem == "convolution":
        return Found("linear", Affine.of(call.run, call.flows[0]), "other")
    groups = call.argument(6, "groups", 1)
    along = None if bias is None else along_channels(bias, axes)
    sizes = (_sizes(stride, axes), _sizes(padding, axes), _sizes(dilation, axes))
    return Found("linear", Convolution(weight, along, *sizes, groups), "conv")


def _arithmetic(call: Reading) -> Found:
    stem, flows = call.stem, call.flows
    alpha = call.kwargs.get("alpha", 1)
    if len(flows) == 2:
        if stem in ("add", "radd") and alpha == 1:
            return Found("sum")
        if stem in SUMS:
            return Found("sum", held=call.run)
        if stem in QUOTIENTS:
            # What divides is a statistic of the input: AttnLRP hands it nothing.
            return Found("normalisation", held=call.run, passes=(0,))
        gates = [kind == "gate" for kind in call.kinds]
        passes = (gates.index(False),) if sum(gates) == 1 else None
        return Found("product", held=call.run, passes=passes)
    other = [value for value in call.args if value is not flows[0]]
    if len(call.args) != 2 or len(other) != 1 or alpha != 1 or call.kwargs.get("rounding_mode"):
        squared = stem in PRODUCTS and not other and len(call.args) == 2
        return Found("activation") if squared else UNKNOWN
    constant = other[0] if isinstance(other[0], Tensor) else torch.tensor(other[0]).to(flows[0])
    first, ones = call.args[0] is flows[0], torch.ones_like(constant)
    if stem in ("add", "radd"):
        return Found("linear", Scale(ones, constant), "norm")
    if stem in PRODUCTS:
        return Found("linear", Scale(constant, None), "norm")
    if stem in SUMS:
        sign = 1 if first is (stem == "sub") else -1
        return Found("linear", Scale(sign * ones, -sign * constant), "norm")
    return Found("linear", Scale(1 / constant, None), "norm") if first else UNKNOWN


def _clamped(call: Reading) -> Found:
    low = call.argument(1, "min", None) if call.stem != "clamp_max" else None
    high = call.argument(1 if call.stem == "clamp_max" else 2, "max", None)
    numbers = all(value is None or isinstance(value, int | float) for value in (low, high))
    if call.stem == "hardtanh":
        low, high = call.argument(1, "min_val", -1.0), call.argument(2, "max_val", 1.0)
    if not numbers or (low or 0) > 0 or (high or 0) < 0:
        return UNKNOWN
    return Found("activation")


def _masked(call: Reading) -> Found:
    """Values chosen by a mask that no slope leads to; what is filled in is a bias, if it is not 0.

    Before a softmax it is −∞, and has no share.
    """
    constants = [v for v in call.args if isinstance(v, int | float) and not isinstance(v, bool)]
    constants += [call.kwargs["value"]] if "value" in call.kwargs else []
    filled = [float(v) for v in constants]
    filled += [
        float(v)
        for v in call.args
        if isinstance(v, Tensor)
        and v.dtype != torch.bool
        and not any(v is flow for flow in call.flows)
        and v.numel() == 1
    ]
    return Found("plain") if all(v == 0 or v < -1e4 for v in filled) else UNKNOWN


def _normalisation(call: Reading) -> Found:
    """Return a normalisation as a function whose deviations are held; its shift is a bias."""
    if len(call.flows) != 1:
        return UNKNOWN
    if call.stem == "batch_norm" and call.argument(1, "running_mean") is not None:
        if call.argument(5, "training", False):
            return UNKNOWN
        return Found("linear", Affine.of(call.run, call.flows[0]), "other")
    layer = call.module
    if call.stem in ("rms_norm", "RMSNorm", "normalize"):

        def scaled(x: Tensor) -> Tensor:
            out: Tensor = call.run(x)
            return x * (out / torch.where(x == 0, 1, x)).detach()

        return Found("normalisation", held=scaled)
    function, axes = _axes(call, layer)
    if axes is None:  # by statistics of the training
        return Found("linear", Affine.of(call.run, call.flows[0]), "other")

    def held(x: Tensor) -> Tensor:
        """Γ (x − mean) / σ, σ held: with what the layer gives of x, less its shift, as factor."""
        with torch.no_grad():
            out, shift = function(x), function(torch.zeros_like(x[:1]))
        around = _centred(x, axes)
        below = around.detach()
        return around * ((out - shift) / torch.where(below == 0, 1, below))

    return Found("normalisation", held=held)


def _axes(call: Reading, layer: nn.Module | None) -> tuple[Callable[[Tensor], Tensor], Any]:
    """Return a normalisation as a function, and what its mean is taken over."""
    x, name = call.flows[0], call.stem
    if name in ("layer_norm", "LayerNorm"):
        shape = getattr(layer, "normalized_shape", None) or call.argument(1, "normalized_shape")
        return call.run, tuple(range(-len(tuple(shape)), 0))
    if name in ("group_norm", "GroupNorm"):
        return call.run, int(getattr(layer, "num_groups", None) or call.argument(1, "num_groups"))
    if "nstance" in name:
        statistics = getattr(layer, "running_mean", None) is not None and not layer.training  # type: ignore[union-attr]
        functional_ones = layer is None and not call.argument(5, "use_input_stats", True)
        if statistics or functional_ones:
            return call.run, None
        return call.run, tuple(range(2, x.dim()))
    return call.run, (0, *range(2, x.dim()))


def _centred(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    if isinstance(axes, tuple):
        return x - x.mean(axes, keepdim=True)
    groups = x.reshape(len(x), axes, -1)
    out: Tensor = (groups - groups.mean(2, keepdim=True)).view_as(x)
    return out


def _sizes(value: Any, axes: int) -> tuple[int, ...]:
    many = tuple(value) if isinstance(value, tuple | list) else (value,) * axes
    return tuple(int(v) for v in many) * (axes if len(many) == 1 and axes > 1 else 1)


def _held(value: Tensor | None) -> Any:
    return None if value is None else value.detach()


def border(layer: nn.Module | None) -> Callable[[Tensor], Tensor] | None:
    """Return the padding of a convolution that its map does without, if any."""
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return None
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return None
    amounts = list(layer._reversed_padding_repeated_twice)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return lambda x: functional.pad(x, amounts, mode)
