"""Ticks are round, inside the axis, and where their values are."""

import numpy as np
import pytest

from speechscope.features.filterbanks import centres
from speechscope.report.drawing import ticks
from speechscope.report.figures import Axis, axis_of


@pytest.mark.parametrize(
    ("low", "high", "count", "texts"),
    [
        (-20, 8020, 3, ["0", "4000", "8000"]),
        (0, 1, 5, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (8.3, 158, 3, ["50", "100", "150"]),
        (2500, 500, 4, ["500", "1000", "1500", "2000", "2500"]),
        (3, 3, 4, []),
    ],
)
def test_round_values(low: float, high: float, count: int, texts: list[str]) -> None:
    assert [text for _, text in ticks(Axis("", "", low, high), count)] == texts


def test_mel_bands_have_ticks_where_their_frequencies_are() -> None:
    frequency = centres(128, 16000)
    axis = axis_of("frequency", "Hz", frequency)
    found = ticks(axis, 3)
    assert len(found) >= 3
    for value, _ in found:
        # The band nearest to the tick is the one drawn at its place.
        row = int(axis.place(value) * 128)
        assert abs(row - np.abs(frequency - value).argmin()) <= 1
    places = [axis.place(value) for value, _ in found]
    assert (np.diff(places) > 0.15).all()


def test_even_rows_reach_half_a_step_beyond_their_middles() -> None:
    axis = axis_of("time", "ms", np.array([10.0, 20.0, 30.0]))
    assert (axis.low, axis.high, axis.centres) == (5.0, 35.0, ())
    assert axis.place(20) == 0.5
    assert Axis("", "", 300, 200).place(225) == 0.75
