"""Kernels and waits of the hot loops stay within their budgets."""

from pathlib import Path

import pytest
from device import counts

BUDGETS = {
    "training step, freq-overlap, AdaGrad": (60, 0, 0),
    "bp step at layer 9": (50, 0.1, 0.05),
    "letters, a batch": (125, 1, 0),
    "annealing round at layer 9": (60, 0.05, 0.05),
}
"""Kernels, waits, copies of pageable memory."""


@pytest.mark.parametrize("name", list(BUDGETS))
def test_budget(name: str, cuda: str, shared: Path) -> None:
    found = counts.LOOPS[name][1]()
    kernels, waits, pageable = BUDGETS[name]
    assert 0 < found.kernels <= kernels, found
    assert found.waits <= waits, found
    assert found.pageable <= pageable, found
