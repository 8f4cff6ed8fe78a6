"""The example scripts are shell, name commands and options that exist, and run from end to end."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import corpora
import numpy as np
import pytest
import typer
from numpy.typing import NDArray

from speechscope.cli import build, run

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))
GROUP = typer.main.get_command(build())
NAMED = r"\$\{([A-Z]+):-([^}]*)\}"
"""A setting with what it is by default."""

MADE = {
    "churchman2015": "networks/table.csv figure9.csv leak.csv figures/ report.html",
    "krug2018": "model.csv maximum.zarr navai.csv heard/ figures/ report.html",
    "muckenhirn2019": "phone.csv speaker.csv heard-phone/ heard-speaker/ figures/ report.html",
    "pellegrini2016": "clusters.csv auto.csv figures/ report.html",
    "riemens2015": "table1.csv networks/table.csv table3.csv table4.csv table5.csv figures/"
    " report.html",
}
"""What the header of each paper's script promises."""


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Return every command a script gives ``$scope``, with its words up to the end of it."""
    lines = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in line.split("$scope ")[1:]]
    typed = [re.split(r"\|\||&&|[;>]", part)[0].split() for part in parts]
    return [(words[0], words[1:]) for words in typed]


def defaults(text: str) -> dict[str, list[str]]:
    """Return the settings of a script by the variable that holds them, with their options."""
    found: dict[str, list[str]] = {}
    for variable, _, value in re.findall(rf"^ *(\w+)={NAMED}", text, flags=re.MULTILINE):
        found.setdefault(variable, []).extend(value.split())
    return found


def options(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("-")}


def known(command: str) -> set[str]:
    parameters = GROUP.commands[command].params  # type: ignore[attr-defined]
    return {name for p in parameters for name in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_shell_can_read_it(path: Path) -> None:
    done = subprocess.run(["sh", "-n", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_option_it_names_exists(path: Path) -> None:
    text = path.read_text()
    typed = commands(text)
    assert typed
    for command, words in typed:
        assert options(words) <= known(command)
    # Those a function of the script hands on too.
    bare = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE)
    anywhere = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", bare))
    assert anywhere <= set.union(*(known(command) for command, _ in typed))
    for variable, words in defaults(text).items():
        takers = [command for command, given in typed if f"${variable}" in given]
        assert takers or not options(words), f"no command takes ${variable}"
        for command in takers:
            assert options(words) <= known(command)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_its_header_names_what_it_makes_and_what_can_be_set(path: Path) -> None:
    text = path.read_text()
    header = text[: text.index("set -eu")]
    for name, _ in re.findall(NAMED, text):
        assert name in header or name in ("QUICK", "SPEECHSCOPE"), name
    for name in MADE.get(path.stem, "").split():
        assert name in header, name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_without_a_corpus_it_says_what_is_missing(path: Path, workdir: Path) -> None:
    done = subprocess.run(["sh", path], capture_output=True, text=True)
    assert done.returncode == 2
    assert "name a corpus folder" in done.stderr
    assert not list(workdir.iterdir())


@pytest.mark.heavy
@pytest.mark.parametrize("paper", MADE)
def test_it_runs_and_goes_on(paper: str, workdir: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run(["synth", "a corpus", "--speakers", "6", "--sentences", "4", "-q"]) == 0
    place = {"PYTHONPATH": str(EXAMPLES.parent), "SPEECHSCOPE": f"{sys.executable} -m speechscope"}
    typed = ["sh", str(EXAMPLES / f"{paper}.sh"), "a corpus", "its results"]
    for _ in range(2):
        done = subprocess.run(
            typed, env={**os.environ, "QUICK": "1", **place}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert "epoch" not in done.stderr  # the second time nothing is trained again
    for name in MADE[paper].split():
        made = workdir / "its results" / name
        assert any(made.iterdir()) if made.is_dir() else made.stat().st_size


NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
SLOW = "scores-in-a-table"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small corpus and a network, which notebooks find there."""
    folder = tmp_path_factory.mktemp("notebooks")
    corpora.timit(folder / "timit", speakers=4, sentences=4)
    small = ["--network", "freq", "--epochs", "1", "--per-class", "10", "-q"]
    assert run(["-C", str(folder), "prepare", "timit", "-q"]) == 0
    assert run(["-C", str(folder), "train", *small]) == 0
    return folder


class Audio:
    """Stands for what a notebook plays a sound by: it has to be one."""

    def __init__(self, data: NDArray[np.float32], rate: int) -> None:
        assert data.ndim == 1 and np.isfinite(data).all() and data.any() and rate == 16000


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.heavy] if path.stem == SLOW else [], id=path.stem)
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs(
    path: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    parent, stub = ModuleType("IPython"), ModuleType("IPython.display")
    vars(parent)["version_info"] = (9, 0)  # which matplotlib asks for
    vars(stub).update(Audio=Audio, display=lambda *_: None)
    monkeypatch.setitem(sys.modules, "IPython", parent)
    monkeypatch.setitem(sys.modules, "IPython.display", stub)
    for name in ("corpus.zarr", "model.pt"):
        (tmp_path / name).symlink_to(trained / name)
    monkeypatch.chdir(tmp_path)
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert len(cells) >= 4 and not any(cell["outputs"] for cell in cells)
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
    assert plt.get_fignums()
    plt.close("all")
