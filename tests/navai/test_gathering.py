"""Sums of blocks and spans are added in one order: sums whose bits tell which."""

from pathlib import Path

import numpy as np
import pytest
import torch

from speechscope.errors import UsageProblem
from speechscope.navai import merging
from speechscope.navai.averaging import Layout
from speechscope.navai.gathering import Found, Watch, gathered, joined, span_items
from speechscope.navai.sums import Sums
from speechscope.store.artifact import Artifact
from speechscope.store.record import Record, new_record
from speechscope.store.writer import create_artifact
from speechscope.work.local import executor

VALUES = [0.5, 0.5, 1e16, 0.0, -1e16, 0.0, 1.0]
"""Of seven items: which of the small ones are lost tells in what order they were added."""


class Numbers:
    """Adds up the items of a block."""

    block = 2
    items = np.arange(len(VALUES))

    def __call__(self, rows: slice, watch: Watch | None) -> Found:
        sums = Sums()
        total = sums.at("class", (4,), (1,))
        for item in self.items[rows]:
            total += VALUES[item]
        sums.at("count", (), (1,), torch.int64)[0] += rows.stop - rows.start
        return Found(sums, {"item_index": self.items[rows]})


def record(kind: str) -> Record:
    return new_record(kind, config={}, seed=0, device="cpu")


def test_spans_are_whole_blocks_and_few() -> None:
    assert span_items(7, 2) == 2  # as many spans as blocks
    assert span_items(64 * 2, 2) == 2
    assert span_items(64 * 2 + 1, 2) == 4


def test_blocks_and_spans_are_added_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechscope.navai.gathering.SPANS", 2)  # of four items, and of three
    a, b, c, d = (sum(VALUES[n : n + 2]) for n in (0, 2, 4, 6))
    wanted = (a + b) + (c + d)
    assert wanted != ((a + b) + c) + d
    with (
        executor() as here,
        create_artifact(tmp_path / "x.zarr", "x", record("x"), force=False) as writer,
    ):
        rows = slice(0, len(VALUES))
        parts = list(gathered(Numbers(), rows, writer, here))
        assert [number for number, _ in parts] == [0, 1]
        found = joined(part for _, part in parts)
    assert found.sums.of("class")[4,].tolist() == [wanted]
    assert found.lists["item_index"].tolist() == list(range(7))


def test_a_shard_gives_its_spans_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shard.zarr"
    work = Numbers()
    work.items = np.arange(3)
    with (
        executor() as here,
        create_artifact(path, "x", record("navai-shard"), force=False) as writer,
    ):
        monkeypatch.setattr("speechscope.navai.merging.gathered", numbered)
        merging.write_shard(writer, work, Layout(("a",), {}), slice(0, 3), here)
    totals = [part.sums.of("class")[4,].item() for part in merging._spans(Artifact(path))]
    assert totals == [1.0, 2.0, 3.0]  # of spans 2, 9 and 10, whose names sort otherwise


def numbered(*_: object) -> list[tuple[int, Found]]:
    parts = []
    for value, span in enumerate((2, 9, 10), start=1):
        found = Numbers()(slice(0, 1), None)
        found.sums.of("class")[4,][0] = value
        parts.append((span, found))
    return parts


def test_what_holds_no_sums_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.zarr"
    with create_artifact(path, "x", record("navai-shard"), force=False) as writer:
        writer.put("class", np.arange(2), ("class",))
    with pytest.raises(UsageProblem, match="holds no sums"):
        list(merging._spans(Artifact(path)))
