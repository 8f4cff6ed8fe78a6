import threading
from collections import Counter

import numpy as np
import oracles
import pytest

from speechscope.training.source import by_length, read_ahead, resample


@pytest.mark.parametrize("seeded", [True, False])
def test_every_utterance_once_in_batches_with_little_padding(seeded: bool) -> None:
    draws = np.random.default_rng(0)
    for size, padding in ((1, 0.0), (4, 0.0), (7, 0.1), (16, 0.3)):
        lengths = draws.integers(1, 3000, 200)
        lengths[:20] = 500  # some are equally long
        rng = np.random.default_rng(1) if seeded else None
        made = by_length(lengths, size, padding, rng)
        assert sorted(np.concatenate(made).tolist()) == list(range(200))
        for batch in made:
            assert 1 <= len(batch) <= size
            room = len(batch) * lengths[batch].max()
            assert room - lengths[batch].sum() <= padding * room
    # Allowed a third, nearly all batches are full.
    assert len(made) <= 200 / 16 + 8


def test_the_seed_decides_who_is_with_whom_and_in_which_order() -> None:
    lengths = np.random.default_rng(0).integers(400, 1500, 100)

    def drawn(seed: int) -> list[list[int]]:
        return [b.tolist() for b in by_length(lengths, 8, 0.1, np.random.default_rng(seed))]

    assert drawn(1) == drawn(1)
    assert {frozenset(b) for b in drawn(1)} != {frozenset(b) for b in drawn(2)}
    plain = [lengths[b].max() for b in by_length(lengths, 8, 0.1)]
    assert plain == sorted(plain)
    assert [lengths[b].max() for b in drawn(1)] != sorted(lengths[b].max() for b in drawn(1))
    assert by_length(np.array([], dtype=np.int64), 8, 0.1) == []


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


def test_a_part_is_read_by_a_thread_while_the_one_before_is_worked_on() -> None:
    read: list[int] = []
    threads: set[int] = set()
    next_is_read = threading.Event()

    def noted(part: int) -> int:
        read.append(part)
        threads.add(threading.get_ident())
        if part == 1:
            next_is_read.set()
        return 10 * part

    found = []
    for value in read_ahead(noted, range(4)):
        if value == 0:
            assert next_is_read.wait(10)
        found.append(value)
    assert found == [0, 10, 20, 30] and read == [0, 1, 2, 3]
    assert threading.get_ident() not in threads
    assert list(read_ahead(noted, [])) == []
