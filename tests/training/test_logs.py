"""A log of epochs is there while a training runs, and is its history."""

import builtins
import csv
import sys
import types
from pathlib import Path
from typing import Any

import corpora
import pytest

from speechscope.cli import run
from speechscope.store.checkpoint import Checkpoint


def test_a_row_an_epoch(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpora.timit(workdir / "timit", speakers=2, sentences=2)
    assert run(["prepare", "timit", "-q"]) == 0
    small = ["--per-class", "4", "-q", "--log"]
    assert run(["train", "--network", "freq", "--epochs", "2", *small, "log.csv"]) == 0
    decode = ["decode-train", "--layer", "1,3", "--epochs", "1", "--together", "1"]
    assert run([*decode, *small, "decoders.csv"]) == 0
    for name, log in (("model.pt", "log.csv"), ("decoder.pt", "decoders.csv")):
        history = Checkpoint(Path(name)).values["history"]
        with Path(log).open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(history) >= 2
        for row, told in zip(rows, history, strict=True):
            assert {k: v for k, v in row.items() if v} == {k: str(v) for k, v in told.items()}
    assert run(["train", "--network", "freq", *small, "no/log.csv", "-f"]) == 1
    assert "no does not exist; create it first" in capsys.readouterr().err


def test_tensorboard_is_told_every_figure_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechscope.errors import SpeechscopeError
    from speechscope.training.logs import EpochLog

    told: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            pass

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            told.append((tag, value, step))

        def flush(self) -> None:
            pass

    module: Any = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    log = EpochLog(None, tmp_path)
    rows: list[dict[str, Any]] = [{"epoch": 1, "loss": 2.0}]
    log(rows)
    rows.append({"layer": 3, "stage": 1, "epoch": 2, "loss": 1.0})
    log(rows)
    assert told == [("loss", 2.0, 1), ("layer 3/stage 1/loss", 1.0, 2)]
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard")
    plain = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(SpeechscopeError, match=r"pip install 'speechscope\[tensorboard\]'"):
        EpochLog(None, tmp_path)
