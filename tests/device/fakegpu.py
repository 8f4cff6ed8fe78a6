"""A pretend accelerator on which PyTorch's CPU build meets what a program would meet on CUDA.

``import fakegpu`` registers the device type ``fakegpu`` (two devices; FAKEGPU_DEVICES,
FAKEGPU_BYTES). Its arithmetic is that of the CPU, bit for bit; what differs is everything around
it: memory that host code cannot read, refused mixtures of devices, generators of its own,
operations without a CUDA kernel, streams, autocast, device threads of autograd. `counts` tells
kernels, copies and waits; ``with fakegpu.waits() as found`` also tells which lines waited.

The first import builds the extension (`building`).

What is not modelled: kernels that run while the host goes on, and their races; CUDA's own rounding
and atomics; cuDNN, TF32, code of Inductor, NCCL; the order of ties.
"""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.utils.backend_registration as registration
from device import building

NAME = "fakegpu"


def _without_cuda() -> set[str]:
    """Return operations that have a CPU kernel and none for CUDA, as PyTorch's own table says."""
    import torchgen
    import yaml

    place = (
        Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    table = yaml.load(place.read_text(), Loader=loader)
    delegates = {}
    kinds = {}
    for entry in table:
        name = entry["func"].split("(")[0].strip()
        keys = {k.strip() for group in entry.get("dispatch", {}) for k in group.split(",")}
        kinds[name], delegates[name] = keys, entry.get("structured_delegate")
    lacking = set()
    for name, keys in kinds.items():
        if delegates[name]:
            keys = kinds[delegates[name]]
        if "CPU" in keys and not any(k == "CUDA" or k.startswith("Composite") for k in keys):
            base, _, overload = name.partition(".")
            lacking.add(f"aten::{base}.{overload}")
    return lacking


native = building.built()
counts, reset_counts = native.counts, native.reset_counts


def _module() -> ModuleType:
    """Return what stands for ``torch.cuda``."""
    m: Any = ModuleType(f"torch.{NAME}")
    m.is_available = lambda: True
    m.is_initialized = lambda: True
    m.init = m._lazy_init = lambda: None
    m._is_in_bad_fork = lambda: False
    m.device_count = native.device_count
    m.current_device = native.current_device
    m.get_device_name = lambda device=None: "pretend accelerator"
    m.get_device_capability = lambda device=None: (9, 0)
    m.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]

    def number(device: Any = None) -> int:
        if device is None:
            return int(native.current_device())
        if isinstance(device, int):
            return device
        index = torch.device(device).index
        return int(native.current_device()) if index is None else index

    m.set_device = lambda device: native.set_device(number(device))
    m.synchronize = lambda device=None: native.note_sync("synchronize")
    m.memory_allocated = lambda device=None: native.memory(number(device))[0]
    m.memory_reserved = m.memory_allocated  # freed memory is free
    m.max_memory_allocated = lambda device=None: native.memory(number(device))[1]
    m.reset_peak_memory_stats = lambda device=None: native.reset_peak(number(device))
    m.mem_get_info = lambda device=None: (
        native.total_memory() - native.memory(number(device))[0],
        native.total_memory(),
    )
    m.empty_cache = lambda: None
    m.manual_seed = lambda seed: native.seed(native.current_device(), seed)

    def manual_seed_all(seed: int) -> None:
        for i in range(native.device_count()):
            native.seed(i, seed)

    m.manual_seed_all = manual_seed_all
    m.initial_seed = lambda: native.initial_seed(native.current_device())
    m.get_rng_state = lambda device=None: native.get_rng_state(number(device))
    m.set_rng_state = lambda state, device=None: native.set_rng_state(number(device), state)
    m.default_generators = tuple(native.default_generator(i) for i in range(native.device_count()))

    class device:
        def __init__(self, which: Any) -> None:
            self._now = number(which)

        def __enter__(self) -> None:
            self._before = native.current_device()
            native.set_device(self._now)

        def __exit__(self, *_: object) -> None:
            native.set_device(self._before)

    class _DeviceGuard(device):
        def __init__(self, index: int) -> None:
            self._now = index

    m.device, m._DeviceGuard = device, _DeviceGuard
    made: ModuleType = m
    return made


registration.rename_privateuse1_backend(NAME)
torch._register_device_module(NAME, _module())  # type: ignore[no-untyped-call]
registration.generate_methods_for_privateuse1_backend(
    for_tensor=True, for_module=True, for_storage=True, unsupported_dtype=None
)
native.without_cuda(_without_cuda())

# Copies read conjugated and negated tensors themselves: resolving them first would copy, too.
_lazy: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
for _key in ("Conjugate", "Negative"):
    _lazy.impl("_copy_from", torch.library.fallthrough_kernel, _key)


def _native_dropout(
    x: torch.Tensor, p: float, train: bool | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw from the device's generator; the CPU's kernel takes no generator and uses its own."""
    if train is False or p == 0:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    kept = torch.empty_like(x).bernoulli_(1 - p)
    return x * kept / (1 - p) if p < 1 else torch.zeros_like(x), kept.bool()


_lazy.impl("native_dropout", _native_dropout, "PrivateUse1")
_lazy.impl("record_stream", lambda tensor, stream: None, "PrivateUse1")  # all is done at once


@contextmanager
def waits(inside: str = "", depth: int = 3) -> Iterator[Counter[str]]:
    """Count the lines that make the host wait for the device while the block lasts.

    Parameters
    ----------
    inside
        Only frames of files whose path contains this are told.
    depth
        Frames told of each place, the innermost first.
    """
    found: Counter[str] = Counter()

    def note(kind: str) -> None:
        frames = [f for f in traceback.extract_stack()[:-1] if inside in f.filename]
        where = " < ".join(
            f"{f.filename.split('/speechscope/')[-1]}:{f.lineno}" for f in frames[::-1][:depth]
        )
        found[f"{kind} @ {where}"] += 1

    native.on_sync(note)
    try:
        yield found
    finally:
        native.on_sync(None)
