"""Recurrent layers and gated units as relevance is handed through them: gates held, step by step.

What a gate multiplies has all relevance and the gate none; an activation hands on what it gets.
Then a cell is linear in what enters it, and relevance is that times the derivative.

Source: Arras et al. (2017), Explaining recurrent neural network predictions in sentiment analysis,
sec. 2.2 ("signal-take-all"); Arras et al. (2019), sec. 3.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

States = list[Tensor]


def glu(x: Tensor, axis: int) -> Tensor:
    """Return a gated linear unit, a σ(b), its gate held."""
    a, b = x.chunk(2, axis)
    return a * torch.sigmoid(b).detach()


def passed(z: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return an activation of z as z times a factor that is held."""
    below = z.detach()
    factor = torch.where(below == 0, 1.0, function(below) / torch.where(below == 0, 1, below))
    return z * factor


def held(
    layer: nn.RNNBase, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Callable[[Tensor], Tensor] | None:
    """Return a recurrent layer with its gates held, its outputs as `packed` gives them.

    None where it has projections, or is given states that are not its first.
    """
    if layer.proj_size or args or kwargs:
        return None

    def run(x: Tensor) -> Tensor:
        alone = x.dim() == 2
        batch = layer.batch_first and not alone
        steps = x.unsqueeze(1) if alone else x.transpose(0, 1) if batch else x
        directions = 2 if layer.bidirectional else 1
        last: list[States] = []
        for number in range(layer.num_layers):
            found = []
            for direction in range(directions):
                name = f"l{number}{'_reverse' if direction else ''}"
                rows = steps.flip(0) if direction else steps
                outputs, states = _unrolled(layer, name, rows)
                found.append(outputs.flip(0) if direction else outputs)
                last.append(states)
            steps = torch.cat(found, 2)
        ends = [torch.stack(parts) for parts in zip(*last, strict=True)]
        out = steps.squeeze(1) if alone else steps.transpose(0, 1) if batch else steps
        state = tuple(end.squeeze(1) if alone else end for end in ends)
        return packed((out, state if len(state) > 1 else state[0]))

    return run


def _unrolled(layer: nn.RNNBase, name: str, x: Tensor) -> tuple[Tensor, States]:
    """Return the outputs (T, B, H) of one direction of one layer, and its last states."""

    def of(part: str) -> Tensor | None:
        value: Tensor | None = getattr(layer, f"{part}_{name}", None)
        return value

    weight, again = of("weight_ih"), of("weight_hh")
    assert weight is not None and again is not None
    bias, more = of("bias_ih"), of("bias_hh")
    entering = nn.functional.linear(x, weight, bias)
    h = x.new_zeros(x.shape[1], layer.hidden_size)
    states: States = [h, h] if layer.mode == "LSTM" else [h]
    outputs = []
    for z in entering:
        states = _step(layer.mode, z, nn.functional.linear(states[0], again, more), states)
        outputs.append(states[0])
    return torch.stack(outputs), states


def _step(mode: str, z: Tensor, y: Tensor, states: States) -> States:
    """Return the states after a step, of what comes of its input, z, and of the state before, y."""
    if mode == "LSTM":
        i, f, g, o = (z + y).chunk(4, -1)
        i, f, o = (torch.sigmoid(gate).detach() for gate in (i, f, o))
        c = f * states[1] + i * passed(g, torch.tanh)
        return [o * passed(c, torch.tanh), c]
    if mode == "GRU":
        reset, update = (torch.sigmoid(z + y).detach().chunk(3, -1))[:2]
        n = passed(z.chunk(3, -1)[2] + reset * y.chunk(3, -1)[2], torch.tanh)
        return [(1 - update) * n + update * states[0]]
    return [passed(z + y, torch.relu if mode.endswith("RELU") else torch.tanh)]


def held_cell(
    cell: nn.RNNCellBase, args: Sequence[Any], flows: Sequence[Tensor]
) -> Callable[..., Tensor]:
    """Return a cell (LSTMCell, GRUCell, RNNCell) with its gates held, as a function of the flows.

    Parameters
    ----------
    args
        What it was called with: its input, and its states if it was given any.
    flows
        Those of them that come from the input of the network.
    """
    kind = type(cell).__name__.removesuffix("Cell")
    mode = f"RNN_{cell.nonlinearity}".upper() if isinstance(cell, nn.RNNCell) else kind
    given = [part for arg in args for part in (arg if isinstance(arg, tuple) else (arg,))]

    def run(*values: Tensor) -> Tensor:
        places = {id(flow): value for flow, value in zip(flows, values, strict=True)}
        x, *states = (places.get(id(part), part) for part in given if part is not None)
        if not states:
            states = [x.new_zeros(*x.shape[:-1], cell.hidden_size)] * (2 if mode == "LSTM" else 1)
        z = nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
        y = nn.functional.linear(states[0], cell.weight_hh, cell.bias_hh)
        found = _step(mode, z, y, states)
        return packed((found[0], found[1])) if mode == "LSTM" else found[0]

    return run


def packed(out: Any) -> Tensor:
    """Return all that a recurrent layer gives as one tensor of one axis."""
    first, states = out
    many = states if isinstance(states, tuple) else (states,)
    return torch.cat([part.flatten() for part in (first, *many)])
