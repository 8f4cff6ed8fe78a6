"""The corpus layouts, and which of them a folder has."""

from pathlib import Path
from typing import Protocol

from speechscope.corpus.utterances import Marks, Scan, Utterance


class Layout(Protocol):
    """A way to lay out recordings and their labels in folders.

    Layouts hold no state: they can be sent to worker processes.
    """

    name: str
    tiers: bool
    """Whether a label file holds several tiers, so that `marks` can be asked for one."""

    def scan(self, root: Path) -> Scan:
        """Find the utterances of a folder; raises SpeechscopeError where there is none."""
        ...

    def marks(self, utterance: Utterance, tier: str | None) -> Marks:
        """Read the time marks of an utterance; raises BadRecording."""
        ...

    def text(self, utterance: Utterance) -> str:
        """Read the words of an utterance; raises BadRecording."""
        ...


LAYOUTS: dict[str, Layout] = {}


def find(root: Path, name: str | None = None) -> Layout:
    """Return the layout of a folder (or of a manifest file).

    Parameters
    ----------
    root
        The corpus folder, or a manifest.
    name
        The layout, where it is not to be found out.

    Raises
    ------
    SpeechscopeError
        There is no such folder, or it has none of the layouts; the message says what is there.
    UsageProblem
        There is no layout of that name.
    """
    raise NotImplementedError
