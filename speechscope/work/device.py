"""Where the arithmetic runs: the CPU and how many of its threads, or a CUDA device."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.errors import SpeechscopeError, UsageProblem

KIND = "cuda"
"""PyTorch's name of what ``--device cuda`` means; tests/device has a pretend one in its place."""


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
    devices = torch.get_device_module(KIND)
    if name == "auto":
        name = "cuda" if devices.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise UsageProblem(f"--device {name}: choose auto, cpu, cuda or cuda:N")
    if not number and "LOCAL_RANK" in os.environ:  # a process of torchrun: one device for each
        number = os.environ["LOCAL_RANK"]
    count = devices.device_count() if devices.is_available() else 0
    if int(number or 0) >= count:
        raise UsageProblem(f"--device {name}: this machine has {count} CUDA devices")
    return torch.device(KIND, int(number)) if number else torch.device(KIND)


def sent(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return an array of the CPU on a device; the CPU does not wait until it is there."""
    return x if device.type == "cpu" else x.pin_memory().to(device, non_blocking=True)


def in_halves(work: Callable[[slice], None], items: slice, remedy: str) -> None:
    """Do work on some items; where a device's memory does not hold it, on one half and the other.

    Parameters
    ----------
    remedy
        What to do then.

    Raises
    ------
    SpeechscopeError
        Nor does it hold the halves.
    """
    middle = (items.start + items.stop + 1) // 2
    try:
        work(items)
        return
    except torch.OutOfMemoryError:
        pass  # what the block took is given back where nothing refers to it any more
    for half in (slice(items.start, middle), slice(middle, items.stop)):
        try:
            work(half)
        except torch.OutOfMemoryError as error:
            raise SpeechscopeError(
                f"the memory of the device does not hold {half.stop - half.start} items; {remedy}"
            ) from error


_PLACE: ContextVar[torch.device | None] = ContextVar("place", default=None)


@contextmanager
def computing(device: torch.device) -> Iterator[None]:
    """Have what is written for NumPy work on a device, where it can, while the block lasts."""
    before = _PLACE.set(device)
    try:
        yield
    finally:
        _PLACE.reset(before)


def there(array: NDArray[Any]) -> torch.Tensor | None:
    """Return an array on the device of `computing`; None: that is the CPU, and NumPy's."""
    device = _PLACE.get()
    if device is None or device.type == "cpu":
        return None
    return sent(torch.from_numpy(np.ascontiguousarray(array)), device)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have PyTorch divide its products among so many threads while the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
