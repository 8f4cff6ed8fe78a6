"""Progress on standard error, and only when a person is looking."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

Report = Callable[[int, int], None]  # (done, total)
EVERY = 60.0
"""Seconds between two lines of a log (chosen)."""


class Bar:
    """What a bar is told: called with (done, total); `said` is what it shows beside, as a loss."""

    def __init__(self, shown: Callable[[int, int, str], None] | None = None) -> None:
        self._shown, self.said = shown, ""

    def __call__(self, done: int, total: int) -> None:
        """Show how much is done."""
        if self._shown is not None:
            self._shown(done, total, self.said)


class TimeLeft:
    """What is left of a time, at the average rate since the first second.

    What is reported in the first second may have been done before, by a run that is gone on with.
    """

    def __init__(self) -> None:
        self._time, self._done = 0.0, 0

    def __call__(self, elapsed: float, done: int, total: int) -> int | None:
        """Return the seconds left; None: unknown."""
        if elapsed < 1:
            self._time, self._done = elapsed, done
        if elapsed <= self._time or done <= self._done:
            return None
        return round((total - done) * (elapsed - self._time) / (done - self._done))


@dataclass(frozen=True)
class Console:
    """Standard error, for people: notes, and bars on a terminal.

    Parameters
    ----------
    quiet
        Say nothing.
    verbose
        Say more.
    """

    quiet: bool = False
    verbose: bool = False

    def note(self, text: str) -> None:
        """Print a line, or several."""
        if not self.quiet:
            lines = [printable(line) for line in text.split("\n")]
            sys.stderr.write("\n".join(lines) + "\n")

    @property
    def logs(self) -> bool:
        """Whether epochs are lines: in a log, and on a terminal, which has a bar, if asked for."""
        return self.verbose or not sys.stderr.isatty()

    def epoch(self, text: str) -> None:
        """Print what an epoch gave, where there is no bar for it."""
        if self.logs:
            self.note(text)

    @contextmanager
    def bar(self, description: str, unit: str) -> Iterator[Bar]:
        """Show a bar while the block runs: the stage, and how many of what unit are done.

        Where standard error is not a terminal, as in the log of a job, a line every `EVERY`
        seconds stands for it; a quiet console shows nothing.
        """
        if self.quiet:
            yield Bar()
            return
        if not sys.stderr.isatty():
            yield Bar(self._lines(description, unit))
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.table import Column
        from rich.text import Text

        class TimeLeftColumn(ProgressColumn):
            """Rich's own goes by the last reports: two may come at once, long after others."""

            def __init__(self) -> None:
                super().__init__()
                self._left = TimeLeft()

            def render(self, task: Task) -> Text:
                left = self._left(task.elapsed or 0.0, int(task.completed), int(task.total or 0))
                return Text("-:--:--" if left is None else str(timedelta(seconds=left)))

        columns = (
            TextColumn("{task.description}"),
            BarColumn(None, table_column=Column(ratio=1)),  # what is left of the line
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeLeftColumn(),
            TextColumn("{task.fields[said]}"),
        )
        err = Console(stderr=True)
        with Progress(*columns, console=err, transient=True, expand=True) as progress:
            task = progress.add_task(description, total=None, said="")

            def report(done: int, total: int, said: str) -> None:
                progress.update(task, completed=done, total=total, said=said)

            yield Bar(report)

    def _lines(self, description: str, unit: str) -> Callable[[int, int, str], None]:
        """Return what prints a line every `EVERY` seconds: ``train: 4 of 30 items, 0:02 left``."""
        begun = last = time.monotonic()
        left = TimeLeft()

        def report(done: int, total: int, said: str) -> None:
            nonlocal last
            now = time.monotonic()
            seconds = left(now - begun, done, total)
            if now - last >= EVERY and done < total:
                last = now
                rest = "" if seconds is None else f", {timedelta(seconds=seconds)} left"
                more = f", {said}" if said else ""
                self.note(f"{description}: {done:,} of {total:,} {unit}{rest}{more}")

        return report


SILENT = Console(quiet=True)


def printable(line: str) -> str:
    """Return a line that cannot steer a terminal: what names and labels hold may be anything."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
