"""The processes of one training, as ``torchrun`` starts them.

Every process works on its part of each batch and the derivatives are added up, so that all make
the same step; which items a batch has, and all that is drawn, is the same in all of them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.work import device as devices

if TYPE_CHECKING:
    from speechscope.stages.train import Train


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

    if device.type != "cpu":
        torch.get_device_module(device).set_device(device)  # what is exchanged starts from there
    try:
        store, rank, size = next(rendezvous("env://"))
        # The store outlives processes that died: others in their place must not be sent to them.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = PrefixStore(f"attempt {attempt}", store)
        backend = BACKENDS.get(device.type, "gloo")
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        raise SpeechscopeError(
            f"the {size} processes of this training cannot meet ({error}); start it by torchrun"
        ) from error
    try:
        yield Group(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


Function = TypeVar("Function", bound=Callable[..., Any])
BACKEND = "inductor"
BACKENDS = {"cuda": "nccl"}
"""What exchanges arrays of a device; of others Gloo does."""


def check(settings: "Train", device: torch.device) -> None:
    """Refuse what only CUDA has a use for.

    Raises
    ------
    UsageProblem
        It is asked for on another device: on the CPU, bfloat16 and the compiler gain nothing.
    """
    precision = settings.precision
    flags = {f"--precision {precision}": precision != "float32", "--compile": settings.compile}
    for flag, asked in flags.items():
        if asked and device.type != devices.KIND:
            raise UsageProblem(f"{flag} is for CUDA devices; train on {device} without it")


def compiled(function: Function, settings: "Train") -> Function:
    """Return the function, compiled if that is asked for; shapes may change."""
    if not settings.compile:
        return function
    made: Any = torch.compile(function, dynamic=True, backend=BACKEND)
    return cast(Function, made)


@contextmanager
def products(settings: "Train", device: torch.device) -> Iterator[None]:
    """Compute as ``--precision`` says for a time.

    Shorter products also are those that cuDNN finds fastest, which may be others in another run.
    """
    if settings.precision == "float32":
        yield
        return
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with (
            cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True),
            torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
