import threading

import pytest
import torch

from speechscope.fast.training_step import Halves


@pytest.mark.parametrize("items", [0, 1, 2, 7, 8])
def test_parts_cover_the_batch_in_order(items: int) -> None:
    covered = [i for part in Halves().parts(items) for i in range(items)[part]]
    assert covered == list(range(items))


def test_every_half_works_alone_and_the_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: dict[int, tuple[int, int]] = {}
        meeting = threading.Barrier(2, timeout=10)  # both halves are at work at once

        def work(half: int) -> None:
            meeting.wait()
            seen[half] = threading.get_ident(), torch.get_num_threads()

        Halves().run(work)
        assert seen[0][0] != seen[1][0]
        assert seen[0][1] == seen[1][1] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_half_raises_is_raised(bad: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)

    def work(half: int) -> None:
        if half == bad:
            raise ValueError(f"half {half}")

    try:
        with pytest.raises(ValueError, match=f"half {bad}"):
            Halves().run(work)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
