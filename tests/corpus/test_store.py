from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from speechscope.corpus.store import Corpus, per_class, positions
from speechscope.errors import UsageProblem


@pytest.fixture
def corpus() -> Corpus:
    labels = np.array([0, 0, 0, 3, 3, 5, 0, 3, 5, 5])
    items = np.array([1, 2, 4, 5, 7, 8, 9])
    fake = SimpleNamespace(labels=labels, items=lambda split: items, path=Path("c.zarr"))
    return cast("Corpus", fake)


def test_one_item_of_every_class_and_more_keep_the_first(corpus: Corpus) -> None:
    one = per_class(corpus, "test", 1, seed=0)
    assert corpus.labels[one].tolist() == [0, 3, 5]
    two = per_class(corpus, "test", 2, seed=0)
    assert corpus.labels[two].tolist() == [0, 0, 3, 3, 5, 5]
    assert two[[0, 2, 4]].tolist() == one.tolist()
    seeds = {tuple(per_class(corpus, "test", 1, seed=s).tolist()) for s in range(20)}
    assert len(seeds) > 3


@pytest.mark.parametrize(
    ("texts", "found"),
    [(["0:3"], [1, 2, 4]), (["6"], [9]), (["5:", "0"], [8, 9, 1]), ([":2"], [1, 2])],
)
def test_ranges(corpus: Corpus, texts: list[str], found: list[int]) -> None:
    assert positions(corpus.items("test"), "it", texts).tolist() == found


@pytest.mark.parametrize("text", ["7", "0:8", "3:3", "a", ":", "-1", "1:2:3"])
def test_ranges_that_name_nothing(corpus: Corpus, text: str) -> None:
    with pytest.raises(UsageProblem, match="--items"):
        positions(corpus.items("test"), "it", [text])
