"""Every command gives on the device what it gives on the CPU."""

from pathlib import Path

import pytest
from device import rows

ALL = [
    pytest.param(name, id=name, marks=() if row.default else pytest.mark.heavy)
    for name, row in rows.ROWS.items()
]


@pytest.mark.parametrize("name", ALL)
def test_as_on_the_cpu(name: str, cuda: str, shared: Path) -> None:
    assert rows.run(rows.ROWS[name], name.replace(" ", "-")) == []


SECOND = ("train freq-overlap", "invert decode", "relevance", "navai", "score rel.zarr")


@pytest.mark.heavy
@pytest.mark.parametrize("name", SECOND)
def test_on_the_second_device(name: str, cuda: str, shared: Path) -> None:
    assert rows.run(rows.ROWS[name], name.replace(" ", "-"), "cuda:1") == []
