"""Scales keep their order for every eye, and values their place on them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from speechscope.report.drawing import DASHES, LEVELS, LINES, levels, line, palette

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
# Machado, Oliveira & Fernandes 2009, table 1: severity 1.0, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip


def lightness(colours: NDArray[np.uint8], eye: str) -> NDArray[np.float64]:
    """Return CIE L* (0 to 100) of sRGB colours as an eye sees them."""
    encoded = colours / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ BLINDNESS[eye].T, 0, 1) @ LUMINANCE
    found: NDArray[np.float64] = np.where(seen > 0.008856, 116 * np.cbrt(seen) - 16, 903.3 * seen)
    return found


@pytest.mark.parametrize("eye", BLINDNESS)
def test_a_higher_value_is_lighter_to_every_eye(eye: str) -> None:
    found = lightness(palette("sequential"), eye)
    # Eight bits a channel: neighbours may be level, steps of four are not.
    assert (np.diff(found) > -0.7).all()
    assert (found[4:] > found[:-4]).all()
    assert found[0] < 10 and found[-1] > 90


@pytest.mark.parametrize("eye", BLINDNESS)
def test_both_ends_of_the_diverging_scale_are_equally_dark(eye: str) -> None:
    found = lightness(palette("diverging"), eye)
    assert found.argmax() in (127, 128)
    assert (np.diff(found[:128]) > -0.7).all() and (np.diff(found[128:]) < 0.7).all()
    assert abs(found[0] - found[-1]) < 16
    # Blue and red: the ends differ in more than lightness.
    first, last = palette("diverging")[[0, -1]].astype(int)
    assert first[2] - first[0] > 60 and last[0] - last[2] > 60


def test_values_have_their_place_on_the_scale() -> None:
    values = np.array([-9.0, 0.0, 5.0, 10.0, 99.0, np.nan])
    assert levels(values, 0.0, 10.0).tolist() == [0, 0, 128, 255, 255, 0]
    assert levels(np.zeros(2), 3.0, 3.0).tolist() == [0, 0]
    assert len(palette("diverging")) == LEVELS


def test_no_two_of_the_first_curves_are_drawn_alike() -> None:
    count = len(LINES) * len(DASHES)
    assert len({line(number) for number in range(count)}) == count
