"""Options that mean the same in every command, defined once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from speechscope import recipes
from speechscope.errors import SpeechscopeError, UsageProblem

COMMON, SETTINGS = "Common options", "Settings"


def variable(flag: str) -> str:
    """Return the environment variable that stands for a flag."""
    return "SPEECHSCOPE_" + flag.split("/")[0].lstrip("-").replace("-", "_").upper()


def setting(flag: str, text: str, key: str, *, recipe: str = recipes.DEFAULT, **more: Any) -> Any:
    """Declare an option whose default is the recipe's value `key` (``section.name``)."""
    section, name = key.split(".")
    value = recipes.table(recipe, section)[name]
    names = value.choices
    if names:
        text = f"{text} One of {', '.join(names)}."
        more["autocompletion"] = lambda: list(names)
    return typer.Option(
        flag,
        help=f"{text} [dim]\\[{recipes.shown(key, recipe)}][/dim]",
        envvar=variable(flag),
        rich_help_panel=SETTINGS,
        show_default=False,
        show_envvar=False,
        **more,
    )


def common(flags: str, text: str, **more: Any) -> Any:
    """Declare an option that many commands share."""
    names = flags.split()
    return typer.Option(
        *names,
        help=text,
        envvar=variable(names[0]),
        show_envvar=False,
        rich_help_panel=COMMON,
        **more,
    )


Recipe = Annotated[
    str, common("--recipe", "The paper.", autocompletion=lambda: list(recipes.RECIPES))
]
Output = Annotated[Path | None, common("--output -o", "Where to write.", show_default=False)]
Force = Annotated[bool, common("--force -f", "Replace an existing output.")]
Device = Annotated[str, common("--device", "auto, cpu, cuda or cuda:N.")]
Seed = Annotated[int, common("--seed", "Seed of everything drawn.", min=0)]
Workers = Annotated[int, common("--workers", "Threads or processes to use.", min=1)]
Scheduler = Annotated[
    str | None,
    common(
        "--scheduler",
        "Have the workers of a Dask scheduler do it: its address or file.",
        metavar="ADDRESS",
        show_default=False,
    ),
]
Shard = Annotated[
    str | None,
    common(
        "--shard",
        "Do the I-th of N parts alone; speechscope merge puts them together.",
        metavar="I/N",
        show_default=False,
    ),
]
Quiet = Annotated[bool, common("--quiet -q", "No progress, no notes.")]
Verbose = Annotated[bool, common("--verbose -v", "More notes on standard error.")]
Json = Annotated[bool, common("--json", "One JSON object on standard output.")]
Csv = Annotated[bool, common("--csv", "Comma-separated values on standard output.")]
SkipBad = Annotated[bool, common("--skip-bad", "Accept left-out items: exit 0, not 4.")]
CorpusPath = Annotated[
    Path | None, common("--corpus", "The corpus it came from, if it moved.", show_default=False)
]
CheckpointPath = Annotated[
    Path | None,
    common("--checkpoint", "The model or decoder it came from, if it moved.", show_default=False),
]
Foreign = Annotated[
    str | None,
    common(
        "--model",
        "A network that is not ours, with --corpus.",
        metavar="PACKAGE.MODULE:FACTORY",
        show_default=False,
    ),
]
Items = Annotated[
    list[str] | None,
    typer.Option("--items", help="Test items by position: 0:100, 7.", show_default=False),
]
Everything = Annotated[bool, typer.Option("--all", help="All test items.")]
Wav = Annotated[
    Path | None,
    typer.Option("--wav", metavar="DIR", help="Write sounds there too.", show_default=False),
]
Weights = Annotated[Path | None, common("--weights", "Its weights.", show_default=False)]


def input_path(value: str) -> Path:
    """Return the path an INPUT argument means; ``-`` reads one from standard input.

    Raises
    ------
    SpeechscopeError
        Standard input is empty: the stage before failed.
    """
    if value != "-":
        return Path(value)
    line = typer.get_text_stream("stdin").readline().strip()
    if not line:
        raise SpeechscopeError("no path on standard input: the stage before failed")
    return Path(line)


def output_path(output: Path | None, default: str) -> Path:
    """Return where to write: the path given, or the default name in the working directory.

    Raises
    ------
    UsageProblem
        The next stage could not read it from a line.
    """
    path = output if output is not None else Path(default)
    if "\n" in str(path) or "\0" in str(path):
        raise UsageProblem(f"-o {str(path)!r}: a path that is passed on is one line")
    return path


def split_list(values: list[str] | None) -> list[str]:
    """Return the entries of a list option, comma-separated or repeated."""
    return [part.strip() for value in values or [] for part in value.split(",") if part.strip()]


def joined(values: list[str] | None) -> str | None:
    """Return the entries of a list option as one comma-separated text; None if none was given."""
    return ",".join(split_list(values)) or None


def exclusive(given: dict[str, bool]) -> None:
    """Refuse more than one of some options; says of each, by its flag, whether it was given.

    Raises
    ------
    UsageProblem
        More than one was given.
    """
    if sum(given.values()) > 1:
        *others, last = given
        raise UsageProblem(f"{', '.join(others)} and {last} exclude each other")


def among(text: str, names: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """Return the entries of a comma-separated list, each once.

    Raises
    ------
    UsageProblem
        One is not among `names`, or there is none.
    """
    found = tuple(dict.fromkeys(split_list([text])))
    unknown = [name for name in found if name not in names]
    if unknown or not found:
        raise UsageProblem(
            f"{flag} {unknown[0] if unknown else text}: choose from {', '.join(names)}"
        )
    return found


def count_or(text: str, names: tuple[str, ...], flag: str) -> int | str:
    """Return a whole number, or one of the names that stand for one.

    Raises
    ------
    UsageProblem
        It is neither.
    """
    if text in names:
        return text
    if not text.isdecimal():
        raise UsageProblem(f"{flag} {text}: give a whole number or {' or '.join(names)}")
    return int(text)
