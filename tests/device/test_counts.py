"""Kernels and waits of the hot loops stay within their budgets."""

from pathlib import Path

import pytest
from device import counts

BUDGETS = {
    "training step, freq-overlap, AdaGrad": (60, 0, 0, 0),
    "bp step at layer 9": (50, 0.1, 0, 0.1),
    "annealing round at layer 9": (60, 0.05, 0, 0.05),
    "letters, a batch": (150, 1, 0, 1),
    "score relevance.zarr, a block": (20000, 1, 0, 1),
}
"""Kernels, waits, copies of pageable memory, copies to the host."""


@pytest.mark.parametrize("name", list(BUDGETS))
def test_budget(name: str, cuda: str, shared: Path) -> None:
    found = counts.LOOPS[name]()
    kernels, waits, pageable, back = BUDGETS[name]
    assert 0 < found.kernels <= kernels, found
    assert found.waits <= waits, found
    assert found.pageable <= pageable, found
    assert found.back <= back, found
