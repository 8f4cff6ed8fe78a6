"""Progress on standard error, and only when a person is looking."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

EVERY = 60.0
"""Seconds between two lines of a log (chosen)."""
Report = Callable[[int, int], None]  # (done, total)


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

    def epoch(self, text: str) -> None:
        """Print what stands in a log, and on a terminal, which has a bar, with ``--verbose``."""
        if self.verbose or not sys.stderr.isatty():
            self.note(text)

    @contextmanager
    def bar(self, description: str) -> Iterator[Report]:
        """Show a bar while the block runs; call what it gives with (done, total).

        Where standard error is not a terminal, as in the log of a job, a line every `EVERY`
        seconds stands for it; a quiet console shows nothing.
        """
        if self.quiet:
            yield lambda done, total: None
            return
        if not sys.stderr.isatty():
            yield self._lines(description)
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
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeLeftColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(description, total=None)

            def report(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            yield report

    def _lines(self, description: str) -> Report:
        """Return what prints a line every `EVERY` seconds: ``prepare: 40 of 300, 0:02:10 left``."""
        begun = last = time.monotonic()
        left = TimeLeft()

        def report(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            seconds = left(now - begun, done, total)
            if now - last >= EVERY and done < total:
                last = now
                rest = "" if seconds is None else f", {timedelta(seconds=seconds)} left"
                self.note(f"{description}: {done:,} of {total:,}{rest}")

        return report


SILENT = Console(quiet=True)


def printable(line: str) -> str:
    """Return a line that cannot steer a terminal: what names and labels hold may be anything."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
