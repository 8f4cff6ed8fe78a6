"""Where the arithmetic runs: the CPU and how many of its threads, or a CUDA device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from speechscope.errors import UsageProblem


def choose(name: str) -> torch.device:
    """Return the device that ``--device`` names.

    Parameters
    ----------
    name
        ``auto`` (CUDA when there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    UsageProblem
        The name is unknown, or there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise UsageProblem(f"--device {name}: choose auto, cpu, cuda or cuda:N")
    if not number and "LOCAL_RANK" in os.environ:  # a process of torchrun: one device for each
        name, number = f"cuda:{os.environ['LOCAL_RANK']}", os.environ["LOCAL_RANK"]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise UsageProblem(f"--device {name}: this machine has {count} CUDA devices")
    return torch.device(name)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have PyTorch divide its products among so many threads while the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
