from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from speechscope import cli, stages
from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.stages.train import Train
from speechscope.training import step as steps
from speechscope.training.step import Step
from speechscope.work import device
from speechscope.work.accelerators import PLAIN
from speechscope.work.device import fetched, fitting, in_halves, noise, seeded, sent


def splitmix(seed: int, count: int) -> int:
    """Return the number of a seed that SplitMix64 gives after so many (Steele et al. 2014)."""
    every = (1 << 64) - 1
    z = (seed + count * 0x9E3779B97F4A7C15) & every
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & every
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & every
    return z ^ (z >> 31)


def test_noise_is_a_hash_of_seed_and_count_and_normal() -> None:
    assert splitmix(0, 1) == 0xE220A8397B1DCDAF  # as published
    shape, cpu = (3, 5), torch.device("cpu")
    for number in (0, 7):
        found = noise([2, (1 << 62) + 11], number, shape, cpu).flatten(1).numpy()
        for seed, row in zip((2, (1 << 62) + 11), found, strict=True):
            pairs = []
            for place in range(8):
                z = splitmix(seed, number * 8 + place + 1)
                halves = np.array([z & 0xFFFFFFFF, z >> 32], np.uint32).view(np.int32)
                v, u = halves / 2**32 + 0.5
                pairs.append(np.sqrt(-2 * np.log(u)) * np.exp(2j * np.pi * v))
            wanted = np.concatenate([np.real(pairs), np.imag(pairs)])[:15]
            np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-5)
    many = noise(range(200), 0, (1000,), cpu).double()
    moments = [float((many**power).mean()) for power in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.05)
    assert (torch.corrcoef(many) - torch.eye(200)).abs().max() < 5 / 1000**0.5
    assert bool(many.isfinite().all())


def test_what_does_not_fit_is_done_in_halves() -> None:
    tried: list[tuple[int, int]] = []

    def work(items: slice) -> None:
        tried.append((items.start, items.stop))
        if items.stop - items.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    in_halves(work, slice(4, 7), "lower --block")
    assert tried == [(4, 7)]
    in_halves(work, slice(4, 9), "lower --block")
    assert tried[1:] == [(4, 9), (4, 7), (7, 9)]
    with pytest.raises(SpeechscopeError, match="does not hold 4 items; lower --block"):
        in_halves(work, slice(0, 8), "lower --block")


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("train", "lower --batch or take --device cpu"),
        ("invert", "lower --block or take --device cpu"),
        ("navai", "take --device cpu"),
    ],
)
def test_memory_used_up_is_one_line_after_one_more_try(
    command: str, remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = SimpleNamespace(type="cuda")
    module = SimpleNamespace(
        memory_reserved=lambda _: 3, memory_allocated=lambda _: 1, mem_get_info=lambda _: (98, 200)
    )
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)
    tried = []

    def full(*_: object) -> None:
        tried.append([fitting(usual, 1.0, place) for usual in (8, 100)])  # type: ignore[arg-type]
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(stages.stage(command), "run", full)
    monkeypatch.setattr(stages, "choose", lambda name, _: stages.settings_class(name)())
    assert cli.run([command]) == 1
    assert tried == [[8, 50], [4, 25]]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (
        "the device's memory is used up: once more, with half as many items at a time"
    )
    assert said[1:] == [
        "speechscope: error: the memory of the device does not hold half as many items either; "
        + remedy
    ]
    assert fitting(8, 1.0, place) == 8  # type: ignore[arg-type]
    assert fitting(8, 1.0, place, larger=True) == 50  # type: ignore[arg-type]
    assert fitting(8, 1e9, place) == 1  # type: ignore[arg-type]
    assert fitting(8, 1e9, torch.device("cpu")) == 8


def test_seeding_leaves_what_others_draw() -> None:
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(3)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, torch.rand(3, generator=torch.Generator().manual_seed(3)))


def test_arrays_go_there_and_back_as_they_are() -> None:
    cpu = torch.device("cpu")
    rng = np.random.default_rng(0)
    given = [rng.normal(size=size).astype(np.float32) for size in ((2, 3), (), (0, 4), (5,))]
    found = fetched([sent(one, cpu) for one in given])
    for one, other in zip(given, found, strict=True):
        assert one.shape == other.shape and np.array_equal(one, other)


class Recorded:
    """A graph that does again, in the same memory, what was done while it was captured."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    @torch.no_grad()
    def replay(self) -> None:
        for function, arguments, keywords, given in self.done:
            again = function(*arguments, **keywords)
            for old, new in zip(_tensors(given), _tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, graph: Recorded) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.changed = graph, list[tuple[torch.Tensor, torch.Tensor]]()

    @torch.no_grad()
    def __exit__(self, *given: Any) -> None:
        super().__exit__(*given)  # type: ignore[no-untyped-call]
        for changed, before in reversed(self.changed):  # what is captured is not done yet
            changed.copy_(before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.is_mutable:
            self.changed += [(one, one.clone()) for one in _tensors([*args])]
        given = func(*args, **(kwargs or {}))
        self.graph.done.append((func, args, kwargs or {}, given))
        return given


TABLE: Table = (
    Conv(3, (4, 3)), ReLU(), MaxPool((3, 1), (2, 1)), Linear(12), ReLU(), Linear(None),
)  # fmt: skip


def _tensors(given: Any) -> list[torch.Tensor]:
    if isinstance(given, tuple | list):
        return [one for part in given for one in _tensors(part)]
    return [given] if isinstance(given, torch.Tensor) else []


def test_a_step_that_is_run_as_a_graph_trains_as_one_that_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PLAIN, "1")  # accelerators of the CPU are no operations of PyTorch
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorded)
    monkeypatch.setattr(torch.cuda, "graph", Recording)
    found = []
    for graphs in ("cuda", "cpu"):
        monkeypatch.setattr(device, "GRAPHS", graphs)
        network = Network(TABLE, input_shape=(1, 10, 6), classes=5)
        network.reset_parameters(torch.Generator().manual_seed(0))
        step = Step(network, Train(lr=0.05, dropout=0.5, batch=8))
        step.zeros = True  # as on a GPU
        generator = torch.Generator().manual_seed(1)
        losses = []
        for count in (8, 8, 8, 8, 5, 8, 8):  # the fourth is captured, the last two are replayed
            x = torch.randn(count, 1, 10, 6, generator=generator)
            wanted = torch.randint(5, (count,), generator=generator)
            losses.append([float(one.sum()) for one in step(x.__getitem__, wanted, generator)])
        graph = step._graphed._graph  # type: ignore[union-attr]
        assert isinstance(graph, Recorded) == (graphs == "cpu")
        found.append((network.state_dict(), losses))
    (one, first), (other, second) = found
    assert first == second
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_what_cannot_be_captured_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(graph: Recorded) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorded)
    monkeypatch.setattr(torch.cuda, "graph", waits)
    monkeypatch.setattr(device, "GRAPHS", "cpu")
    calls = []

    def added(x: torch.Tensor) -> tuple[torch.Tensor]:
        calls.append(1)
        return (x + 1,)

    run = device.Graphed(added)
    for _ in range(6):
        assert torch.equal(run(torch.zeros(2))[0], torch.ones(2))
    assert len(calls) == 6 and run._graph is False


def test_a_batch_that_does_not_fit_is_trained_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for most in (8, 3):
        monkeypatch.setattr(steps, "fitting", lambda usual, each, place, most=most: most)
        network = Network(TABLE, input_shape=(1, 10, 6), classes=5).double()
        network.reset_parameters(torch.Generator().manual_seed(0))
        step = Step(network, Train(lr=0.05, dropout=0.5, batch=8))
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            x = torch.randn(8, 1, 10, 6, generator=generator).double()
            wanted = torch.randint(5, (8,), generator=generator)
            loss, right = step(x.__getitem__, wanted, generator)
        found.append([*network.state_dict().values(), loss, right.sum()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
