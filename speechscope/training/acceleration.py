"""What a CUDA device can be given to train faster: shorter products, and compiled passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch

from speechscope.errors import UsageProblem

Function = TypeVar("Function", bound=Callable[..., Any])
BACKEND = "inductor"


@dataclass(frozen=True)
class Acceleration:
    """How a training departs from plain single precision; by default not at all.

    Parameters
    ----------
    precision
        ``float32``, or ``mixed``: products in TF32, and the convolutions of the letter network in
        bfloat16; weights, sums, statistics and losses stay in single precision (Micikevicius et
        al. 2018).
    compiled
        Whether passes whose derivatives are left to PyTorch go through `torch.compile`.
    """

    precision: str = "float32"
    compiled: bool = False

    def check(self, device: torch.device) -> None:
        """Refuse what only CUDA has a use for.

        Raises
        ------
        UsageProblem
            Something is asked for on another device. On the CPU, passes are written out by hand,
            which is faster than what the compiler makes of them, and bfloat16 gains nothing.
        """
        flags = {"--precision mixed": self.precision == "mixed", "--compile": self.compiled}
        for flag, asked in flags.items():
            if asked and device.type != "cuda":
                raise UsageProblem(f"{flag} is for CUDA devices; train on {device} without it")

    def compile(self, function: Function) -> Function:
        """Return the function, compiled if that is asked for; shapes may change."""
        if not self.compiled:
            return function
        compiled: Any = torch.compile(function, dynamic=True, backend=BACKEND)
        return cast(Function, compiled)

    @contextmanager
    def products(self) -> Iterator[None]:
        """Allow the shorter products for a time."""
        if self.precision == "float32":
            yield
            return
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    def convolutions(self, device: torch.device) -> torch.autocast:
        """Return a context in which convolutions take the shorter type."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "mixed")


PLAIN = Acceleration()
