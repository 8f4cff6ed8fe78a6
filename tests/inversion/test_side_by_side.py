"""Blocks worked on by two threads: cut alike, joined in order, and stopped together."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from speechscope.errors import UsageProblem
from speechscope.inversion.chains import ENOUGH, blocks, multiplications, side_by_side
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.stages.invert import Invert

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("items", "most", "work", "device", "sizes"),
    [
        (48, 128, ENOUGH, CPU, [24, 24]),
        (48, 128, 1, CPU, [48]),  # too little to be divided
        (48, 128, ENOUGH, CUDA, [48]),
        (256, 128, ENOUGH, CPU, [128, 128]),
        (300, 128, ENOUGH, CPU, [75, 75, 75, 75]),
        (300, 128, 1, CPU, [100, 100, 100]),
        (7, 2, ENOUGH, CPU, [2, 2, 2, 1]),
        (1, 128, ENOUGH, CPU, [1]),
        (0, 128, ENOUGH, CPU, []),
    ],
)
def test_blocks_are_as_large_as_may_be_and_even(
    monkeypatch: pytest.MonkeyPatch,
    items: int,
    most: int,
    work: int,
    device: torch.device,
    sizes: list[int],
) -> None:
    monkeypatch.setattr("speechscope.inversion.chains.multiplications", lambda *_: work)
    monkeypatch.setattr("speechscope.inversion.chains.fitting", lambda usual, *_, **__: usual)
    network = Network((Linear(2),), (1, 1, 1))
    settings = Invert(method=("bp",), block=most)
    parts = blocks(network, items, [1], settings, device)
    assert [part.stop - part.start for part in parts] == sizes
    assert [part.start for part in parts] == [sum(sizes[:i]) for i in range(len(sizes))]


def test_multiplications_are_counted_by_hand() -> None:
    # 3 maps of 4 x 2 outputs from 2 x 5 windows of 2 channels; 3 x 2 x 1 pooled values to 7 units.
    network = Network((Conv(3, (2, 5)), MaxPool((2, 2), (2, 2)), ReLU(), Linear(7)), (2, 5, 6), 7)
    first = 3 * 4 * 2 * (2 * 2 * 5)
    assert [multiplications(network, layer) for layer in (1, 3, 4)] == [
        first,
        first,
        first + 7 * (3 * 2 * 1),
    ]


def test_two_blocks_are_worked_on_at_a_time(two_threads: None) -> None:
    both = threading.Barrier(2, timeout=20)  # broken if one waits alone

    done: dict[int, int] = {}

    def work(part: slice) -> None:
        both.wait()
        done[part.start] = torch.get_num_threads()

    side_by_side(work, [slice(0, 3), slice(3, 6)], CPU)
    assert done == {0: 1, 3: 1}
    assert torch.get_num_threads() == 2


def test_a_block_alone_is_not_divided_among_threads(two_threads: None) -> None:
    done: list[int] = []
    side_by_side(lambda _: done.append(torch.get_num_threads()), [slice(0, 3)], CPU)
    assert done == [1]
    assert torch.get_num_threads() == 2


def test_one_thread_does_them_one_after_another() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        done: list[int] = []
        parts = [slice(0, 1), slice(1, 2)]
        side_by_side(lambda _: done.append(threading.get_ident()), parts, CPU)
        assert done == [threading.get_ident()] * 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("end", [UsageProblem("not this"), KeyboardInterrupt()])
def test_where_one_fails_the_others_stop(two_threads: None, end: BaseException) -> None:
    going, begun = threading.Event(), threading.Event()
    stopped: list[type[BaseException]] = []
    parts = [slice(i, i + 1) for i in range(4)]

    def work(part: slice) -> None:
        if part.start == 0:
            begun.wait(20)
            raise end
        try:
            begun.set()
            while not going.is_set():  # as a descent does, it comes back to Python now and then
                time.sleep(0.01)
        except BaseException as error:
            stopped.append(type(error))
            raise

    with pytest.raises(type(end)):
        side_by_side(work, parts, CPU)
    going.set()
    assert set(stopped) == {KeyboardInterrupt}  # whatever was running has ended
    assert torch.get_num_threads() == 2
