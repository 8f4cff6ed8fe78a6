"""Relevance of any network by formulas written anew, in double precision.

LRP by ε → 0 is input × gradient of a network in which what the rules hold constant is held: an
activation is its input times a factor, a normalisation divides by a number, a gate is a number, a
product gives half of its slope to each (AttnLRP: Achtibat et al. 2024, sec. 3.3 and app. B; Arras
et al. 2019). So nothing of how speechscope hands relevance down is used here.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Scores = Callable[[Tensor], Tensor]
BENT = {
    *("relu", "leaky_relu", "relu6", "hardtanh", "tanh", "elu", "selu", "celu", "gelu", "silu"),
    *("mish", "hardswish", "prelu", "softsign", "tanhshrink", "hardshrink", "softshrink"),
    *("clamp", "clip", "clamp_min", "pow", "square", "_prelu_kernel"),
}
KEEPING = {
    *("view", "reshape", "transpose", "permute", "unsqueeze", "squeeze", "chunk", "split"),
    *("getitem", "expand", "contiguous", "movedim", "flatten"),
}
CELLS = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell")


def named(function: Any) -> str:
    """A function's name: mul of torch.mul, Tensor.mul_ and Tensor.__imul__."""
    name = str(getattr(function, "__name__", function))
    if name.startswith("__"):
        name = name.strip("_")
        inplace = name[1:] in ("add", "sub", "mul", "truediv")
        return name[1:] if inplace and name[0] in "ir" else name
    return name if name.startswith("_") else name.rstrip("_")


def held(x: Tensor, out: Tensor) -> Tensor:
    """An activation as its input times a factor that is a number."""
    factor = torch.where(x == 0, 1, out / torch.where(x == 0, 1, x)).detach()
    return x * factor


def over(x: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    """Deviation from the mean over axes, over a standard deviation that is a number."""
    around = x - x.mean(tuple(axes), keepdim=True)
    return around / (x.var(tuple(axes), correction=0, keepdim=True) + eps).sqrt().detach()


class Ruled(TorchFunctionMode):
    """While it stands, input × gradient is LRP."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, named(func)
        if name in ("multi_head_attention_forward", "scaled_dot_product_attention"):
            with self:
                return (_attention if name.startswith("s") else _heads)(*args, **kwargs)
        rule = RULES.get(name)
        if name in CELLS:
            out = _cells(name, *args)
        elif rule is not None:
            out = rule(func, *args, **kwargs)
        elif name in BENT:
            before = args[0].clone()
            out = held(before, func(*args, **kwargs))
        else:
            out = func(*args, **kwargs)
        of = args[0] if args else None
        gate = name in ("sigmoid", "hardsigmoid")
        if gate or (name in KEEPING and getattr(of, "gate", False)):
            for part in out if isinstance(out, tuple | list) else (out,):
                part.gate = True
        return out


def _varies(*values: Any) -> bool:
    return all(isinstance(value, Tensor) and value.requires_grad for value in values)


def _product(func: Any, a: Any, b: Any, *rest: Any, **more: Any) -> Any:
    if not _varies(a, b):
        return func(a, b, *rest, **more)
    gates = [getattr(value, "gate", False) for value in (a, b)]
    if sum(gates) == 1:
        return func(a.detach(), b) if gates[0] else func(a, b.detach())
    out = torch.mul(a, b) if named(func) == "mul" else torch.matmul(a, b)
    return out / 2 + out.detach() / 2


def _bilinear(func: Any, equation: Any, *parts: Any) -> Any:
    out = func(equation, *parts)
    return out / 2 + out.detach() / 2 if len(parts) == 2 and _varies(*parts) else out


def _quotient(func: Any, a: Any, b: Any, *rest: Any, **more: Any) -> Any:
    return torch.div(a, b.detach()) if _varies(a, b) else func(a, b, *rest, **more)


def _layer_norm(
    func: Any, x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    out = over(x, range(-len(tuple(shape)), 0), eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def _channels(x: Tensor, out: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (1, -1, *(1,) * (x.dim() - 2))
    out = out if weight is None else out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)


def _group_norm(
    func: Any, x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    out = over(x.reshape(len(x), groups, -1), (2,), eps).view_as(x)
    return _channels(x, out, weight, bias)


def _instance_norm(
    func: Any, x: Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    if not use_input_stats:
        out: Tensor = func(x, running_mean, running_var, weight, bias, False, momentum, eps)
        return out
    return _channels(x, over(x, range(2, x.dim()), eps), weight, bias)


def _batch_norm(
    func: Any, x: Tensor, mean: Any, var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    if not training:
        out: Tensor = func(x, mean, var, weight, bias, False, momentum, eps)
        return out
    return _channels(x, over(x, (0, *range(2, x.dim())), eps), weight, bias)


def _unit_norm(func: Any, x: Tensor, *args: Any, **more: Any) -> Tensor:
    return held(x, func(x, *args, **more))


def _glu(func: Any, x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * b.sigmoid().detach()


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("mul", "multiply", "matmul", "bmm"), _product),
    **dict.fromkeys(("div", "divide", "truediv", "true_divide"), _quotient),
    "einsum": _bilinear,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "normalize": _unit_norm,
    "rms_norm": _unit_norm,
    "glu": _glu,
}


def _attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    products = q @ k.transpose(-2, -1) * (scale or 1 / math.sqrt(q.shape[-1]))
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(products).masked_fill(~attn_mask, -math.inf)
        products = products + attn_mask
    return products.softmax(-1) @ v


def _heads(
    query: Tensor, key: Tensor, value: Tensor, size: int, heads: int, w: Tensor, b: Tensor,
    bias_k: Any, bias_v: Any, zero: bool, dropout: float, out: Tensor, out_bias: Tensor,
    attn_mask: Any = None, key_padding_mask: Any = None, **more: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Multi-head attention of (T, B, E); masks are of pairs (T, T) and of keys (B, T)."""
    parts = [
        functional.linear(given, weight, bias)
        for given, weight, bias in zip((query, key, value), w.chunk(3), b.chunk(3), strict=True)
    ]
    frames, count, _ = query.shape
    q, k, v = (
        part.reshape(len(part), count * heads, size // heads).transpose(0, 1) for part in parts
    )
    hidden = torch.zeros(count * heads, frames, k.shape[1], dtype=q.dtype)
    for mask in (attn_mask, key_padding_mask):
        if mask is not None:
            added = hidden.new_zeros(mask.shape).masked_fill(mask, -math.inf) if (
                mask.dtype == torch.bool
            ) else mask  # fmt: skip
            pairs = added.dim() == 2 and mask is attn_mask
            hidden = hidden + (added if pairs else added.repeat_interleave(heads, 0)[:, None])
    mixed = _attention(q, k, v, hidden).transpose(0, 1).reshape(frames, count, size)
    return functional.linear(mixed, out, out_bias), None


def _step(mode: str, z: Tensor, y: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of a cell, from what input and state come to, gates held."""
    if mode == "lstm":
        i, f, g, o = (z + y).chunk(4, -1)
        i, f, o = (gate.sigmoid().detach() for gate in (i, f, o))
        c = f * c + i * held(g, g.tanh())
        return o * held(c, c.tanh()), c
    if mode == "gru":
        (r, u, n), (yr, yu, yn) = z.chunk(3, -1), y.chunk(3, -1)
        r, u = (r + yr).sigmoid().detach(), (u + yu).sigmoid().detach()
        n = n + r * yn
        return (1 - u) * held(n, n.tanh()) + u * h, c
    z = z + y
    return held(z, z.tanh() if mode == "rnn_tanh" else z.relu()), c


def _cells(name: str, x: Tensor, states: Any, *rest: Any) -> Any:
    """A recurrent layer or cell, step by step."""
    mode = name.removesuffix("_cell")
    lstm = mode == "lstm"
    if name.endswith("_cell"):
        w, u, b, d = rest
        h, c = states if lstm else (states, torch.zeros_like(states))
        z, y = functional.linear(x, w, b), functional.linear(h, u, d)
        stepped = _step(mode, z, y, h, c)
        return stepped if lstm else stepped[0]
    weights, biased, layers, _, _, both, first = rest
    each = len(weights) // (layers * (2 if both else 1))
    steps = x.transpose(0, 1) if first else x
    ends: list[tuple[Tensor, Tensor]] = []
    number = 0
    for _layer in range(layers):
        found = []
        for backward in (False, True)[: 1 + both]:
            w, u, *b = weights[each * number : each * number + 4 if biased else each * number + 2]
            h = states[0][number] if lstm else states[number]
            c = states[1][number] if lstm else h
            outs = []
            for row in steps.flip(0) if backward else steps:
                z = functional.linear(row, w, b[0] if biased else None)
                y = functional.linear(h, u, b[1] if biased else None)
                h, c = _step(mode, z, y, h, c)
                outs.append(h)
            found.append(torch.stack(outs[::-1] if backward else outs))
            ends.append((h, c))
            number += 1
        steps = torch.cat(found, -1)
    out = steps.transpose(0, 1) if first else steps
    last = torch.stack([h for h, _ in ends])
    return (out, last, torch.stack([c for _, c in ends])) if lstm else (out, last)


def chosen(scores: Tensor, target: Tensor) -> Tensor:
    """The sum over items of the score of each one's class, over all positions."""
    added = scores.flatten(2).sum(2) if scores.dim() > 2 else scores
    return added.gather(1, target[:, None]).sum()


def gradient(scores: Scores, x: Tensor, target: Tensor) -> Tensor:
    """∂S_c/∂x."""
    x = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(chosen(scores(x.clone()), target), x)
    return found


def handed_down(scores: Scores, x: Tensor, target: Tensor) -> Tensor:
    """LRP for ε → 0."""

    def ruled(given: Tensor) -> Tensor:
        with Ruled():
            return scores(given)

    return x * gradient(ruled, x, target)


class _Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        kept: Tensor = grads[0] * (z > 0) * (grads[0] > 0)
        return kept


class _Guiding(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if named(func) != "relu":
            return func(*args, **(kwargs or {}))
        out = _Guided.apply(args[0].clone())  # type: ignore[no-untyped-call]
        return args[0].copy_(out) if (kwargs or {}).get("inplace") else out


def guided(scores: Scores, x: Tensor, target: Tensor) -> Tensor:
    """Guided backpropagation."""

    def run(given: Tensor) -> Tensor:
        with _Guiding():
            return scores(given)

    return gradient(run, x, target)


class Outputs(TorchFunctionMode):
    """Keeps what every function gives, in order, with its name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point():
            self.found.append((named(func), out))
        return out


def class_maps(scores: Scores, x: Tensor, target: Tensor) -> list[tuple[str, Tensor]]:
    """Grad-CAM of every map at and behind the last convolution, by the function that gives it."""
    x = x.detach().requires_grad_()
    with Outputs() as outputs:
        total = chosen(scores(x.clone()), target)
    # Convolutions of maps of one value are fully connected layers.
    convs = [
        n for n, (name, y) in enumerate(outputs.found) if name in CONVS and y[0, 0].numel() > 1
    ]
    last = max(convs, default=0)
    found = []
    for name, maps in outputs.found[last:]:
        if not maps.requires_grad or maps.dim() not in (3, 4) or len(maps) != len(x):
            continue
        (slope,) = torch.autograd.grad(total, maps, retain_graph=True, allow_unused=True)
        if slope is None:
            continue
        weights = slope.flatten(2).mean(2).view(*slope.shape[:2], *(1,) * (slope.dim() - 2))
        there = (weights * maps).sum(1, keepdim=True).clamp(min=0)
        there = there if there.dim() == 4 else there[:, :, None]
        size = (int(x.shape[2]), int(x.shape[3]))
        found.append(
            (name, functional.interpolate(there.detach(), size, mode="bilinear").expand_as(x))
        )
    return found


CONVS = ("conv1d", "conv2d", "conv3d")


def occluded(
    scores: Scores, x: Tensor, target: Tensor, patch: tuple[int, int], stride: tuple[int, int]
) -> Tensor:
    """The mean loss over the patches that hide a value; the last one ends with its axis."""

    def of(given: Tensor) -> Tensor:
        with torch.no_grad():
            out = scores(given)
        added = out.flatten(2).sum(2) if out.dim() > 2 else out
        return added.gather(1, target[:, None])[:, 0]

    places = []
    for size, wide, step in zip(x.shape[2:], patch, stride, strict=True):
        wide = min(wide, size)
        begins = [*range(0, size - wide + 1, min(step, size))]
        begins += [size - wide] if begins[-1] + wide < size else []
        places.append([slice(begin, begin + wide) for begin in begins])
    whole, lost, count = of(x), torch.zeros_like(x), torch.zeros_like(x)
    for rows in places[0]:
        for frames in places[1]:
            covered = x.clone()
            covered[:, :, rows, frames] = 0
            lost[:, :, rows, frames] += (whole - of(covered)).view(-1, 1, 1, 1)
            count[:, :, rows, frames] += 1
    return lost / count


def layer_output(network: nn.Module, layer: str, run: Callable[[], Any]) -> Tensor:
    """What a module gives in the last call of a run."""
    kept: list[Tensor] = []
    module = dict(network.named_modules())[layer]

    def keep(_: Any, __: Any, out: Any) -> None:
        kept.append((out[0] if isinstance(out, tuple) else out).detach().clone())

    handle = module.register_forward_hook(keep)
    with torch.no_grad():
        run()
    handle.remove()
    return kept[-1]
