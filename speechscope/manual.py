"""Help as plain text of any width, and the pages of the documentation that come along."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from speechscope.settings import Declared

NARROWEST, WIDEST = 40, 100
COLUMN = 26
"""Where the text of an option begins, if the line has room for it beside the flags."""
ROOM = 70
"""Columns of a line that has."""
KINDS = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}
PAGES = {
    "demo": "tutorial",
    "synth": "tutorial",
    "prepare": "layouts",
    "train": "tutorial",
    "decode-train": "autoencoders",
    "invert": "inversion",
    "relevance": "relevance",
    "maximize": "maximize",
    "navai": "navai",
    "cluster": "clustering",
    "listen": "other-speech",
    "merge": "growing",
    "score": "reading",
    "report": "report",
    "export": "export",
    "info": "artifacts",
    "check": "reliability",
    "doctor": "reliability",
    "help": "tutorial",
}
"""The page to read on a command."""
EXAMPLES: dict[str, tuple[str, ...]] = {
    "synth": ("synth talk/ --speakers 8 --language de",),
    "prepare": ("prepare mine/ --dry-run", "prepare mine/ --recipe pellegrini2016 -o frames.zarr"),
    "train": ("train --resume", "train other.zarr --from model.pt -o adapted.pt"),
    "decode-train": (
        "decode-train --layer 9 --method regress",
        "decode-train --recipe riemens2015 -o units.pt",
    ),
    "invert": (
        "invert --layer conv1,pool3 --method bp --items 0:20 --wav heard/",
        "invert --layer 9 --method regress --input talk.wav --all",
    ),
    "relevance": (
        "relevance --method guided,lrp --target label --per-class 2",
        "relevance --input talk.wav --all --textgrid grids/",
    ),
    "maximize": ("maximize --layer conv1 --unit 0,1,2 --wav heard/",),
    "navai": ("navai --align none,max-lrp", "navai --by speaker --class aa,iy"),
    "cluster": ("cluster --layer input,pool1,pool2 --clusters auto",),
    "listen": ("listen --input talk.wav --method guided,lrp -o heard",),
    "merge": ("merge relevance-*-of-4.zarr",),
    "score": ("score model.pt other.pt --by phone", "score inversion.zarr --json"),
    "report": ("report inversion.zarr relevance.zarr", "report --format pdf -o figures"),
    "export": ("export relevance.zarr --to textgrid", "export clusters.zarr --to mat"),
    "info": ("info model.pt --json",),
    "check": ("check *.zarr",),
    "doctor": ("doctor --device cpu",),
    "help": ("help", "help relevance"),
}
"""More examples than the one at the end of a command's description."""

EXIT_CODES = {
    0: "Done.",
    1: "Failed, or what is to be read is not there.",
    2: "Wrong usage: a flag, a variable or speechscope.toml.",
    3: "An artifact that is damaged, foreign or does not match.",
    4: "Done and written, but some items were left out; each is named.",
    130: "Interrupted.",
    143: "Terminated.",
}


def width() -> int:
    """Return the columns that help is written for."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))


def folder() -> Path:
    """Return where the pages of the documentation are: in the package, or beside it."""
    package = Path(__file__).parent
    installed = package / "docs"
    return installed if installed.is_dir() else package.parent / "docs"


def topics() -> dict[str, Path]:
    """Return the pages by name."""
    return {path.stem: path for path in sorted(folder().glob("*.md"))}


def heading(path: Path) -> str:
    """Return the first line of a page."""
    with path.open(encoding="utf-8") as file:
        return file.readline().strip("# \n")


def wrapped(text: str, columns: int, indent: str = "") -> str:
    """Return a text in lines of at most so many columns."""
    return textwrap.fill(
        " ".join(text.split()), columns, initial_indent=indent, subsequent_indent=indent,
        break_on_hyphens=False,
    )  # fmt: skip


def entry(head: str, text: str, columns: int) -> str:
    """Return what is explained beside its explanation, or above it where that needs the room."""
    if columns < ROOM:
        return f"{wrapped(head, columns, '  ')}\n{wrapped(text, columns, '      ')}"
    body = wrapped(text, columns, " " * COLUMN)
    if len(head) + 4 > COLUMN:
        return f"  {head}\n{body}"
    return f"  {head}".ljust(COLUMN) + body[COLUMN:]


def command_page(
    name: str,
    text: str,
    entries: Sequence[Declared],
    spoken: Sequence[tuple[str, str]],
    usual: str = "",
) -> str:
    """Return the help of a command.

    Parameters
    ----------
    text
        What it does; the last paragraph is an example.
    entries
        Its settings.
    spoken
        Flags and texts of the options of how it speaks.
    usual
        Where it writes without ``-o``.
    """
    columns = width()
    positional = [one for one in entries if one.said.kind == "argument"]
    usage = " ".join([f"speechscope {name}", *(placeholder(one) for one in positional)])
    parts = [wrapped(f"Usage: {usage} [options]", columns), ""]
    *paragraphs, example = text.split("\n\n")
    for paragraph in paragraphs:
        parts += [wrapped(paragraph, columns), ""]
    parts += [entry(placeholder(one), told(one, usual), columns) for one in positional]
    groups = (
        ("Settings", [o for o in entries if o.flags and o.said.kind in ("setting", "option")]),
        ("Common options", [o for o in entries if o.flags and o.said.kind == "common"]),
    )
    for title, group in groups:
        lines = [
            entry(flags(one), told(one, usual), columns) for one in group if one not in positional
        ]
        if title == "Common options":
            lines += [entry(head, said, columns) for head, said in spoken]
        parts += ["", f"{title}:", *lines] if lines else []
    parts += ["", "Examples:", wrapped(example.removeprefix("Example:"), columns, "  ")]
    parts += [wrapped(f"speechscope {line}", columns, "  ") for line in EXAMPLES.get(name, ())]
    parts += ["", wrapped(f"To read: speechscope help {PAGES.get(name, name)}", columns)]
    return "\n".join(parts) + "\n"


def placeholder(one: Declared) -> str:
    """Return what an argument is called."""
    return one.said.metavar or one.name.upper()


def flags(one: Declared) -> str:
    """Return the flags of an option, with what follows them."""
    names = ", ".join(sorted(one.flags, key=len))
    if one.type is bool:
        return names.replace("/", ", ")
    kind = one.said.metavar or ("NAME" if one.choices else KINDS[one.type])
    return f"{names} {kind}{',…' if one.many and not one.said.metavar else ''}"


def told(one: Declared, usual: str = "") -> str:
    """Return what is said of a setting: its text, what it may be, and its default."""
    text, said = one.said.help, one.said
    if said.others and callable(said.choices):
        text += f" Known: {', '.join(one.choices)}."
    elif one.choices and not said.others:
        text += f" {'Any' if one.many else 'One'} of {', '.join(one.choices)}."
    if said.low is not None and said.high is not None:
        text += f" {said.low:g} to {said.high:g}."
    elif said.low is not None and one.type in (int, float):
        text += f" At least {said.low:g}."
    default = one.default
    if one.name == "output" and usual:
        return f"{text} Default: {usual}."
    if default is None or default is False or default in (..., ()) or one.name == "recipe":
        return text
    shown = "yes" if default is True else default
    if isinstance(default, tuple):
        shown = ",".join(map(str, default))
    return f"{text} Default: {shown}."


def commands_page(text: str, summaries: Sequence[tuple[str, str]]) -> str:
    """Return the help of the program: its commands, in the order of the pipeline."""
    columns = width()
    parts = [wrapped("Usage: speechscope [options] COMMAND …", columns), ""]
    for paragraph in text.split("\n\n"):
        parts += [wrapped(paragraph, columns), ""]
    parts += ["Commands:", *(entry(name, said, columns) for name, said in summaries)]
    options = (
        ("-C DIR", "Run as if started in DIR."),
        ("--debug", "Show a traceback on an error."),
        ("--version", "Print the version."),
        ("-h, --help", "Show this; after a command, what it takes."),
    )
    parts += ["", "Options:", *(entry(head, said, columns) for head, said in options)]
    parts += ["", "Exit codes:", *(entry(str(c), said, columns) for c, said in EXIT_CODES.items())]
    parts += ["", wrapped("Pages to read without a network: speechscope help", columns)]
    return "\n".join(parts) + "\n"


def encodable(error: Any) -> tuple[bytes, int]:
    r"""Encode what a stream cannot: bytes of file names as they are, others as ``\u…``.

    Raises
    ------
    UnicodeError
        It is not of encoding.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return b"".join(_encoded(part)), error.end


def _encoded(text: str) -> Iterator[bytes]:
    for character in text:
        number = ord(character)
        kept = 0xDC80 <= number <= 0xDCFF
        yield bytes([number - 0xDC00]) if kept else character.encode("ascii", "backslashreplace")
