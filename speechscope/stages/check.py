"""``speechscope check``: whether an artifact is what it was when written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechscope.errors import SpeechscopeError
from speechscope.settings import Settings, argument, option
from speechscope.work.progress import Console

PRESENTATION = ("quiet", "json")


@dataclass(frozen=True, kw_only=True)
class Check(Settings):
    """Verify artifacts: complete, unchanged, and of a format this release reads.

    Without --deep the metadata, the number of chunks and their sizes are compared; a flipped bit
    inside a chunk is found by --deep, or when the chunk is read. A checkpoint is always read whole.
    The first artifact that fails ends the command with exit code 3.

    Example: speechscope check --deep corpus.zarr model.pt
    """

    artifacts: tuple[Path, ...] = argument((), "Artifacts; - reads one.", metavar="ARTIFACT…")
    deep: bool = option(False, "Read every byte.")


@dataclass(frozen=True)
class Checked:
    """The artifacts that are as they were written, with their kinds."""

    kinds: Sequence[tuple[Path, str]]
    deep: bool
    quiet: bool

    def shown(self, form: str) -> str:
        """See `speechscope.stages.shared.Result`."""
        if form == "json":
            return json.dumps(
                [
                    {"path": str(path), "kind": kind, "deep": self.deep, "ok": True}
                    for path, kind in self.kinds
                ]
            )
        if self.quiet:
            return ""
        how = "every byte read" if self.deep else "complete"
        return "\n".join(f"{path}: {kind}, {how}" for path, kind in self.kinds)


def run(settings: Check, console: Console) -> Checked:
    """Verify one artifact after another.

    Raises
    ------
    ArtifactError
        One is not what was written; those before it are in its `done`.
    """
    from speechscope.store.lineage import verify

    kinds: list[tuple[Path, str]] = []
    checked = Checked(kinds, settings.deep, console.quiet)
    for path in settings.artifacts:
        try:
            kinds.append((path, verify(path, deep=settings.deep)))
        except SpeechscopeError as error:
            error.done = checked
            raise
    return checked
