import threading

import pytest
import torch

from speechscope.fast.lanes import Lanes


@pytest.mark.parametrize("items", [0, 1, 2, 7, 8])
def test_parts_cover_the_batch_in_order(items: int) -> None:
    covered = [i for part in Lanes(2).parts(items) for i in range(items)[part]]
    assert covered == list(range(items))


def test_every_lane_works_alone_and_the_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: dict[int, tuple[int, int]] = {}
        meeting = threading.Barrier(2, timeout=10)  # both lanes are at work at once

        def work(lane: int) -> None:
            meeting.wait()
            seen[lane] = threading.get_ident(), torch.get_num_threads()

        Lanes(2).run(work)
        assert seen[0][0] != seen[1][0]
        assert seen[0][1] == seen[1][1] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_lane_raises_is_raised(bad: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)

    def work(lane: int) -> None:
        if lane == bad:
            raise ValueError(f"lane {lane}")

    try:
        with pytest.raises(ValueError, match=f"lane {bad}"):
            Lanes(2).run(work)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
