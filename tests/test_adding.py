"""docs/adding.md is true: a package outside adds one of each, and the commands take it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import corpora
import pytest
import soundfile

DOCUMENT = Path(__file__).parents[1] / "docs" / "adding.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


def columns(source: Path, target: Path) -> None:
    """Write the layout of the document: label, start and length [s] a line, beside a .wav."""
    for path in sorted(source.rglob("*.PHN")):
        recording = next(p for p in path.parent.iterdir() if p.stem == path.stem and p != path)
        samples, rate = soundfile.read(recording)
        folder = target / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{path.stem}.wav", samples, rate)
        rows = [line.split() for line in path.read_text().splitlines()]
        lines = [f"{p} {int(a) / rate} {(int(b) - int(a)) / rate}" for a, b, p in rows]
        (folder / f"{path.stem}.col").write_text("\n".join(lines))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package of the document, as it is when installed, and a corpus in its layout."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    for language, text in BLOCKS:
        if language == "python":
            name = re.match(r"# (mine/\w+\.py)\n", text)
            assert name, text
            (tmp_path / name[1]).write_text(text)
    project = tomllib.loads(next(text for language, text in BLOCKS if language == "toml"))[
        "project"
    ]
    info = tmp_path / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    columns(corpora.timit(tmp_path / "timit", speakers=8, sentences=2), tmp_path / "corpus")
    return tmp_path


def speechscope(folder: Path, words: list[str]) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.run(
        [sys.executable, "-m", "speechscope", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_of_each_is_added_from_outside(package: Path) -> None:
    block = next(text for language, text in BLOCKS if language == "sh")
    lines = [line.split()[1:] for line in block.splitlines()]
    for words in lines:
        done = speechscope(package, words)
        assert done.returncode == 0, (words, done.stderr)
    assert "level [dB]" in done.stdout and "mxcorr" in done.stdout
    named = {"train": "small", "relevance": "energy", "prepare": "columns"}
    for command, name in named.items():
        assert name in speechscope(package, [command, "--help"]).stdout
    assert "cube-root" in speechscope(package, ["prepare", "x", "--features", "y"]).stderr
