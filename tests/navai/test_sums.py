"""Sums of blocks and spans are added in one order: sums whose bits tell which."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from speechscope.errors import UsageProblem
from speechscope.fast import aligned_sums
from speechscope.navai import averages
from speechscope.navai.averages import Lists, Summing, Sums, joined, read_arrays
from speechscope.navai.examples import Batch
from speechscope.navai.store import Layout, write_shard
from speechscope.store.artifact import Artifact
from speechscope.store.record import Record, new_record
from speechscope.store.shards import merge
from speechscope.store.writer import create_artifact, flag_attributes
from speechscope.work.local import executor

VALUES = [0.5, 0.5, 1e16, 0.0, -1e16, 0.0, 1.0]
"""Of seven items: which of the small ones are lost tells in what order they were added."""


class Numbers(Summing):
    """Adds up the items of a block."""

    block = 2
    items = np.arange(len(VALUES))

    def __init__(self) -> None:
        pass

    def _batches(self, start: int, stop: int, *_: object) -> Iterator[Batch]:
        self.rows = slice(start, stop)
        return iter(())

    def of_block(self, start: int, batches: Iterator[Batch]) -> tuple[Sums, Lists]:
        found = Sums()
        total = found.at("class", (4,), (1,))
        for item in self.items[self.rows]:
            total += VALUES[item]
        found.at("count", (), (1,), torch.int64)[0] += len(self.items[self.rows])
        return found, {"item_index": self.items[self.rows]}


def record(kind: str) -> Record:
    shard = {"number": 1, "of": 1, "start": 0, "stop": 3, "items": 3, "chunk": 1}
    config = {"shard": shard, "exclude": "b", "class": [], "align": "none", "normalizer": "inputs"}
    return new_record(kind, config=config, seed=0, device="cpu")


def test_spans_are_whole_blocks_and_few() -> None:
    work = Numbers()
    for count, step in ((7, 2), (64 * 2, 2), (64 * 2 + 1, 4)):  # as many spans as blocks, or fewer
        work.items = np.arange(count)
        assert work.span == step


def test_blocks_and_spans_are_added_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(averages, "SPANS", 2)  # of four items, and of three
    a, b, c, d = (sum(VALUES[n : n + 2]) for n in (0, 2, 4, 6))
    wanted = (a + b) + (c + d)
    assert wanted != ((a + b) + c) + d
    with (
        executor() as here,
        create_artifact(tmp_path / "x.zarr", "x", record("x"), force=False) as writer,
    ):
        parts = list(Numbers().spans(writer, slice(0, len(VALUES)), here))
        assert [number for number, _ in parts] == [0, 1]
        found, lists = joined(read_arrays(arrays) for _, arrays in parts)
    assert found.of("class")[4,].tolist() == [wanted]
    assert lists["item_index"].tolist() == list(range(7))


def test_spans_of_a_shard_are_merged_in_order(tmp_path: Path) -> None:
    # Of spans 2, 9 and 10, whose names sort otherwise.
    path = tmp_path / "shard.zarr"
    parts = []
    for span, value in ((2, 1e16), (9, 1.0), (10, -1e16)):
        found = Sums()
        found.at("class", (0,), (3, 1, 1, 1, 1))[:] = value
        found.at("count", (), (1,), torch.int64)[0] = 1
        found.at("covered", (), (1, 1, 1), torch.int64)
        lists = {"item_index": np.array([span]), "shift": np.zeros((1, 1), dtype=np.int16)}
        parts.append((span, {**found.arrays(), **lists}))
    with create_artifact(path, "x", record("navai-shard"), force=False) as writer:
        axes = {"time": (np.zeros(1), {"units": "s"})}
        assert write_shard(writer, Layout(("a", "b"), axes), parts) == 3
    assert merge([path], tmp_path / "whole.zarr", force=False) == ("navai", 3)
    whole = Artifact(tmp_path / "whole.zarr")
    assert whole.read("mean").ravel().tolist() == [0.0]  # in the other order, a third
    assert whole.read("item_index").tolist() == [2, 9, 10] and whole.flags("class") == ("a",)


def test_what_holds_no_sums_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.zarr"
    with create_artifact(path, "x", record("navai-shard"), force=False) as writer:
        writer.put("class", np.arange(2), ("class",), flag_attributes(("a", "b")))
    with pytest.raises(UsageProblem, match="holds no sums"):
        merge([path], tmp_path / "whole.zarr", force=False)


def test_one_input_after_another_gives_the_bits_of_all_at_once() -> None:
    torch.manual_seed(0)
    inputs, target = torch.randn(40, 2, 3, 7), torch.randint(5, (40,))
    shift = torch.stack([torch.zeros(40, dtype=torch.int64), torch.randint(-3, 4, (40,))])
    other = np.random.default_rng(0).permutation(40)
    whole = [torch.zeros(5, 3, 2, 2, 3, 7, dtype=torch.float64) for _ in range(2)]
    averages.add_aligned(whole[0], inputs, target, other, shift)
    aligned_sums.add_aligned(whole[1], inputs, target, other, shift)
    assert torch.equal(whole[0], whole[1])
    assert whole[0].any()
