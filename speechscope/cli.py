"""The ``speechscope`` command: its subcommands, made from the stages, and its exit codes."""

import codecs
import errno
import inspect
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from speechscope import __version__, manual, settings, stages
from speechscope.errors import ItemsSkipped, SpeechscopeError, Terminated, UsageProblem
from speechscope.settings import Declared, Setting, variable
from speechscope.stages import STAGES
from speechscope.stages.shared import Result, Written
from speechscope.work.progress import Console, printable

INTERRUPTED = 130
AGAIN_SECONDS = 0.005
# Typer's usage errors, without importing the click inside it (its home changed between releases).
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

PRESENTATION = {
    name: Declared(name, bool, False, False, False, Setting("common", text, flags=flags))
    for name, flags, text in (
        ("quiet", "--quiet -q", "No progress, no notes."),
        ("verbose", "--verbose -v", "More notes on standard error."),
        ("json", "--json", "One JSON object on standard output."),
        ("csv", "--csv", "Comma-separated values on standard output."),
    )
}
"""Options of how a command speaks; a stage has those its module lists as ``PRESENTATION``."""
USUAL = ("quiet", "json")


LAYERS = tuple(f"{stem}{n}" for stem in ("conv", "norm", "relu", "pool", "fc") for n in range(1, 6))
"""Names of layers that the shell is offered; a network may have others."""


def build(only: Collection[str] = STAGES) -> typer.Typer:
    """Return the app: with all commands, or only some; with none, with all but their options."""
    app = typer.Typer(
        name="speechscope",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        cls=_Commands,
    )
    app.callback()(speechscope)
    for name in only or STAGES:
        kind = stages.settings_class(name)
        paragraphs = (inspect.getdoc(kind) or "").split("\n\n")
        # The terminal wraps them to its own width.
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        known = settings.declared(kind) if only else ()
        app.command(name, help=text, cls=_Command)(_command(name, known))
    return app


class _Command(TyperCommand):
    """A command whose help is ours (`speechscope.manual`)."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the command."""
        name = str(self.name)
        speaks = getattr(stages.stage(name), "PRESENTATION", USUAL)
        spoken = [
            (", ".join(sorted(PRESENTATION[how].flags, key=len)), PRESENTATION[how].said.help)
            for how in speaks
        ]
        spoken.append(("-h, --help", "Show this."))
        kind = stages.settings_class(name)
        known, usual = settings.declared(kind), getattr(kind, "usual", "")
        formatter.write(manual.command_page(name, self.help or "", known, spoken, usual))


class _Commands(TyperGroup):
    """The program, whose help is ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the program."""
        said = {name: inspect.getdoc(stages.settings_class(name)) or "" for name in STAGES}
        summaries = [(name, " ".join(t.split("\n\n")[0].split())) for name, t in said.items()]
        text = inspect.getdoc(speechscope) or ""
        formatter.write(manual.commands_page(text, summaries))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speechscope {__version__}")
        raise typer.Exit


def speechscope(
    context: typer.Context,
    directory: Annotated[
        str | None,
        typer.Option("-C", metavar="DIR", help="Run as if started in DIR.", show_default=False),
    ] = None,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show a traceback on an error.", envvar=variable("--debug")),
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Open speech CNNs: train them, reconstruct their inputs, hear and score what they hold.

    A stage reads one artifact and writes one; each prints the path it wrote, so they can be piped.

    Example: speechscope prepare timit/ | speechscope train - | speechscope score -
    """
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise UsageProblem(f"-C {directory}: {error.strerror}") from error
    if Path(settings.FILE).is_file():
        every = _option_names(typer.main.get_command(build()))
        context.default_map = settings.load(every)


def _option_names(group: Any) -> dict[str, dict[str, str]]:
    """Return, per command, the parameter behind each option name."""
    return {
        name: {
            flag.lstrip("-"): parameter.name
            for parameter in command.params
            if parameter.param_type_name == "option"
            for flag in (*parameter.opts, *parameter.secondary_opts)
            if flag.startswith("--")
        }
        for name, command in group.commands.items()
    }


def _command(name: str, known: Sequence[Declared]) -> Callable[..., None]:
    """Return the function of a command, with the parameters that Typer makes options of."""
    speaks: tuple[str, ...] = getattr(stages.stage(name), "PRESENTATION", USUAL)

    def command(**values: Any) -> None:
        said = {how for how in PRESENTATION if values.pop(how, None)}
        if {"json", "csv"} <= said:
            raise UsageProblem("--json and --csv exclude each other")
        given = {key: value for key, value in values.items() if value not in (None, [])}
        for entry in known:
            if entry.said.kind == "argument" and entry.name in given:
                given[entry.name] = _from_pipe(given[entry.name])
        console = Console(quiet="quiet" in said, verbose="verbose" in said)
        form = "json" if "json" in said else "csv" if "csv" in said else "text"
        try:
            _show(stages.run(name, given, console), form, console)
        except SpeechscopeError as error:
            _show(error.done, form, console)
            raise

    own = [_parameter(entry) for entry in known if entry.said.kind == "argument" or entry.flags]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        own + [_parameter(PRESENTATION[how]) for how in speaks] if known else []
    )
    return command


def _parameter(entry: Declared) -> inspect.Parameter:
    """Return a setting as a parameter of a command; None: it was not given."""
    said = entry.said
    # A path stays a text until it is looked at: one of nothing would be the working directory.
    text = entry.many or entry.said.kind == "argument" or entry.type is Path
    base = str if text else entry.type
    kind: Any = list[base] if entry.many else base  # type: ignore[valid-type]
    if said.kind == "argument":
        required = entry.default is ... or entry.default == ()
        info = typer.Argument(
            metavar=said.metavar, help=said.help, show_default=False, autocompletion=_offered(entry)
        )
        return inspect.Parameter(
            entry.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if required else None,
            annotation=Annotated[kind if required else kind | None, info],
        )
    info = typer.Option(
        *entry.flags,
        help=manual.told(entry),
        metavar=said.metavar,
        envvar=variable(entry.flags[0]),
        show_default=False,
        show_envvar=False,
        autocompletion=_offered(entry),
    )
    return inspect.Parameter(
        entry.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, info],
    )


def _offered(entry: Declared) -> Callable[[str], list[str]] | None:
    """Return what offers the shell the names that go on from what is typed; of a list, the last."""
    names = LAYERS if entry.name == "layer" else entry.choices
    if not names:
        return None

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",") if entry.many else ("", "", incomplete)
        return [before + comma + name for name in names if name.startswith(last)]

    return complete


def _from_pipe(value: Any) -> Any:
    """Return what an argument means; ``-`` reads a path from standard input.

    Raises
    ------
    SpeechscopeError
        Standard input is empty: the stage before failed.
    """
    if isinstance(value, list | tuple):
        return [_from_pipe(one) for one in value]
    if value != "-":
        return value
    line = sys.stdin.readline().strip()
    if not line:
        raise SpeechscopeError("no path on standard input: the stage before failed")
    return line


def _show(result: Result | None, form: str, console: Console) -> None:
    """Print what a stage returned; data on standard output, what was left out as notes."""
    if result is None:  # such as of a process of a group that does not write
        return
    text = result.shown(form)
    if form == "text":
        text = "\n".join(map(printable, text.split("\n")))
    if text:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    if isinstance(result, Written) and result.skipped:
        if result.problem:
            raise ItemsSkipped(result.problem, result.skipped)
        for line in result.skipped:
            console.note(f"skipped {line}")


def _stop(number: int, frame: FrameType | None) -> None:
    # A second signal ends the process where it is: what a first one cleans up can be left.
    signal.signal(number, signal.SIG_DFL)
    # Of a call into Zarr that had not begun; what stopped it is said in one line.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _swallowed(found: "sys.UnraisableHookArgs") -> None:
    """Hear a signal again that came where Python lets no exception out, such as a finalizer."""
    numbers = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}
    number = numbers.get(found.exc_type)
    if number is None:
        sys.__unraisablehook__(found)
        return
    signal.signal(number, _stop)
    again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    # The networks here are small: threads that spin while they wait for each other's share of a
    # layer take the processor from whatever else runs (measured: 5 times slower beside one other
    # busy process, no faster alone).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and shells ask for
            signal.signal(number, _stop)
    sys.unraisablehook = _swallowed
    _open_streams()
    code = run(sys.argv[1:] if arguments is None else arguments)
    # All is done: what comes now must not turn into a traceback on the way out.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def _open_streams() -> None:
    """Make standard output and error take any text, and be there."""
    codecs.register_error("speechscope", manual.encodable)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="speechscope")


def run(arguments: Sequence[str]) -> int:
    """Run the command line; report what goes wrong in one line; return the exit code."""
    debug = "--debug" in arguments or bool(os.environ.get(variable("--debug")))
    try:
        completing = "_SPEECHSCOPE_COMPLETE" in os.environ
        app = build(STAGES if completing else [name for name in STAGES if name in arguments])
        code = app(args=list(arguments), prog_name="speechscope", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # some Typer releases turn the interrupt into its exit code
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt, Terminated) as error:
        if debug and not isinstance(error, _UsageError):
            import traceback

            traceback.print_exc()
        as_json = "--json" in arguments or bool(os.environ.get(variable("--json")))
        return _report(error, as_json)
    return code if isinstance(code, int) else 0


def _report(error: BaseException, as_json: bool) -> int:
    """Print an error as one line on standard error, or as an object; return its exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader of our output is gone; a second attempt at exit would complain again.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    code, message = _told(error)
    skipped = error.skipped if isinstance(error, ItemsSkipped) else ()
    if as_json:
        import json

        found = {"code": code, "kind": type(error).__name__, "message": message}
        said = {"error": found | ({"skipped": list(skipped)} if skipped else {})}
        sys.stderr.write(json.dumps(said) + "\n")
        return code
    for line in skipped:
        _say(f"skipped {line}")
    stopped = code in (INTERRUPTED, Terminated.exit_code)
    if stopped:  # or zarr's loop, left in the middle of a read, says so at the end
        logging.getLogger("asyncio").disabled = True
    plain = skipped or stopped
    _say(message if plain else f"error: {message}")
    return code


def _told(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an error, and its line."""
    if isinstance(error, SpeechscopeError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED, "interrupted"
    if isinstance(error, Terminated):
        return error.exit_code, "terminated"
    if isinstance(error, _UsageError):
        command = getattr(getattr(error, "ctx", None), "command_path", "speechscope")
        message = _one_line(error.format_message())  # type: ignore[attr-defined]
        return UsageProblem.exit_code, f"{message} (see `{command} --help`)"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or str(error)
        hint = "; free some space and run it again" if error.errno == errno.ENOSPC else ""
        return 1, f"{where}{reason}{hint}"
    if isinstance(error, ModuleNotFoundError):
        return 1, f"{error}; install the extra that brings it"
    return 1, f"{type(error).__name__}: {_one_line(str(error))} (--debug shows where)"


def _say(line: str) -> None:
    sys.stderr.write(f"speechscope: {printable(line)}\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())
