"""The structure: which way imports go, where printing may happen, what is documented."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from speechscope import registry
from speechscope.recipes import RECIPES
from speechscope.registry import Registry
from speechscope.settings import declared, make
from speechscope.stages import STAGES, settings_class

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "speechscope"

# From the top of the ladder to its foot: a module imports from lower steps, or within its own
# room. Rooms on one step do not know each other.
LADDER = (
    ("__main__",),
    ("cli", "api"),
    ("stages",),
    ("manual",),  # of what commands take, for `help` and --help
    ("fast",),  # knows what it replaces; is found by name (`work.accelerators`)
    ("report",),
    ("scores",),
    ("navai",),  # built on relevance, and on the sounds of inversion
    ("training", "inversion", "relevance", "clustering"),
    ("networks",),
    ("synth",),
    ("corpus",),
    ("features",),
    ("work",),
    ("store",),
    ("settings", "registry"),
    ("recipes",),
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


def run_time(tree: ast.Module) -> ast.Module:
    """Return the module without what it imports for type checkers alone."""
    kept = [node for node in tree.body if not _is_checking(node)]
    return ast.Module(kept, [])


def _is_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    mine = component(path)
    if mine == "__init__":
        return  # the front door: what it names is loaded when it is asked for
    for name in imports(run_time(ast.parse(path.read_text()))):
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


@pytest.mark.parametrize("name", STAGES)
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


def test_a_stage_and_its_settings_are_documented_and_sourced() -> None:
    for name in STAGES:
        kind = settings_class(name)
        assert "Example: speechscope" in (kind.__doc__ or ""), name
        for entry in declared(kind):
            assert entry.said.help.endswith("."), (name, entry.name)
            assert entry.said.source.strip() or entry.said.kind != "setting", (name, entry.name)


def test_recipes_override_settings_that_there_are_and_say_why() -> None:
    for recipe, stages in RECIPES.items():
        for name, table in stages.items():
            kind = settings_class(name)
            known = {entry.name: entry for entry in declared(kind)}
            for key, value in table.items():
                assert known[key].said.kind == "setting" and value.source.strip(), (recipe, key)
            required = {e.name: "x" for e in known.values() if e.default is ...}
            make(kind, name, required, recipe)


def test_the_top_is_small() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 12
    assert len([path for path in MODULES if len(path.read_text().splitlines()) > 3]) <= 216
    rooms = {path.parent.name for path in MODULES if path.parent.parent == PACKAGE}
    assert rooms <= {
        *("recipes", "stages", "store", "work", "corpus", "synth", "features", "networks"),
        *("training", "inversion", "relevance", "navai", "clustering", "scores", "report", "fast"),
    }


LONGEST, LONG, MOST_LONG = 100, 60, 10
MOST_PARAMETERS = 12


def test_functions_are_short() -> None:
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                name = f"{path.relative_to(PACKAGE)}:{node.name}"
                assert lines <= LONGEST, (name, lines)
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                assert len(arguments) <= MOST_PARAMETERS, name
                if lines > LONG:
                    long.append(name)
    assert len(long) <= MOST_LONG, long


def test_only_accelerators_know_the_accelerators() -> None:
    for path in MODULES:
        if component(path) != "fast":
            names = set(imports(ast.parse(path.read_text())))
            assert not any(name.startswith("speechscope.fast") for name in names), path


REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]


@pytest.mark.parametrize("kind", REGISTRIES, ids=lambda kind: str(kind._kind))
def test_every_name_that_is_offered_can_be_had(kind: "Registry[object]") -> None:
    assert kind.names()
    for name in kind.names():
        assert kind[name] is not None
