import gc
import weakref
from collections.abc import Iterator

import pytest
import torch

from speechscope.registry import NETWORKS


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("name", ["freq-overlap", "freq-overlap-padded"])
def test_a_pass_frees_its_arrays_without_the_garbage_collector(
    name: str, no_collector: None
) -> None:
    # Hundreds of megabytes a step wait for a collector that counts objects, not bytes.
    network = NETWORKS[name]()
    x = torch.randn(2, 1, 201, 16, requires_grad=True)
    kept = weakref.ref(x)
    network(x).sum().backward()
    del x
    assert kept() is None
