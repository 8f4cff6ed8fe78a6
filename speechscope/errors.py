"""Every error a user can meet, and the exit code it ends with.

A message is one line: what is wrong, where (path, item), and what to do.
`speechscope.cli` is the one place that prints it.
"""

from collections.abc import Sequence
from typing import Any


class SpeechscopeError(Exception):
    """The command failed (exit code 1).

    `done` is what the stage is to show all the same: what it had done before.
    """

    exit_code = 1
    done: Any = None


class UsageProblem(SpeechscopeError):
    """The command line, a variable or ``speechscope.toml`` asks for something impossible (2)."""

    exit_code = 2


class ArtifactError(SpeechscopeError):
    """An artifact is damaged, foreign or does not match (3)."""

    exit_code = 3


class NotThere(ArtifactError):
    """An artifact that is to be read is not there (1)."""

    exit_code = 1


class ItemsSkipped(SpeechscopeError):
    """The output was written, but some items were left out (4).

    `skipped` holds one line per item: where it is and why it was left out.
    """

    exit_code = 4

    def __init__(self, message: str, skipped: Sequence[str]) -> None:
        super().__init__(message)
        self.skipped = tuple(skipped)


class Terminated(BaseException):
    """The process was asked to end by SIGTERM (143)."""

    exit_code = 143
