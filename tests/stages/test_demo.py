"""`demo` makes what it says, goes on where it stopped, and its commands can be copied."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from speechscope import stages
from speechscope.cli import build, run
from speechscope.stages.demo import NEXT

GROUP = typer.main.get_command(build())


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was run, by stages that do nothing but leave their output."""
    done: list[str] = []
    plain = stages.run

    def fake(name: str, given: Any, console: Any = None) -> Any:
        if name == "demo":
            return plain(name, given, console)
        done.append(name)
        if name == "invert" and done.count("invert") == 1:
            raise KeyboardInterrupt
        Path(given.get("output") or given["directory"]).touch()
        return None

    monkeypatch.setattr(stages, "run", fake)
    return done


def test_a_demo_goes_on_and_its_commands_can_be_copied(
    ran: list[str], workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "here"]) == 130
    assert ran == ["synth", "prepare", "train", "relevance", "invert"]
    del ran[:]
    ran.append("invert")
    assert run(["demo", "here"]) == 0
    assert ran == ["invert", "invert", "navai", "report"]
    out, err = capsys.readouterr()
    assert run(["demo", "here"]) == 0
    assert ran[4:] == []  # all is there, the page too
    assert out == "here/report.html\n"
    lines = [line.strip().removeprefix("$ ") for line in err.splitlines()]
    commands = [line for line in lines if line.startswith("speechscope ") and ":" not in line[:14]]
    assert len(commands) >= 10
    for line in commands:
        name, *words = shlex.split(line)[1:]
        GROUP.commands[name].make_context(name, words)  # type: ignore[attr-defined]


def test_a_folder_of_somebody_elses_is_refused(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "mine").mkdir()
    (workdir / "mine" / "file").touch()
    assert run(["demo", "mine"]) == 2
    assert "mine was not made by speechscope demo" in capsys.readouterr().err
    assert [path.name for path in (workdir / "mine").iterdir()] == ["file"]


@pytest.mark.heavy
def test_a_demo_runs(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("parselmouth")
    assert run(["demo"]) == 0
    page = (workdir / "speechscope-demo" / "report.html").read_text(encoding="utf-8")
    assert "<audio" in page and "relevance" in page
    typed = [command for _, command in NEXT if not re.search("[A-Z]{3}", command)]
    assert len(typed) == 3
    for command in typed:
        assert run(["-C", "speechscope-demo", *command.split()]) == 0, command
