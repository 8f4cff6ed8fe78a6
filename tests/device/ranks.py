"""One process of a training on two pretend devices, as ``torchrun`` starts it.

Gloo exchanges the CPU's arrays; this copies those of the pretend device there and back.
"""

import sys
from typing import Any

import torch
from device import fakegpu, rows
from torch import distributed

from speechscope.training import group


def added(values: torch.Tensor, *_: Any) -> None:
    """Do what `torch.distributed.all_reduce` does."""
    assert values.device.index == torch.get_device_module(values.device).current_device()
    there = values.cpu()
    reduce(there)
    values.copy_(there)


reduce = distributed.all_reduce

if __name__ == "__main__":
    distributed.all_reduce = added  # type: ignore[assignment]
    assert group.BACKENDS.get(fakegpu.NAME, "gloo") == "gloo"
    with rows.pretend(fakegpu.NAME):
        rows.called(" ".join(sys.argv[1:]))
