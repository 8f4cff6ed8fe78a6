"""The pretend device refuses what CUDA refuses, takes what it takes, and counts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch


@pytest.fixture
def place(fakegpu: Any) -> torch.device:
    return torch.device(fakegpu.NAME, 0)


def test_refuses_mixtures(place: torch.device) -> None:
    here, there = torch.ones(3), torch.ones(3, device=place)
    other = torch.device(place.type, 1)
    mixes: tuple[Callable[[], object], ...] = (
        lambda: here + there,
        lambda: there + here,
        lambda: there.add_(here),
        lambda: torch.cat([here, there]),
        lambda: there @ here,
        lambda: torch.where(here > 0, there, 0.0),
        lambda: here[torch.zeros(1, dtype=torch.int64, device=place)],
        lambda: torch.ones((), device="cpu").add_(there.sum()),
        lambda: torch.addmm(there, there[None], torch.ones(3, 3)),
        lambda: there + torch.ones(3, device=other),
    )
    for mix in mixes:
        with pytest.raises(RuntimeError, match="same device"):
            mix()


def test_takes_what_cuda_takes(place: torch.device) -> None:
    there = torch.arange(4.0, device=place)
    assert (there + torch.tensor(1.0)).tolist() == [1, 2, 3, 4]
    assert there[torch.tensor([1, 2])].tolist() == [1, 2]  # CPU indices
    there[torch.tensor([0])] = torch.tensor(9.0)
    assert float(there[0]) == 9
    assert torch.where(there > 2, there, torch.tensor(0.0)).tolist() == [9, 0, 0, 3]


def test_host_code_cannot_read_it(place: torch.device) -> None:
    there = torch.ones(3, device=place)
    with pytest.raises(TypeError, match="can't convert"):
        there.numpy()
    with pytest.raises(TypeError, match="can't convert"):
        np.asarray(there)


def test_generators_are_its_own(place: torch.device) -> None:
    with pytest.raises(RuntimeError, match="generator"):
        torch.empty(3, device=place).normal_(generator=torch.Generator())
    generator = torch.Generator(place).manual_seed(1)
    first = torch.rand(4, generator=generator, device=place)
    again = torch.rand(4, generator=generator.manual_seed(1), device=place)
    assert torch.equal(first, again)
    assert not torch.equal(first.cpu(), torch.rand(4, generator=torch.Generator().manual_seed(1)))


def test_operations_without_a_cuda_kernel(place: torch.device) -> None:
    whole = torch.ones(2, 2, dtype=torch.int64, device=place)
    with pytest.raises(NotImplementedError):
        whole @ whole


def test_outputs_and_views(place: torch.device) -> None:
    a, b = torch.rand(3, 4), torch.rand(3, 4)
    out = torch.empty(0, device=place)
    torch.add(a.to(place), b.to(place), out=out)
    assert torch.equal(out.cpu(), a + b)
    whole = torch.zeros(4, 4, device=place)
    torch.sub(a.to(place), b.to(place), out=whole[1:])
    assert torch.equal(whole.cpu()[1:], a - b)
    assert not whole[0].any()
    z = torch.rand(2, 8, device=place)
    assert torch.equal(z.unfold(1, 2, 2).amax(-1).cpu(), z.cpu().unfold(1, 2, 2).amax(-1))


def test_derivatives(place: torch.device) -> None:
    x = torch.rand(2, 1, 8, 8)
    first = torch.nn.Conv2d(1, 3, 3)
    net = torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    (wanted,) = torch.autograd.grad(net(x).square().sum(), first.weight)
    net.to(place)
    (found,) = torch.autograd.grad(net(x.to(place)).square().sum(), first.weight)
    assert torch.equal(found.cpu(), wanted)


def test_counts_waits(fakegpu: Any, place: torch.device) -> None:
    there = torch.ones(3, device=place)
    fakegpu.reset_counts()
    with fakegpu.waits() as found:
        there.sum().item(), there.nonzero(), there[there > 0]
    assert sum(found.values()) >= 3
    assert sum(fakegpu.counts()["kernels"].values()) >= 4


def test_pinned_copies_are_not_waited_for(fakegpu: Any, place: torch.device) -> None:
    fakegpu.reset_counts()
    torch.ones(3).pin_memory().to(place, non_blocking=True)
    assert fakegpu.counts()["syncs"] == {}
    torch.ones(3).to(place)
    assert sum(fakegpu.counts()["syncs"].values()) == 1


def test_autocast(place: torch.device) -> None:
    a = torch.rand(2, 3, device=place)
    with torch.autocast(place.type, torch.bfloat16):
        assert torch.mm(a, a.t()).dtype == torch.bfloat16
        assert torch.softmax(a, 1).dtype == torch.float32


def test_out_of_memory(fakegpu: Any, place: torch.device) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(fakegpu.native.total_memory(), device=place)


def test_conjugates(place: torch.device) -> None:
    a, b = torch.randn(3, 16), torch.randn(3, 16)
    wanted = torch.fft.irfft(torch.fft.rfft(a) * torch.fft.rfft(b).conj())
    x, y = a.to(place), b.to(place)
    assert torch.equal(torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(y).conj()).cpu(), wanted)
