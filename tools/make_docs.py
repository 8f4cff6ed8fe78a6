"""Write man/, completions/ and docs/settings.md from the program itself.

``--check`` only compares, and exits with 1 if any is stale.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from speechscope.cli import PRESENTATION, USUAL, build
from speechscope.manual import EXIT_CODES
from speechscope.recipes import DEFAULT, RECIPES
from speechscope.settings import Declared, declared
from speechscope.stages import STAGES, settings_class, stage

ROOT = Path(__file__).resolve().parents[1]
SHELLS = {"bash": "speechscope.bash", "zsh": "_speechscope", "fish": "speechscope.fish"}


def escape(text: str) -> str:
    """Return text safe for roff."""
    quoted = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in ".'" else line for line in quoted.splitlines())


def option_lines(parameter: Any) -> list[str]:
    """Return the roff of one argument or option."""
    if parameter.param_type_name == "argument":
        head = f"\\fI{escape(parameter.metavar or parameter.name.upper())}\\fR"
    else:
        names = [*parameter.opts, *parameter.secondary_opts]
        head = ", ".join(f"\\fB{escape(name)}\\fR" for name in sorted(names, key=len))
        if not getattr(parameter, "is_flag", False):
            head += f" \\fI{parameter.name.upper().replace('_', '-')}\\fR"
    text = escape(parameter.help or "")
    envvar = getattr(parameter, "envvar", None)
    if envvar:
        text += f" Variable: {envvar}."
    return [".TP", head, text]


def page(name: str, command: Any, subcommands: list[str]) -> str:
    """Return the man page of a command."""
    title = name.replace(" ", "-")
    paragraphs = [p for p in (command.help or "").split("\n\n") if p.strip()]
    summary = " ".join(paragraphs[0].split()).rstrip(".")
    lines = [f'.TH "{title.upper()}" "1" "" "speechscope" "speechscope manual"']
    lines += [".SH NAME", f"{escape(title)} \\- {escape(summary)}", ".SH SYNOPSIS"]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(f"\\fI{escape(p.metavar or p.name.upper())}\\fR" for p in arguments)
    lines.append(f"\\fB{name}\\fR [options] {usage or ('COMMAND' if subcommands else '')}".rstrip())
    lines.append(".SH DESCRIPTION")
    for paragraph in paragraphs:
        lines += [".PP", escape(" ".join(paragraph.split()))]
    lines.append(".SH OPTIONS")
    for parameter in command.params:
        if parameter.name in ("install_completion", "show_completion"):
            continue
        lines += option_lines(parameter)
    if subcommands:
        lines += [".SH STAGES"]
        for sub in subcommands:
            help_text = command.commands[sub].help.split("\n\n")[0]
            lines += [".TP", f"\\fBspeechscope\\-{escape(sub)}\\fR(1)", escape(help_text)]
        lines += [
            ".SH FILES",
            ".TP",
            "\\fIspeechscope.toml\\fR",
            "Defaults of the working directory: option names as keys, at the top for all commands "
            "or in a table named after one. Flags beat SPEECHSCOPE_* variables, which beat the "
            "file, which beats the recipe.",
        ]
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES.items():
        lines += [".TP", str(code), meaning]
    others = ["speechscope"] if not subcommands else []
    others += [f"speechscope\\-{escape(c)}" for c in STAGES if f"speechscope {c}" != name]
    lines += [".SH SEE ALSO", ", ".join(f"\\fB{other}\\fR(1)" for other in others)]
    return "\n".join(lines) + "\n"


HEAD = """# Every setting, and where its default is from

Written from the program. A flag `--name` is the keyword `name` in Python (`-` becomes `_`), the key
`name` in `speechscope.toml` and the variable `SPEECHSCOPE_NAME`. Defaults are those of the recipe
`churchman2015`; what the other recipes set otherwise stands below each table. Rows without a source
are options of one run, which no recipe sets.
"""


def shown(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def row(entry: Declared) -> str:
    """Return the row of a setting."""
    said = entry.said
    text = said.help
    if entry.choices and not said.others:
        text += f" {'Any' if entry.many else 'One'} of {', '.join(entry.choices)}."
    low, high = ("" if bound is None else f"{bound:g}" for bound in (said.low, said.high))
    bounds = f" {low} to {high}." if low and high else f" At least {low}." if low else ""
    name = ", ".join(f"`{flag}`" for flag in entry.flags) or f"`{entry.name}` (Python)"
    default = shown(entry.default)
    cells = (name, text + bounds, default and f"`{default}`", said.source)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def common_options() -> list[str]:
    """Return the rows of options that commands share, each with the commands that have it."""
    shared: dict[str, tuple[str, list[str]]] = {}
    for name in STAGES:
        spoken = [PRESENTATION[how] for how in getattr(stage(name), "PRESENTATION", USUAL)]
        for entry in (*declared(settings_class(name)), *spoken):
            if entry.said.kind == "common":
                flags = ", ".join(f"`{flag}`" for flag in entry.flags)
                shared.setdefault(flags, (entry.said.help, []))[1].append(name)
    return [f"| {flags} | {text} | {', '.join(of)} |" for flags, (text, of) in shared.items()]


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [HEAD, "## Common options", "", "| option | what it is | commands |"]
    lines += ["| --- | --- | --- |", *common_options(), ""]
    for name in STAGES:
        entries = [e for e in declared(settings_class(name)) if e.said.kind != "common"]
        entries = [e for e in entries if e.flags and e.said.kind != "argument"]
        if not entries:
            continue
        lines += [f"## {name}", "", "| setting | what it is | default | source |"]
        lines += ["| --- | --- | --- | --- |", *map(row, entries), ""]
        for recipe, tables in RECIPES.items():
            if recipe == DEFAULT or name not in tables:
                continue
            lines.append(f"`--recipe {recipe}`:")
            for key, value in tables[name].items():
                lines.append(f"- `{key.replace('_', '-')}` `{shown(value.value)}`: {value.source}")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def documents() -> dict[Path, str]:
    """Return every generated file."""
    group: Any = typer.main.get_command(build())
    names = list(STAGES)
    files = {
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "man" / "speechscope.1": page("speechscope", group, names),
    }
    for name in names:
        text = page(f"speechscope {name}", group.commands[name], [])
        files[ROOT / "man" / f"speechscope-{name}.1"] = text
    for shell, file in SHELLS.items():
        done = subprocess.run(
            [sys.executable, "-m", "speechscope"],
            env={**os.environ, "_SPEECHSCOPE_COMPLETE": f"source_{shell}"},
            capture_output=True,
            text=True,
            check=True,
        )
        # Arguments are paths: fish would offer none of them.
        files[ROOT / "completions" / file] = done.stdout.strip().replace("--no-files ", "") + "\n"
    return files


def main() -> int:
    """Write the files, or with --check compare them with what is there."""
    files = documents()
    folders = {path.parent for path in files} - {ROOT / "docs"}
    present = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    if "--check" in sys.argv[1:]:
        stale = [
            path for path, text in files.items() if not path.exists() or path.read_text() != text
        ]
        stale += sorted(present - files.keys())
        for path in stale:
            print(f"stale: {path.relative_to(ROOT)} (run tools/make_docs.py)")
        return 1 if stale else 0
    for path in present - files.keys():
        path.unlink()
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
