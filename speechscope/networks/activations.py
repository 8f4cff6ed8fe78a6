"""What the layers of any network hold, by name, without changing the network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Network

INPUT = "input"
"""The name of the input among the layers; also by number, 0."""


def layer_names(network: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Return the names of a network's layers in the order they are used.

    Those of `Network` where it is one; else the modules without modules inside that give one
    tensor with a row for each input, a module of a wrapper ``network`` without that prefix.

    Parameters
    ----------
    network
        In evaluation mode.
    example
        Inputs (B, …) to run it on.
    """
    if isinstance(network, Network):
        return network.names
    found: dict[str, None] = {}

    def note(name: str, out: Tensor) -> None:
        if len(out) == len(example):
            found.setdefault(name)

    with _listening(network, note), torch.no_grad():
        network(example)
    return tuple(found)


def resolve_layers(names: tuple[str, ...], wanted: list[str]) -> tuple[str, ...]:
    """Return layers by name or by number from 1, ``input`` or 0 being the input, in order.

    Parameters
    ----------
    names
        Of the network's layers.
    wanted
        As asked for; ``all`` or nothing: the input and every layer.

    Raises
    ------
    UsageProblem
        There is no such layer.
    """
    every = (INPUT, *names)
    if not wanted or wanted == ["all"]:
        return every
    chosen = set()
    for text in wanted:
        if text not in every and not (text.isdecimal() and int(text) < len(every)):
            raise UsageProblem(
                f"--layer {text}: expected 0 to {len(names)} or one of {', '.join(every)}"
            )
        chosen.add(text if text in every else every[int(text)])
    return tuple(name for name in every if name in chosen)


def activation(network: nn.Module, x: Tensor, layer: str) -> Tensor:
    """Return the output of a layer, (B, …), for inputs (B, …); of ``input``, the inputs.

    Of a layer that is used several times, the last output. Raises UsageProblem where there is no
    such layer.
    """
    if layer == INPUT:
        return x
    with torch.no_grad():
        if isinstance(network, Network):
            return network.activation(x, layer)
        kept: list[Tensor] = []
        with _listening(network, lambda name, out: kept.append(out), layer):
            network(x)
    if not kept:
        raise UsageProblem(f"layer {layer}: the network has no such layer")
    return kept[-1]


@contextmanager
def _listening(
    network: nn.Module, hear: Callable[[str, Tensor], None], only: str | None = None
) -> Iterator[None]:
    """Call `hear` with the name and output of every layer while the block runs."""
    handles = []
    for full, module in network.named_modules():
        name = full.removeprefix("network.")
        if next(module.children(), None) is not None or not full or only not in (None, name):
            continue

        def hook(_: nn.Module, __: object, out: object, name: str = name) -> None:
            if isinstance(out, Tensor) and out.dim() > 1:
                hear(name, out)

        handles.append(module.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
