"""The structure: which way imports go, where printing may happen, what is documented."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from speechscope import recipes
from speechscope.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "speechscope"

# From the top of the ladder to its foot: a module imports from lower steps, or within its own
# room. Rooms on one step do not know each other.
LADDER = (
    ("__main__",),
    ("cli",),
    ("stages",),
    ("fast",),  # knows what it replaces; is found by name (`work.accelerators`)
    ("api",),
    ("report",),
    ("scores",),
    ("navai",),  # built on relevance, and on the sounds of inversion
    ("training", "inversion", "relevance", "clustering"),
    ("networks",),
    ("synth", "corpus"),
    ("features",),
    ("work",),
    ("store",),
    ("recipes", "settings"),
    ("errors", "__init__"),
)
STEP = {name: len(LADDER) - number for number, names in enumerate(LADDER) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def component(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "speechscope":
                yield from (f"speechscope.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    mine = component(path)
    if mine == "__init__":
        return  # the front door: what it names is loaded when it is asked for
    tree = ast.parse(path.read_text())
    for name in imports(tree):
        parts = name.split(".")
        if parts[0] != "speechscope":
            continue
        theirs = parts[1] if len(parts) > 1 and parts[1] in STEP else "__init__"
        if mine != theirs:
            assert STEP[theirs] < STEP[mine], f"{mine} imports {theirs}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_commands_speak(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if component(path) not in ("cli", "stages"):
        assert "typer" not in {name.split(".")[0] for name in imports(tree)}
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert "print" not in names
    assert "click" not in {name.split(".")[0] for name in imports(tree)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"`speechscope {name}" in readme
    assert (ROOT / "man" / f"speechscope-{name}.1").is_file()


def test_man_pages_and_completions_are_fresh() -> None:
    script = ROOT / "tools" / "make_docs.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_names_in_the_recipes_are_those_of_the_library() -> None:
    from speechscope.features.representations import REPRESENTATIONS
    from speechscope.networks.classifiers import TABLES

    assert set(recipes.FEATURES) == set(REPRESENTATIONS)
    from speechscope.relevance.methods import METHODS
    from speechscope.relevance.rules import RULES

    assert set(recipes.NETWORKS) == {*TABLES, "wav2letter"}
    assert recipes.METHODS == tuple(METHODS)
    assert recipes.RULES == RULES
    from speechscope.clustering.algorithms import ALGORITHMS
    from speechscope.clustering.samples import FRAMES

    assert recipes.ALGORITHMS == tuple(ALGORITHMS)
    assert recipes.SAMPLE_FRAMES == FRAMES
    from speechscope.navai.alignment import ALIGNMENTS
    from speechscope.navai.splits import BY

    assert recipes.ALIGNMENTS == ALIGNMENTS
    assert recipes.SPLITS_OF_CLASSES == BY


def test_every_value_of_a_recipe_has_a_source() -> None:
    for recipe in recipes.RECIPES.values():
        for table in recipe.values():
            for name, value in table.items():
                assert value.source.strip(), name
                assert not value.choices or value.value in value.choices
