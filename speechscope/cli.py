"""The ``speechscope`` command: its subcommands in pipeline order, and its exit codes."""

import errno
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from speechscope import __version__, settings
from speechscope.errors import ItemsSkipped, SpeechscopeError, Terminated, UsageProblem
from speechscope.stages.options import variable
from speechscope.stages.output import printable

# In the order of the pipeline; each is the function of that name in its module.
COMMANDS = (
    "synth",
    "prepare",
    "train",
    "decode-train",
    "invert",
    "relevance",
    "maximize",
    "navai",
    "cluster",
    "merge",
    "score",
    "report",
    "info",
    "check",
)

INTERRUPTED = 130
AGAIN_SECONDS = 0.005
# Typer's usage errors, without importing the click inside it (its home changed between releases).
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="speechscope",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speechscope {__version__}")
        raise typer.Exit


@app.callback()
def speechscope(
    context: typer.Context,
    directory: Annotated[
        Path | None,
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
    context.default_map = settings.load(_option_names(context.command))


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


def _paragraphs(text: str) -> str:
    """Join the lines of each paragraph: the terminal wraps them to its own width."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


for _name in COMMANDS:
    _module = importlib.import_module(f"speechscope.stages.{_name.replace('-', '_')}")
    app.command(_name, help=_paragraphs(_module.command.__doc__))(_module.command)


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
    code = run(sys.argv[1:] if arguments is None else arguments)
    # All is done: what comes now must not turn into a traceback on the way out.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; report what goes wrong in one line; return the exit code."""
    debug = "--debug" in arguments or bool(os.environ.get(variable("--debug")))
    try:
        code = app(args=list(arguments), prog_name="speechscope", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # some Typer releases turn the interrupt into its exit code
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt, Terminated) as error:
        if debug and not isinstance(error, _UsageError):
            import traceback

            traceback.print_exc()
        return _report(error)
    return code if isinstance(code, int) else 0


def _report(error: BaseException) -> int:
    """Print an error as one line on standard error and return its exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader of our output is gone; a second attempt at exit would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, ItemsSkipped):
        for line in error.skipped:
            _say(f"skipped {line}")
        _say(str(error))
        return error.exit_code
    if isinstance(error, SpeechscopeError):
        _say(f"error: {error}")
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        _say("interrupted")
        return INTERRUPTED
    if isinstance(error, Terminated):
        _say("terminated")
        return error.exit_code
    if isinstance(error, _UsageError):
        command = getattr(getattr(error, "ctx", None), "command_path", "speechscope")
        message = error.format_message()  # type: ignore[attr-defined]
        _say(f"error: {_one_line(message)} (see `{command} --help`)")
        return UsageProblem.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or str(error)
        hint = "; free some space and run it again" if error.errno == errno.ENOSPC else ""
        _say(f"error: {where}{reason}{hint}")
        return 1
    if isinstance(error, ModuleNotFoundError):
        _say(f"error: {error}; install the extra that brings it")
        return 1
    _say(f"error: {type(error).__name__}: {_one_line(str(error))} (--debug shows where)")
    return 1


def _say(line: str) -> None:
    sys.stderr.write(f"speechscope: {printable(line)}\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())
