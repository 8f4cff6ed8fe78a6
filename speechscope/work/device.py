"""Where the arithmetic runs: the CPU and how many of its threads, or a CUDA device."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
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
    # Single precision that is that, and the same sums in every run; see `training.group.products`.
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    return torch.device(KIND, int(number)) if number else torch.device(KIND)


def sent(x: torch.Tensor | NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array of the CPU on a device; the CPU does not wait until it is there."""
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(np.asarray(x, order="C"))
    if device.type == "cpu" or x.device.type != "cpu":
        return x
    return x.pin_memory().to(device, non_blocking=True)


def fetched(arrays: Sequence[torch.Tensor]) -> list[NDArray[np.float64]]:
    """Return arrays of a device on the CPU, in double precision; in one copy: each is a wait."""
    whole = torch.cat([array.detach().flatten().double() for array in arrays]).cpu().numpy()
    parts = np.split(whole, np.cumsum([array.numel() for array in arrays])[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what PyTorch draws on the CPU while the block lasts, and no device."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def normal(seeds: Sequence[int], shape: Sequence[int], deviation: float = 1.0) -> torch.Tensor:
    """Return normal numbers (B, *shape), each item's drawn on the CPU from its own seed.

    An item's therefore do not depend on the items around it, nor on the device; `noise` is drawn
    there.
    """
    out = torch.empty(len(seeds), *shape)
    for row, seed in zip(out, seeds, strict=True):
        row.normal_(0.0, deviation, generator=torch.Generator().manual_seed(seed))
    return out


STEP, FIRST, SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""Constants of SplitMix64, as signed numbers."""


def noise(
    seeds: Sequence[int], number: int, shape: Sequence[int], device: torch.device
) -> torch.Tensor:
    """Return standard normal numbers (B, *shape), each item's by its seed alone, drawn there.

    Pairs √(−2 ln u) (cos 2π v, sin 2π v), u and v the halves of the hash of a count: no state is
    carried on, so that a block is one call, and the same on every device but for rounding.

    Source: Box and Muller (1958); Steele, Lea and Flood (2014), SplitMix64.

    Parameters
    ----------
    number
        Which draw of those seeds it is, from 0.
    """
    size = math.prod(shape)
    pairs = (size + 1) // 2
    count = torch.arange(number * pairs + 1, (number + 1) * pairs + 1, device=device)
    z = sent(np.array(seeds, dtype=np.int64), device)[:, None] + count * STEP
    for shift, factor in ((30, FIRST), (27, SECOND), (31, 1)):
        z ^= (z >> shift).bitwise_and_((1 << 64 - shift) - 1)  # >> repeats the sign
        z *= factor
    halves = z.view(torch.int32).view(*z.shape, 2).float().mul_(2**-32).add_(0.5)
    radius = halves[..., 1].clamp(min=2**-33).log_().mul_(-2).sqrt_()
    angle = halves[..., 0] * (2 * math.pi)
    both = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
    return both[:, :size].view(-1, *shape)


SHARE = 0.5
"""Of a device's free memory, what a block may take: kernels take some beside it (chosen)."""
_scale = 1.0


def fitting(usual: int, each: float, device: torch.device, *, larger: bool = False) -> int:
    """Return how many items are worked on at a time.

    On the CPU the usual number. On a device at most as many as free memory holds; as many, where a
    larger block is of use.

    Parameters
    ----------
    each
        Bytes that an item takes while it is worked on, about.
    """
    if device.type == "cpu":
        return usual
    module = torch.get_device_module(device)
    kept = module.memory_reserved(device) - module.memory_allocated(device)
    room = SHARE * _scale * (module.mem_get_info(device)[0] + kept) / each
    most = room if larger else min(room, max(1, usual * _scale))
    return max(1, int(most))


def parts(count: int, each: float, device: torch.device) -> list[slice]:
    """Return all of so many items, or as many at a time as fit; see `fitting`."""
    size = min(count, fitting(count, each, device))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


@contextmanager
def halved() -> Iterator[None]:
    """Have `fitting` give half as many items while the block lasts."""
    global _scale
    _scale /= 2
    try:
        yield
    finally:
        _scale *= 2


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
    return sent(array, device)


class Lane:
    """Sends what a thread reads to a device beside what is computed there, in a stream of its own.

    On the CPU it only reads.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = None if device.type == "cpu" else torch.Stream(device)

    def filled(self, read: Callable[[], Any]) -> tuple[Any, torch.Event | None]:
        """Read, and send; to be called in the thread."""
        if self._stream is None:
            return read(), None
        with self._stream:
            return read(), self._stream.record_event()

    def taken(self, found: Any, event: torch.Event | None) -> Any:
        """Return what `filled` gave, once it is there; the CPU does not wait for that."""
        if event is not None:
            now = torch.accelerator.current_stream(self._device)
            now.wait_event(event)
            parts = [found] if isinstance(found, torch.Tensor) else vars(found).values()
            for part in parts:
                if isinstance(part, torch.Tensor) and part.device.type != "cpu":
                    part.record_stream(now)  # its memory is not given to another before
        return found


WARM = 3
"""Calls before one is captured, by which libraries choose their ways (PyTorch's own number)."""


class Graphed:
    """A function of arrays that CUDA runs as one graph, where its kernels' starts would cost most.

    After some calls it is captured; from then on the arrays are copied to where they were then, and
    the graph is run. Elsewhere than on CUDA, of arrays of other shapes, and where it cannot be
    captured, it is called. What it gives lies where the next run puts it: copies are returned.

    Parameters
    ----------
    function
        Waits for nothing, depends on its arguments alone, and may change arrays in place.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._calls = function, 0
        self._graph: Any = None
        self._held: tuple[torch.Tensor, ...] = ()
        self._given: tuple[torch.Tensor, ...] = ()

    def __call__(self, *arrays: torch.Tensor, **settings: Any) -> Any:
        """Call the function, or run its graph; other settings than arrays are always the same."""
        if arrays[0].device.type != GRAPHS or self._graph is False:
            return self._function(*arrays, **settings)
        if self._calls == 0:
            self._held = tuple(array.clone() for array in arrays)
        if [a.shape for a in arrays] != [held.shape for held in self._held]:
            return self._function(*arrays, **settings)
        self._calls += 1
        if self._calls <= WARM or (self._graph is None and not self._capture(settings)):
            return self._function(*arrays, **settings)
        for held, array in zip(self._held, arrays, strict=True):
            held.copy_(array)
        self._graph.replay()
        return tuple(array.clone() for array in self._given)

    def _capture(self, settings: dict[str, Any]) -> bool:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._given = self._function(*self._held, **settings)
        except RuntimeError:  # as of a library that waits
            self._graph = False
            return False
        self._graph = graph
        return True


GRAPHS = "cuda"
"""The kind of device that captures graphs."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have PyTorch divide its products among so many threads while the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
