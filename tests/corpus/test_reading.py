from collections import Counter

import numpy as np
import pytest

from speechscope.corpus.reading import heard, percentile
from speechscope.corpus.utterances import Segment


@pytest.mark.parametrize("share", [0.1, 5, 50, 75, 94.9, 95, 99.99, 100])
def test_it_is_the_percentile_of_the_lengths_written_out(share: float) -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 7, 1000):
        lengths = rng.integers(1, 40, size) ** 2
        expected = np.percentile(lengths, share)
        found = percentile(Counter(lengths.tolist()), share)
        # A whole number may come out a rounding error below itself.
        assert found in (int(expected + 1e-9), int(expected - 1e-9))


def test_digital_silence_is_as_loud_under_every_label() -> None:
    labels = [Segment(0, 10, "a"), Segment(10, 40, "b")]
    (sums,) = heard(np.zeros(100, dtype=np.float32), labels, [1.0])
    assert sums["a"].tolist() == sums["b"].tolist() and np.isfinite(sums["a"]).all()
