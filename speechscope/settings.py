"""How a setting is declared: once, as a field of its stage's dataclass.

The command line, the variables ``SPEECHSCOPE_*``, ``speechscope.toml``, manual pages, completions,
`info` and the keywords of the Python API all follow from the fields. A default is the value of the
recipe ``churchman2015`` or one that no paper speaks of; the other recipes are overrides
(`speechscope.recipes`).
"""

import dataclasses
import itertools
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from speechscope.errors import UsageProblem
from speechscope.recipes import DEFAULT, RECIPES

FILE = "speechscope.toml"
Names = tuple[str, ...] | Callable[[], tuple[str, ...]]
S = TypeVar("S")


@dataclass(frozen=True)
class Setting:
    """What is said of a setting beside its name, type and default.

    Parameters
    ----------
    kind
        ``argument``; ``setting``: a value of a recipe; ``option``: of this run alone; ``common``:
        an option that commands share.
    help
        One line.
    source
        Of the default: paper and section, or "chosen: why".
    low, high
        Bounds of a number, both allowed.
    choices
        The names there are, or what returns them (those of a registry).
    others
        Whether other values are allowed beside them.
    flags
        Of the command line, where they are not ``--name``; "" for none.
    record
        Its key in the record of an artifact, where that is not its name.
    metavar
        What the command line calls its value.
    """

    kind: str
    help: str
    source: str = ""
    low: float | None = None
    high: float | None = None
    choices: Names = ()
    others: bool = False
    flags: str | None = None
    record: str = ""
    metavar: str | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the dataclasses of all stages have.

    Attributes
    ----------
    given
        The names that were given, and not left to the recipe.
    """

    given: frozenset[str] = dataclasses.field(default=frozenset(), repr=False, compare=False)

    def refuse(self, names: Iterable[str], why: str) -> None:
        """Refuse settings that were given and mean nothing here.

        Raises
        ------
        UsageProblem
            One was: ``--width has no meaning for …``.
        """
        for entry in declared(type(self)):
            if entry.name in self.given and entry.name in names:
                raise UsageProblem(f"{entry.shown} has no meaning for {why}")

    def exclusive(self, *names: str) -> None:
        """Refuse more than one of some settings.

        Raises
        ------
        UsageProblem
            More than one was given.
        """
        if len(self.given.intersection(names)) > 1:
            shown = {entry.name: entry.shown for entry in declared(type(self))}
            *others, last = (shown[name] for name in names)
            raise UsageProblem(f"{', '.join(others)} and {last} exclude each other")


def setting(default: Any, text: str, source: str, **more: Any) -> Any:
    """Declare a value of a recipe: its default, its help, where the default is from (`Setting`)."""
    return _field(default, Setting("setting", text, source, **more))


def option(default: Any, text: str, **more: Any) -> Any:
    """Declare an option of a single run."""
    return _field(default, Setting("option", text, **more))


def common(default: Any, text: str, **more: Any) -> Any:
    """Declare an option that many commands share."""
    return _field(default, Setting("common", text, **more))


def argument(default: Any, text: str, **more: Any) -> Any:
    """Declare what stands on the command line without a flag."""
    return _field(default, Setting("argument", text, **more))


def _field(default: Any, said: Setting) -> Any:
    if default is ...:
        return dataclasses.field(metadata={"setting": said})
    return dataclasses.field(default=default, metadata={"setting": said})


@dataclass(frozen=True)
class Declared:
    """A field of a stage's dataclass.

    Parameters
    ----------
    name
        Of the field: the keyword of the Python API.
    type
        ``int``, ``float``, ``bool``, ``str`` or ``Path``.
    many
        Whether its value is a tuple of these.
    optional
        Whether it may be None.
    default
        ``...`` where there is none.
    said
        The rest.
    """

    name: str
    type: type
    many: bool
    optional: bool
    default: Any
    said: Setting

    @property
    def flags(self) -> tuple[str, ...]:
        """Its flags, the long one first."""
        if self.said.flags is not None:
            return tuple(self.said.flags.split())
        return ("--" + self.name.rstrip("_").replace("_", "-"),)

    @property
    def key(self) -> str:
        """Its key in the record of an artifact."""
        return self.said.record or self.name.rstrip("_")

    @property
    def shown(self) -> str:
        """How a message names it: by its flag."""
        first = self.flags[0].split("/")[0] if self.flags else self.name
        return first if self.said.kind != "argument" else (self.said.metavar or self.name)

    @property
    def choices(self) -> tuple[str, ...]:
        """The names it may have, those of a registry included; none: any."""
        names = self.said.choices
        return names() if callable(names) else names

    def converted(self, value: Any) -> Any:
        """Return a value as the field holds it.

        Raises
        ------
        UsageProblem
            It is of another type, out of bounds, or not one of the choices.
        """
        if value is None and self.optional:
            return None
        if not self.many:
            return self._one(value)
        parts = value if isinstance(value, tuple | list) else (value,)
        if self.type is str:
            parts = [part.strip() for text in parts for part in str(text).split(",")]
            parts = list(dict.fromkeys(part for part in parts if part))
        return tuple(self._one(part) for part in parts)

    def refuse_blank(self, value: Any) -> None:
        """Refuse a text of nothing, as of a variable that a script left unset; a path by itself.

        Raises
        ------
        UsageProblem
            The value is one.
        """
        texts = value if isinstance(value, tuple | list) else (value,)
        blank = [isinstance(text, str) and not text.strip(" ,") for text in texts]
        if any(blank) and (self.type is Path or all(blank)):
            raise UsageProblem(f"{self.shown} is empty: give {_KINDS[self.type]}, or leave it out")

    def _one(self, value: Any) -> Any:
        if self.type is str and isinstance(value, str | int | float):
            value = str(value)
        elif self.type is Path and isinstance(value, str | Path):
            value = Path(value)
        elif self.type is float and type(value) in (int, float):
            value = float(value)
        elif type(value) is not self.type:
            raise UsageProblem(f"{self.shown} {value!r}: give {_KINDS[self.type]}")
        low, high = self.said.low, self.said.high
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageProblem(f"{self.shown} {value}: give a finite number")
        if low is not None and value < low:
            raise UsageProblem(f"{self.shown} {value}: at least {low:g}")
        if high is not None and value > high:
            raise UsageProblem(f"{self.shown} {value}: at most {high:g}")
        if self.choices and value not in self.choices and not self.said.others:
            raise UsageProblem(f"{self.shown} {value}: choose from {', '.join(self.choices)}")
        return value


_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
}


def declared(kind: type) -> tuple[Declared, ...]:
    """Return the settings of a stage: its arguments, its own in their order, the shared ones."""
    hints = typing.get_type_hints(kind)
    found: list[list[Declared]] = [[] for _ in range(7)]  # in the order they are shown
    for field in dataclasses.fields(kind):
        if "setting" not in field.metadata:
            continue
        said = field.metadata["setting"]
        hint = hints[field.name]
        options = [t for t in typing.get_args(hint) if t is not types.NoneType]
        optional = types.NoneType in typing.get_args(hint)
        inner = options[0] if optional else hint
        many = typing.get_origin(inner) is tuple
        default = ... if field.default is dataclasses.MISSING else field.default
        base = typing.get_args(inner)[0] if many else inner
        rank = {"argument": 0, "setting": 3, "option": 3, "common": 5}[said.kind]
        rank = 2 if field.name == "recipe" else rank + (field.name not in kind.__annotations__)
        found[rank].append(Declared(field.name, base, many, optional, default, said))
    return tuple(itertools.chain(*found))


def make(kind: type[S], stage: str, given: Mapping[str, Any], recipe: str = DEFAULT) -> S:
    """Return a stage's settings: what is given, else what the recipe says.

    Raises
    ------
    UsageProblem
        There is no such recipe, a name is not a setting of the stage, or a value is not allowed.
    """
    known = {entry.name: entry for entry in declared(kind)}
    for name in given:
        if name not in known:
            raise UsageProblem(f"{name} is not a setting of {stage}; it has {', '.join(known)}")
        known[name].refuse_blank(given[name])
    if recipe not in RECIPES:
        raise UsageProblem(f"--recipe {recipe}: choose from {', '.join(RECIPES)}")
    values = {name: entry.default for name, entry in known.items()}
    values |= {name: value.value for name, value in RECIPES[recipe].get(stage, {}).items()}
    values |= given
    if "recipe" in known:
        values["recipe"] = recipe
    for name, entry in known.items():
        if values.get(name, ...) is ...:
            raise UsageProblem(f"{stage} needs {entry.shown}")
    chosen = {name: entry.converted(values[name]) for name, entry in known.items()}
    return kind(given=frozenset(given), **chosen)  # type: ignore[call-arg]


def record_of(settings: Any) -> dict[str, Any]:
    """Return the recipe and its values as the record of an artifact holds them."""
    found: dict[str, Any] = {"recipe": settings.recipe}
    for entry in declared(type(settings)):
        if entry.said.kind == "setting":
            value = getattr(settings, entry.name)
            found[entry.key] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return found


def of_record(kind: type[S], stage: str, record: Mapping[str, Any], **given: Any) -> S:
    """Return the settings that `record_of` put in a record, but for what is given.

    Of one from before there was a setting, it is the default, as everything was then.

    Raises
    ------
    UsageProblem
        A value is not allowed, such as the name of a method of a package that is not here.
    """
    values = [entry for entry in declared(kind) if entry.said.kind == "setting"]
    held = {e.name: record[e.key] for e in values if e.key in record}
    # Of several, none is recorded as a text of nothing.
    none = {e.name: () for e in values if e.many and held.get(e.name) == ""}
    return make(kind, stage, held | none | given)


def variable(flag: str) -> str:
    """Return the environment variable that stands for a flag."""
    return "SPEECHSCOPE_" + flag.split("/")[0].lstrip("-").replace("-", "_").upper()


def load(options: Mapping[str, Mapping[str, str]], path: Path = Path(FILE)) -> dict[str, Any]:
    """Read ``speechscope.toml``: defaults of the working directory, below flags and variables.

    Keys are option names without dashes in front. At the top of the file they hold for every
    command that has the option; in a table ``[train]`` they hold for that command.

    Parameters
    ----------
    options
        Per command, the parameter of each option name.

    Returns
    -------
    ``{command: {parameter: value}}``, empty where there is no file.

    Raises
    ------
    UsageProblem
        The file is not TOML, or names something that is not an option.
    """
    if not path.is_file():
        return {}
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UsageProblem(f"{path}: {error}") from error
    found: dict[str, dict[str, Any]] = {command: {} for command in options}
    for commands, key, value in _entries(content, options, path):
        name = key.replace("_", "-")
        users = [command for command in commands if name in options[command]]
        if not users:
            owner = commands[0] if len(commands) == 1 else "any command"
            raise UsageProblem(f"{path}: {key!r} is not an option of {owner}")
        for command in users:
            plain = [str(part) for part in value] if isinstance(value, list) else value
            found[command][options[command][name]] = plain
    return {command: table for command, table in found.items() if table}


def _entries(
    content: Mapping[str, Any], options: Mapping[str, Any], path: Path
) -> Iterator[tuple[list[str], str, Any]]:
    """Yield the entries of the file with the commands they are meant for, tables last."""
    for key, value in content.items():
        if not isinstance(value, dict):
            yield list(options), key, value
    for command, table in content.items():
        if isinstance(table, dict):
            if command not in options:
                raise UsageProblem(f"{path}: [{command}] is not a command")
            for key, value in table.items():
                yield [command], key, value
