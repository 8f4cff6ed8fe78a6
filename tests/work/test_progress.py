"""What a bar says is left."""

import pytest

from speechscope.work.progress import Console, TimeLeft


def test_the_rate_is_that_since_the_beginning() -> None:
    left = TimeLeft()
    assert left(0.0, 0, 100) is None
    assert left(0.5, 0, 100) is None
    assert left(4.5, 10, 100) == 36
    assert left(4.5, 20, 100) == 16  # two at once, as of two blocks that end together
    assert left(8.5, 20, 100) == 32


def test_what_was_done_before_is_no_rate() -> None:
    left = TimeLeft()
    assert left(0.4, 80, 100) is None
    assert left(5.4, 80, 100) is None
    assert left(10.4, 90, 100) == 10
    assert left(20.4, 100, 100) == pytest.approx(0)


def test_a_log_has_a_line_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("speechscope.work.progress.time.monotonic", lambda: clock[0])
    with Console().bar("invert", "items") as report:
        for done in range(1, 301):
            clock[0] += 1.0
            report.said = "" if done < 180 else "loss 0.5"
            report(done, 300)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"invert: {done} of 300 items, 0:0{(300 - done) // 60}:00 left{said}"
        for done, said in ((60, ""), (120, ""), (180, ", loss 0.5"), (240, ", loss 0.5"))
    ]
    with Console(quiet=True).bar("invert", "items") as report:
        clock[0] += 100.0
        report(1, 2)
    assert capsys.readouterr().err == ""


def test_a_log_has_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    Console().epoch("epoch 1: loss 3.2")
    Console(quiet=True).epoch("epoch 2: loss 3.1")
    assert capsys.readouterr().err == "epoch 1: loss 3.2\n"
