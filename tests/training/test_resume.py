"""The state of a training, written while the training goes on."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from speechscope.store import checkpoint
from speechscope.store.record import new_record
from speechscope.training.resume import ResumeFile


@pytest.fixture
def states(tmp_path: Path) -> ResumeFile:
    record = new_record("model", config={"lr": 0.1}, seed=0, device="cpu")
    return ResumeFile(tmp_path / "model.pt", record)


def saved(states: ResumeFile) -> int | None:
    found = states.load(Path("none"))
    return None if found is None else int(found["epoch"])


def state(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "weights": {"w": torch.full((100,), float(epoch))}}


def test_the_training_does_not_wait_for_its_state(
    states: ResumeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    may = threading.Event()
    write = checkpoint.write
    monkeypatch.setattr(checkpoint, "write", lambda *a: may.wait(60) and write(*a))
    with states:
        states.save_meanwhile(state(1))
        assert not states.path.exists()
        may.set()
        states.save_meanwhile(state(2))  # waits for the first
        assert saved(states) is not None
    assert saved(states) == 2
    states.clear()
    assert saved(states) is None


def test_a_state_that_cannot_be_written_ends_the_training(
    states: ResumeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with states:
        states.save_meanwhile(state(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.raises(OSError, match="No space"), states_again(states) as again:
        again.save_meanwhile(state(2))
    with pytest.raises(OSError, match="No space"), states_again(states) as again:
        again.save_meanwhile(state(2))
        again.save_meanwhile(state(3))
        pytest.fail("the second waits for the first")
    with pytest.raises(KeyboardInterrupt), states_again(states) as again:
        again.save_meanwhile(state(2))
        raise KeyboardInterrupt  # which is what the user hears of
    assert saved(states) == 1 and len(list(states.path.parent.iterdir())) == 1


def states_again(states: ResumeFile) -> ResumeFile:
    return ResumeFile(states.path.with_name("model.pt"), states._record)


def test_an_interrupted_training_keeps_the_state_that_was_being_written(
    states: ResumeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    write = checkpoint.write

    def slow(*arguments: Any) -> None:
        begun.wait(60)
        write(*arguments)

    monkeypatch.setattr(checkpoint, "write", slow)
    with pytest.raises(KeyboardInterrupt), states:
        states.save_meanwhile(state(1))
        begun.set()
        raise KeyboardInterrupt
    assert saved(states) == 1
