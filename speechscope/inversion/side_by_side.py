"""Blocks of items, worked on at the same time by two threads.

A step of descent is some thirty short products and passes: divided among threads, each costs as
much to start and to join as it saves. Whole blocks, each with arrays of its own, are long. The
blocks are the same however many threads there are, so that results do not depend on it.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TypeVar

import torch

from speechscope.networks.layers import Conv, Linear, Network
from speechscope.work.device import threads
from speechscope.work.local import OVERLAPPED, Overlapping, block_size

Result = TypeVar("Result")

ENOUGH = 2**25
"""Multiplications of a pass through all items from which two blocks are faster than one (measured:
24 items a block of `freq-overlap` at layer 9 are not, 24 at layer 12 are)."""


def multiplications(network: Network, layer: int) -> int:
    """Return the multiplications with weights that an item takes up to a layer."""
    total = 0
    for name, row, shape in zip(network.names, network.table, network.shapes, strict=True):
        if isinstance(row, Conv | Linear):
            weight, _ = network.parameters_of(name)
            total += weight[0].numel() * prod(shape)
        if name == network.names[layer - 1]:
            break
    return total


def blocks(items: int, most: int, work: int, device: torch.device) -> list[slice]:
    """Cut items into blocks of nearly the same size, none larger than `most`.

    On the CPU their number is even, so that none is worked on alone, unless it is too little.

    Parameters
    ----------
    work
        Multiplications an item takes.
    """
    lanes = OVERLAPPED if device.type == "cpu" and items * work >= ENOUGH else 1
    size = block_size(items, most, lanes)
    return [slice(start, min(start + size, items)) for start in range(0, items, size)]


def side_by_side(
    work: Callable[[slice], Result], parts: Sequence[slice], device: torch.device
) -> Iterator[Result]:
    """Yield ``work(part)`` for every part, in order; on the CPU, two of them are done at a time.

    Where the iteration is left early, as by an interrupt, nothing is running any more.
    """
    if device.type != "cpu" or torch.get_num_threads() < OVERLAPPED:
        yield from map(work, parts)
        return
    if len(parts) < OVERLAPPED:  # little work: even its products are faster undivided
        with threads(1):
            yield from map(work, parts)
        return
    with Overlapping(together=True).ordered_map(work, parts) as results:
        yield from results
