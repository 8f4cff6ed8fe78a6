"""Help as people read it: settings first, nothing cut, at any width; pages that come along."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from speechscope import manual
from speechscope.cli import build, run
from speechscope.settings import declared
from speechscope.stages import STAGES, settings_class

GROUP = typer.main.get_command(build())


def shown(name: str, columns: int, patch: pytest.MonkeyPatch, capsys: object) -> str:
    patch.setenv("COLUMNS", str(columns))
    assert run([name, "--help"]) == 0
    return capsys.readouterr().out  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("name", STAGES)
def test_nothing_is_cut(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(name, columns, monkeypatch, capsys)
    longest = max(text.splitlines(), key=len)
    assert len(longest) <= min(columns, 100), longest
    words = " ".join(text.split())
    for entry in declared(settings_class(name)):
        if not entry.flags and entry.said.kind != "argument":
            continue  # for Python alone
        if entry.flags and entry.said.kind != "argument":
            assert manual.flags(entry) in words, entry.name
        assert " ".join(entry.said.help.split()) in words, entry.name
        for choice in entry.choices if not entry.said.others else ():
            assert choice in words, (entry.name, choice)
    heads = [line for line in text.splitlines() if line in ("Settings:", "Common options:")]
    assert heads == sorted(heads, reverse=True) and heads[-1] == "Common options:"


@pytest.mark.parametrize("name", STAGES)
def test_examples_are_commands_and_the_page_is_there(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(name, 100, monkeypatch, capsys)
    examples = text[text.index("Examples:") : text.index("To read:")].splitlines()[1:-1]
    assert len(examples) >= (1 if name == "demo" else 2)
    for example in examples:
        words = shlex.split(example.split("&&")[0].split("|")[0])
        assert words[:2] == ["speechscope", name]
        GROUP.commands[name].make_context(name, words[2:])  # type: ignore[attr-defined]
    page = text.split("speechscope help ")[-1].split()[0]
    capsys.readouterr()
    assert run(["help", name]) == 0
    assert capsys.readouterr().out == manual.topics()[page].read_text()


def test_defaults_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = {name: getattr(settings_class(name), "usual", "") for name in STAGES}
    assert len(list(filter(None, usual.values()))) == 12
    for name, default in usual.items():
        words = " ".join(shown(name, 100, monkeypatch, capsys).split())
        assert (f"Where to write. Default: {default}." in words) == bool(default), name
    text = " ".join(shown("train", 100, monkeypatch, capsys).split())
    assert "reads its path. Default: corpus.zarr." in text
    assert "--epochs N Epochs. At least 1. Default: 30." in text


def test_the_commands_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    table = text[text.index("Commands:") : text.index("Options:")]
    positions = [table.index(f"\n  {name} ") for name in STAGES]
    assert positions == sorted(positions)


def test_pages_are_listed_and_what_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help"]) == 0
    text = capsys.readouterr().out
    assert all(topic in text for topic in manual.topics()) and "inversion" in text
    assert run(["help", "cooking"]) == 2
    assert "choose from adding" in capsys.readouterr().err


EVERYWHERE = """
import os, sys
from speechscope import cli
from speechscope.stages import STAGES
cli._open_streams()
nowhere = os.fsdecode(b"no/wh\\xc3\\xa9re")
for name in STAGES:
    for arguments in ([name, "--help"], [name, nowhere], [name, "--nonsense"],
                      [name, nowhere, "--json"]):
        if name not in ("demo", "synth", "doctor") or "-" in arguments[-1]:
            cli.run(arguments)
cli.run(["--help"])
for page in cli.manual.topics():
    cli.run(["help", page])
sys.stderr.write("to the end\\n")
"""


HEAVY = pytest.mark.heavy


@pytest.mark.parametrize("way", ["C", pytest.param("latin-1", marks=HEAVY), "closed", "no reader"])
def test_every_command_speaks_whatever_the_terminal_takes(tmp_path: Path, way: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(manual.__file__).parents[1])}
    if way == "C":
        env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        env.pop("PYTHONIOENCODING", None)
    if way == "latin-1":
        env |= {"PYTHONIOENCODING": "latin-1"}
    script = tmp_path / "script.py"
    script.write_text(EVERYWHERE)
    line = f"{sys.executable} {script}" + {"closed": " >&-", "no reader": " | true"}.get(way, "")
    done = subprocess.run(line, shell=True, env=env, cwd=tmp_path, capture_output=True, check=False)
    err = done.stderr.decode("latin-1")
    assert "Traceback" not in err and "UnicodeEncodeError" not in err, err[-2000:]
    assert err.endswith("to the end\n") or way == "no reader"
    assert list(tmp_path.iterdir()) == [script]


def test_what_a_stream_cannot_encode_is_escaped_and_names_are_kept() -> None:
    def encode(text: str) -> bytes:
        return text.encode("ascii", "speechscope")

    from speechscope import cli

    cli._open_streams()
    assert encode("η a\udce9") == b"\\u03b7 a\xe9"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("train --lr -1", "--lr -1.0: at least 1e-12"),
        ("train --lr 0", "--lr 0.0: at least"),
        ("maximize --lr 0", "--lr 0.0: at least"),
        ("prepare timit -o y.h5", "-o y.h5: what is written here is .zarr"),
        ("prepare timit -o y.pt", "-o y.pt: what is written here is .zarr"),
        ("prepare timit --tier phones", "--tier has no meaning for the layout timit"),
        ("export", "Missing argument 'ARTIFACT'"),
    ],
)
def test_values_that_do_nothing_are_refused(
    line: str, text: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import corpora

    if "timit" in line:
        corpora.timit(workdir / "timit", speakers=2, sentences=2)
    before = list(workdir.iterdir())
    Path("model.pt").touch()
    code = run(line.split())
    assert text in capsys.readouterr().err
    assert code == 2
    assert set(workdir.iterdir()) == {*before, workdir / "model.pt"}
