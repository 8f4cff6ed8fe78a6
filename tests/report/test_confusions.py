"""Who is taken for whom, by hand."""

import numpy as np
import pytest

from speechscope.report.chapters.model import NOTHING, aligned, count
from speechscope.training.evaluation import letter_error_rate


@pytest.mark.parametrize(
    ("said", "answered", "pairs"),
    [
        ("cat", "cat", "cc aa tt"),
        ("cat", "cut", "cc au tt"),
        ("cat", "ct", f"cc a{NOTHING} tt"),
        ("cat", "cart", f"cc aa {NOTHING}r tt"),
        ("", "ab", f"{NOTHING}a {NOTHING}b"),
    ],
)
def test_letters_are_paired_at_least_cost(said: str, answered: str, pairs: str) -> None:
    assert aligned(said, answered) == [tuple(pair) for pair in pairs.split()]


def test_the_pairs_that_differ_are_the_letter_error_rate() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        said, answered = ("".join(rng.choice(list("abc"), rng.integers(1, 9))) for _ in range(2))
        wrong = sum(one != other for one, other in aligned(said, answered))
        assert wrong / len(said) == pytest.approx(letter_error_rate([(said, answered)]))


def test_rows_are_what_was_said() -> None:
    found = count(np.array([0, 0, 2, 2]), np.array([0, 1, 2, 0]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 1]]
