from collections import Counter

import numpy as np
import oracles
import pytest

from speechscope.training.resampling import resample


def test_whole_repeats_first_and_the_rest_without_replacement() -> None:
    labels = np.array([0] * 2 + [1] * 7 + [3] * 3)
    for seed in range(20):
        positions = resample(labels, 5, np.random.default_rng(seed))
        counts = Counter(positions.tolist())
        # 5 = 2 · 2 + 1: both items twice, one of them once more.
        assert sorted(counts[i] for i in range(2)) == [2, 3]
        # 5 of 7: none twice.
        assert sorted(counts[i] for i in range(2, 9)) == [0, 0, 1, 1, 1, 1, 1]
        # 5 = 1 · 3 + 2.
        assert sorted(counts[i] for i in range(9, 12)) == [1, 2, 2]
        assert len(positions) == 15


def test_class_sizes_against_the_paper_step_by_step() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(9, p=np.arange(9) / 36, size=400)  # class 0 has none
    positions = resample(labels, 60, np.random.default_rng(1))
    found = [sorted(Counter(positions[labels[positions] == c].tolist()).values()) for c in range(9)]
    assert found == [oracles.resampled_counts(int((labels == c).sum()), 60) for c in range(9)]


@pytest.mark.parametrize("per_class", [0, 3, 6])
def test_exact_multiples_draw_nothing(per_class: int) -> None:
    positions = resample(np.array([5, 5, 5]), per_class, np.random.default_rng(0))
    assert sorted(positions.tolist()) == sorted([0, 1, 2] * (per_class // 3))


def test_the_draw_is_random_and_seeded() -> None:
    labels = np.zeros(50, dtype=int)
    draws = [tuple(sorted(resample(labels, 5, np.random.default_rng(s)))) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_no_items_give_no_positions() -> None:
    assert resample(np.empty(0, dtype=int), 5, np.random.default_rng(0)).shape == (0,)
