"""The processes of one training, as ``torchrun`` starts them.

Every process works on its part of each batch and the derivatives are added up, so that all make
the same step; which items a batch has, and all that is drawn, is the same in all of them.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from speechscope.errors import SpeechscopeError


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Parameters
    ----------
    rank, size
        The number of this process, from 0, and how many there are.
    """

    rank: int = 0
    size: int = 1

    def part(self, items: int) -> slice:
        """Return the part of `items` that this process works on; it may be empty."""
        step = -(-items // self.size)
        return slice(min(self.rank * step, items), min((self.rank + 1) * step, items))

    def add_up(self, values: Tensor) -> Tensor:
        """Replace `values` by their sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def add_all_up(self, values: Sequence[Tensor]) -> None:
        """Do so with several arrays, in one exchange: each has a cost of its own."""
        if self.size > 1:
            whole = self.add_up(torch.cat([part.flatten() for part in values]))
            totals = torch.split(whole, [part.numel() for part in values])
            for part, total in zip(values, totals, strict=True):
                part.copy_(total.view_as(part))


ALONE = Group()


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Meet the other processes that ``torchrun`` started, if it did.

    Raises
    ------
    SpeechscopeError
        They cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not distributed.is_available():
        yield ALONE
        return
    # Not every build of PyTorch has these.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, size = next(rendezvous("env://"))
        # The store outlives processes that died: others in their place must not be sent to them.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = PrefixStore(f"attempt {attempt}", store)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        raise SpeechscopeError(
            f"the {size} processes of this training cannot meet ({error}); start it by torchrun"
        ) from error
    try:
        yield Group(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
