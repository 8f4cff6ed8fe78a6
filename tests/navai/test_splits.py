"""What inputs are split by."""

import numpy as np

from speechscope.navai.splits import neighbours


def test_neighbours_are_those_of_runs_within_a_recording() -> None:
    labels = np.array([4, 4, 7, 7, 4, 4, 9])
    recording = np.array([0, 0, 0, 0, 0, 1, 1])
    before, after = neighbours(labels, recording, 99)
    assert before.tolist() == [99, 99, 4, 4, 7, 99, 4]
    assert after.tolist() == [7, 7, 4, 4, 99, 9, 99]


def test_blanks_part_runs_and_are_no_neighbours() -> None:
    labels = np.array([0, 5, 5, 0, 5, 0, 6, 0])
    before, after = neighbours(labels, np.zeros(8, dtype=np.int64), 99, skip=0)
    assert before[[1, 2, 4, 6]].tolist() == [99, 99, 5, 5]
    assert after[[1, 2, 4, 6]].tolist() == [5, 5, 6, 99]
    empty = np.array([], dtype=np.int64)
    assert [len(side) for side in neighbours(empty, empty, 99)] == [0, 0]
