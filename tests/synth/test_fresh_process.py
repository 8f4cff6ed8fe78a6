"""A process for every task. The functions are built-in: a process has to find them by name."""

from __future__ import annotations

import math
import os
from contextlib import closing

import pytest

from speechscope.errors import SpeechscopeError
from speechscope.synth.fresh_process import fresh_map


@pytest.mark.parametrize("workers", [1, 3])
def test_all_results_come_back(workers: int) -> None:
    assert sorted(fresh_map(math.sqrt, [1, 4, 9, 16, 25], workers)) == [1, 2, 3, 4, 5]


def test_every_task_has_its_own_process() -> None:
    pids = list(fresh_map(eval, ["__import__('os').getpid()"] * 4, 1))
    assert len(set(pids)) == 4
    assert os.getpid() not in pids


def test_an_error_in_a_task_is_raised_here() -> None:
    with pytest.raises(SpeechscopeError, match="ValueError"):
        list(fresh_map(math.sqrt, [4, -1], 1))


def test_the_death_of_a_process_is_an_error() -> None:
    with pytest.raises(SpeechscopeError, match="exit code 3"):
        list(fresh_map(os._exit, [3], 1))


def test_closing_ends_the_processes() -> None:
    tasks = ["1", "__import__('time').sleep(60)"]
    with closing(fresh_map(eval, tasks, 2)) as results:
        assert next(results) == 1
