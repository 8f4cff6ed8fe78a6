"""What the documents say is true: their commands parse, and the tutorial's run."""

import ast
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import reports
import typer

from speechscope import __version__, errors, manual
from speechscope.cli import INTERRUPTED, _option_names, build, run
from speechscope.store.artifact import Artifact
from speechscope.store.record import FORMAT_VERSION

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ENDS = {"|", "&&", "||", ";", ">", "2>", "&"}
GROUP = typer.main.get_command(build())


def blocks(text: str, language: str | None = None) -> list[str]:
    """Return the code blocks of a document: fenced ones of a language, or all, indented as well."""
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    if language is not None:
        return [body for name, body in fenced.findall(text) if name == language]
    indented = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", fenced.sub("", text), re.MULTILINE)
    return [body for _, body in fenced.findall(text)] + indented


def commands(block: str) -> list[list[str]]:
    """Return what is typed after ``speechscope`` in a block of shell commands."""
    found: list[list[str]] = []
    for line in block.replace("\\\n", " ").replace("&&\n", "&& ").splitlines():
        if not re.match(r"\s*(\w+=\S+ |srun |pip install .*&& )*(torchrun .*|speechscope )", line):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] | None = None
        for word in lexer:
            if word in ENDS:
                words = None
            elif word == "speechscope" and words is None:
                words = []
                found.append(words)
            elif words is not None:
                words.append(word)
    return [words for words in found if not any("…" in word for word in words)]


def described() -> list[tuple[str, list[str]]]:
    return [
        (path.name, words)
        for path in DOCUMENTS
        for block in blocks(path.read_text())
        for words in commands(block)
    ]


@pytest.mark.parametrize(
    ("document", "words"), described(), ids=lambda value: value if isinstance(value, str) else None
)
def test_every_command_in_the_documents_is_one(document: str, words: list[str]) -> None:
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] == "-C" else words[1:]
    if words:
        GROUP.commands[words[0]].make_context(words[0], words[1:])  # type: ignore[attr-defined]


def test_commands_are_found_in_blocks() -> None:
    text = (
        "text\n\n    speechscope train -q \\\n      | speechscope score - > x\n\n```sh\nls\n```\n"
    )
    assert [commands(block) for block in blocks(text)] == [
        [],
        [["train", "-q"], ["score", "-"]],
    ]
    with pytest.raises(typer.BadParameter.__mro__[1]):
        test_every_command_in_the_documents_is_one("", ["train", "--no-such-option"])


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_option_is_explained() -> None:
    for name, options in _option_names(GROUP).items():
        helps = {p.name: getattr(p, "help", None) for p in GROUP.commands[name].params}  # type: ignore[attr-defined]
        for option, parameter in options.items():
            assert helps[parameter], f"{name} --{option}"


SMALL = {
    "epochs": 1,
    "together": 1,
    "steps": 5,
    "proposals": 40,
    "align-items": 50,
    "align-epochs": 1,
    "samples": 2,
    "correct": "false",  # after one epoch the network may be right about one class alone
}


@pytest.mark.parametrize("name", ["tutorial.md"])
def test_the_tutorial_runs(
    name: str, workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora.timit(workdir / "timit", speakers=4, sentences=4)
    for option, value in SMALL.items():
        monkeypatch.setenv(f"SPEECHSCOPE_{option.replace('-', '_').upper()}", str(value))
    shell = "".join(blocks((ROOT / "docs" / name).read_text(), "sh"))
    typed = commands(shell)
    assert len(typed) > 10
    for words in typed:
        assert run([*words]) in (0, 4), " ".join(words)


@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_the_examples_in_python_run(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpora.timit(workdir / "timit", speakers=2, sentences=2)
    small = ["--epochs", "1", "--per-class", "10", "-q"]
    assert run(["prepare", "timit", "-q"]) == run(["train", *small]) == 0
    assert run(["decode-train", "--layer", "1,9", "--together", "1", *small]) == 0
    assert run(["invert", "--layer", "1", "--method", "bp", "--steps", "2", "-q"]) == 0
    explain = ["relevance", "--method", "lrp", "--rule", "epsilon", "--epsilon", "1e-6", "-q"]
    assert run([*explain, "--items", "0:4"]) == 0
    names: dict[str, Any] = {}
    for block in blocks((ROOT / "docs" / "python.md").read_text(), "python"):
        exec(compile(block, "python.md", "exec"), names)
    commanded = Artifact(Path("relevance.zarr")).read("relevance", 0)
    np.testing.assert_allclose(names["shares"], commanded, rtol=1e-5, atol=1e-7)
    assert names["of_labels"].shape == names["inputs"].shape
    assert names["waveforms"].shape == (4, 2554)


def test_every_array_is_documented(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpora.timit(workdir / "timit", speakers=2, sentences=2)
    small = ["--epochs", "1", "--per-class", "10", "-q"]
    assert run(["prepare", "timit", "-q"]) == run(["train", *small]) == 0
    assert run(["invert", "--layer", "1", "--method", "bp", "--steps", "2", "-q"]) == 0
    assert run(["relevance", "--items", "0:2", "-q"]) == 0
    assert run(["maximize", "--layer", "conv1", "--unit", "0", "--steps", "1", "-q"]) == 0
    assert run(["navai", "--exclude", "zh", "--by", "phone", "--least", "1", "-q"]) == 0
    some = ["--reduce", "none,pca", "--algorithm", "kmeans", "--per-class", "3", "--any"]
    assert run(["cluster", "--layer", "input,conv1", *some, "-q"]) == 0
    learn = ["decode-train", "--layer", "1", "--method", "regress", "--regress-epochs", "0"]
    assert run([*learn, "--align-items", "40", "-q"]) == 0
    text = (ROOT / "docs" / "artifacts.md").read_text()
    assert f"The format version is {FORMAT_VERSION}." in text
    assert reports.undocumented(workdir) == []


def test_the_index_of_papers_leads_to_what_it_says() -> None:
    rows = re.findall(r"^\| (\w+ \d{4}), ([^|]+?) \|.*?`(\S+\.py)` \| `speechscope ([^`]+)` \|$",
                      (ROOT / "docs" / "papers.md").read_text(), re.MULTILINE)  # fmt: skip
    assert len(rows) > 30 and len({paper for paper, *_ in rows}) == 5
    for paper, place, file, command in rows:
        text = " ".join((ROOT / file).read_text().split())
        assert re.search(rf"{paper}[^.]{{0,40}}, {re.escape(place)}", text), (paper, place, file)
        name, *words = command.split()
        GROUP.commands[name].make_context(name, words)  # type: ignore[attr-defined]


CONDA = {"torch": "pytorch", "soundfile": "pysoundfile", "matplotlib": "matplotlib-base"}
"""What conda-forge calls them."""


def test_the_citation_the_recipe_and_the_site_are_of_this_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {project['version']}\n" in citation and "cff-version: 1.2.0" in citation
    releases = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert project["version"] == __version__ == next(r for r in releases if r != "Unreleased")
    recipe = (ROOT / "packaging" / "recipe.yaml").read_text()
    wanted = [re.split(r"(?=[><=])", line, maxsplit=1) for line in project["dependencies"]]
    needs = re.search(r"  run:\n((?:    - .*\n)+)", recipe)
    assert needs and [line.split() for line in needs[1].replace("- ", "").splitlines()] == [
        ["python", project["requires-python"]],
        *([CONDA.get(name, name), bounds] for name, bounds in wanted),
    ]
    assert f'version: "{project["version"]}"' in recipe
    site = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r"([\w-]+\.md)", site))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")}


def said(node: ast.AST) -> str:
    """Return a text of the program with ``…`` for what varies; "" of what is none."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            said(part) if isinstance(part, ast.Constant) else "…" for part in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_messages_that_are_explained_are_those_of_the_program() -> None:
    sources = [ast.parse(path.read_text()) for path in (ROOT / "speechscope").rglob("*.py")]
    spoken = "\n".join(said(node) for tree in sources for node in ast.walk(tree))
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 40
    assert not [message for message in messages if message not in spoken]


def test_every_exit_code_is_documented() -> None:
    kinds = [kind for kind in vars(errors).values() if hasattr(kind, "exit_code")]
    codes = {0, INTERRUPTED, *(kind.exit_code for kind in kinds)}
    assert codes == set(manual.EXIT_CODES)
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == codes
    (line,) = re.findall(r"^Exit codes: ([^.]+)\.", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {int(code) for code in re.findall(r"\b\d+\b", line)} == codes


def test_every_option_is_documented() -> None:
    sections = re.split(r"^## ", (ROOT / "docs" / "settings.md").read_text(), flags=re.MULTILINE)
    told = {section.split("\n")[0]: section for section in sections}
    for name, options in _option_names(GROUP).items():
        for option in options:
            own = rf"[`/]--{option}[`/]"
            common = re.search(rf"{own}.*\b{name}\b", told["Common options"])
            assert common or re.search(own, told.get(name, "")), f"{name} --{option}"
