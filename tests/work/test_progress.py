"""What a bar says is left."""

import pytest

from speechscope.work.progress import TimeLeft


def test_the_rate_is_that_since_the_beginning() -> None:
    left = TimeLeft()
    assert left(0.0, 0, 100) is None
    assert left(0.5, 0, 100) is None
    assert left(4.5, 10, 100) == 36
    assert left(4.5, 20, 100) == 16  # two at once, as of two blocks that end together
    assert left(8.5, 20, 100) == 32


def test_what_was_done_before_is_no_rate() -> None:
    left = TimeLeft()
    assert left(0.4, 80, 100) is None
    assert left(5.4, 80, 100) is None
    assert left(10.4, 90, 100) == 10
    assert left(20.4, 100, 100) == pytest.approx(0)
