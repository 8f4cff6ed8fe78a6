"""``speechscope.toml``: defaults of the working directory, below flags and variables."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechscope.errors import UsageProblem

FILE = "speechscope.toml"


def load(options: Mapping[str, Mapping[str, str]], path: Path = Path(FILE)) -> dict[str, Any]:
    """Read the settings file as defaults per command.

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
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UsageProblem(f"{path}: {error}") from error
    defaults: dict[str, dict[str, Any]] = {command: {} for command in options}
    for key, value in content.items():
        if isinstance(value, dict):
            continue
        users = [command for command, known in options.items() if _name(key) in known]
        if not users:
            raise UsageProblem(f"{path}: {key!r} is not an option of any command")
        for command in users:
            defaults[command][options[command][_name(key)]] = _plain(value)
    for command, table in content.items():
        if not isinstance(table, dict):
            continue
        if command not in options:
            raise UsageProblem(f"{path}: [{command}] is not a command")
        for key, value in table.items():
            if _name(key) not in options[command]:
                raise UsageProblem(f"{path}: {key!r} is not an option of {command}")
            defaults[command][options[command][_name(key)]] = _plain(value)
    return {command: table for command, table in defaults.items() if table}


def _name(key: str) -> str:
    return key.replace("_", "-")


def _plain(value: object) -> object:
    return [str(entry) for entry in value] if isinstance(value, list) else value
