import numpy as np
import pytest

from speechscope.training.bucketing import batches


@pytest.mark.parametrize("seeded", [True, False])
def test_every_utterance_once_in_batches_with_little_padding(seeded: bool) -> None:
    draws = np.random.default_rng(0)
    for size, padding in ((1, 0.0), (4, 0.0), (7, 0.1), (16, 0.3)):
        lengths = draws.integers(1, 3000, 200)
        lengths[:20] = 500  # some are equally long
        rng = np.random.default_rng(1) if seeded else None
        made = batches(lengths, size, padding, rng)
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
        return [b.tolist() for b in batches(lengths, 8, 0.1, np.random.default_rng(seed))]

    assert drawn(1) == drawn(1)
    assert {frozenset(b) for b in drawn(1)} != {frozenset(b) for b in drawn(2)}
    plain = [lengths[b].max() for b in batches(lengths, 8, 0.1)]
    assert plain == sorted(plain)
    assert [lengths[b].max() for b in drawn(1)] != sorted(lengths[b].max() for b in drawn(1))
    assert batches(np.array([], dtype=np.int64), 8, 0.1) == []
