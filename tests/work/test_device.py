import pytest
import torch

from speechscope import cli, stages
from speechscope.errors import SpeechscopeError
from speechscope.work.device import in_halves


def test_what_does_not_fit_is_done_in_halves() -> None:
    tried: list[tuple[int, int]] = []

    def work(items: slice) -> None:
        tried.append((items.start, items.stop))
        if items.stop - items.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    in_halves(work, slice(4, 7), "lower --block")
    assert tried == [(4, 7)]
    in_halves(work, slice(4, 9), "lower --block")
    assert tried[1:] == [(4, 9), (4, 7), (7, 9)]
    with pytest.raises(SpeechscopeError, match="does not hold 4 items; lower --block"):
        in_halves(work, slice(0, 8), "lower --block")


def test_memory_used_up_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(stages, "run", full)
    assert cli.run(["train", "corpus.zarr"]) == 1
    said = capsys.readouterr().err
    assert said == (
        "speechscope: error: the memory of the device is used up; take --device cpu, or, of train "
        "and decode-train, lower --batch\n"
    )
